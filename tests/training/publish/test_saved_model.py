"""Export: the signature, the graph, and parity of SavedModel and TFLite model."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from scipy import special
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from training.data.mnist import Dataset
from training.model import network
from training.model.network import Layer, Parameters
from training.publish import saved_model
from training.publish.saved_model import ExportFailed, ParityError
from training.recipe import Recipe

TEMPERATURE = 2.5


@pytest.fixture(scope="module")
def parameters() -> Parameters:
    """Five layers with random weights and biases."""
    random = np.random.default_rng(0)
    layers = network.initial_parameters(Recipe.load("best"))
    return tuple(Layer(w, tf.constant(random.normal(0, 0.5, b.shape), tf.float32)) for w, b in layers)


@pytest.fixture(scope="module")
def exported(parameters: Parameters, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The SavedModel and the TFLite model. Not to be written to."""
    directory = tmp_path_factory.mktemp("exported")
    saved_model.export(parameters, "gelu", TEMPERATURE, directory)
    return directory


def test_signature_of_the_saved_model(exported: Path) -> None:
    model = tf.saved_model.load(str(exported))
    assert list(model.signatures) == ["serving_default"]
    serve = model.signatures["serving_default"]
    arguments, keywords = serve.structured_input_signature
    assert arguments == ()
    assert keywords == {"images": tf.TensorSpec([None, 28, 28], tf.uint8, name="images")}
    (name, output), *others = serve.structured_outputs.items()
    assert (name, output.dtype, output.shape.as_list(), others) == ("probabilities", tf.float32, [None, 10], [])


def test_the_graph_has_five_matrix_products_and_185300_parameters(exported: Path) -> None:
    model = tf.saved_model.load(str(exported))
    serve = model.signatures["serving_default"]
    inlined = convert_variables_to_constants_v2(serve).graph.get_operations()
    assert [operation.type for operation in inlined].count("MatMul") == 5
    assert sum(int(np.prod(variable.shape)) for variable in serve.variables) == 185_300


@pytest.mark.parametrize("count", [1, 3, 257])
def test_both_models_return_the_softmax_of_the_logits_over_the_temperature(
    count: int, exported: Path, parameters: Parameters, mnist: Dataset
) -> None:
    images = mnist.test.images[:count]
    pixels = images.reshape(count, 784) / 255
    for layer in parameters[:-1]:
        sums = pixels @ np.asarray(layer.weights, np.float64) + np.asarray(layer.biases, np.float64)
        pixels = sums * special.ndtr(sums)
    logits = pixels @ np.asarray(parameters[-1].weights, np.float64) + np.asarray(parameters[-1].biases, np.float64)
    expected = special.softmax(logits / TEMPERATURE, axis=1)
    assert np.abs(expected - special.softmax(logits, axis=1)).max() > 0.01

    serve = tf.saved_model.load(str(exported)).signatures["serving_default"]
    np.testing.assert_allclose(serve(images=tf.constant(images))["probabilities"], expected, atol=1e-5)
    runner = Interpreter(str(exported / "model.tflite")).get_signature_runner("serving_default")
    np.testing.assert_allclose(runner(images=images)["probabilities"], expected, atol=1e-5)
    np.testing.assert_allclose(saved_model.saved_model_predict(exported, images), expected, atol=1e-5)
    np.testing.assert_allclose(saved_model.tflite_predict(exported, images), expected, atol=1e-5)


def test_both_models_agree_on_the_test_images(exported: Path, mnist: Dataset) -> None:
    probabilities = saved_model.verify_parity(exported, mnist.test.images)
    assert probabilities.shape == (10_000, 10)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def with_other_tflite_model(other: Parameters, temperature: float, exported: Path, tmp_path: Path) -> Path:
    """The exported version with the TFLite model of another network."""
    shutil.copytree(exported, tmp_path / "version")
    (tmp_path / "other").mkdir()
    saved_model.export(other, "gelu", temperature, tmp_path / "other")
    shutil.copy(tmp_path / "other" / "model.tflite", tmp_path / "version")
    return tmp_path / "version"


def test_detects_a_tflite_model_of_another_network(exported: Path, mnist: Dataset, tmp_path: Path) -> None:
    other = network.initial_parameters(Recipe.load("best", ["seed=1"]))
    version = with_other_tflite_model(other, TEMPERATURE, exported, tmp_path)
    with pytest.raises(ParityError, match=r"differ in \d+ digits") as caught:
        saved_model.verify_parity(version, mnist.test.images)
    assert caught.value.digits > 1000
    assert caught.value.difference > 0.01


def test_detects_different_probabilities_with_equal_digits(
    parameters: Parameters, exported: Path, mnist: Dataset, tmp_path: Path
) -> None:
    version = with_other_tflite_model(parameters, TEMPERATURE * 1.001, exported, tmp_path)
    with pytest.raises(ParityError) as caught:
        saved_model.verify_parity(version, mnist.test.images)
    assert caught.value.digits == 0
    assert 1e-5 < caught.value.difference < 1e-2


def test_an_unwritable_directory_raises_an_expected_error(parameters: Parameters, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises((ExportFailed, OSError)):
        saved_model.export(parameters, "gelu", 1.0, tmp_path / "file" / "version")
