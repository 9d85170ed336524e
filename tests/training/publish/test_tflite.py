"""The TFLite model: probabilities against float64, and the int8 first layer."""

import functools
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from scipy import special

from training.data.mnist import Dataset
from training.model import network, quantise
from training.model.network import Layer, Parameters
from training.publish import tflite
from training.recipe import Recipe
from training.types import Images


def parameters(first_layer: str, *overrides: str) -> Parameters:
    """A network with random biases, and weights of the first layer that are quantised or not."""
    random = np.random.default_rng(0)
    layers = network.initial_parameters(Recipe.load("best", overrides))
    first, *others = (Layer(w, tf.constant(random.normal(0, 0.5, b.shape), tf.float32)) for w, b in layers)
    return (
        Layer(quantise.quantise_dequantise(first.weights), first.biases) if first_layer == "int8" else first,
        *others,
    )


@functools.cache
def converted(first_layer: str, *overrides: str) -> bytes:
    """The TFLite model of `parameters`."""
    return tflite.convert(parameters(first_layer, *overrides), "silu")


def expected(parameters: Parameters, images: Images) -> npt.NDArray[np.float64]:
    """The probabilities of a network with SiLU, in float64."""
    pixels = images.reshape(len(images), 784) / 255
    *hidden, last = ([np.asarray(array, np.float64) for array in layer] for layer in parameters)
    for weights, biases in hidden:
        sums = pixels @ weights + biases
        pixels = sums * special.expit(sums)
    return np.asarray(special.softmax(pixels @ last[0] + last[1], axis=1))


def image_sets(mnist: Dataset) -> Mapping[str, Images]:
    """Images whose largest pixel is 255, is smaller, or is 0."""
    random = np.random.default_rng(0)
    digits = mnist.test.images[:300]
    return {
        "digits": digits,
        "one digit": digits[:1],
        "faint digits": digits // 7,
        "nearly blank": digits // 200,
        "blank": np.zeros((3, 28, 28), np.uint8),
        "white": np.full((3, 28, 28), 255, np.uint8),
        "noise": random.integers(0, 256, (300, 28, 28), np.uint8),
    }


@pytest.mark.parametrize(
    "kernels", ["AUTO", "BUILTIN_WITHOUT_DEFAULT_DELEGATES"]
)  # those of XNNPACK, and the reference in C++
@pytest.mark.parametrize("first_layer", ["int8", "float32"])
@pytest.mark.parametrize("layers", ["200,100,60,30", ""])
def test_probabilities_equal_float64(first_layer: str, layers: str, kernels: str, mnist: Dataset) -> None:
    network_parameters, resolver = parameters(first_layer, f"layers={layers}"), OpResolverType[kernels]
    content = converted(first_layer, f"layers={layers}")
    interpreter = Interpreter(model_content=content, num_threads=1, experimental_op_resolver_type=resolver)
    serve = interpreter.get_signature_runner("serving_default")
    for kind, images in image_sets(mnist).items():
        np.testing.assert_allclose(
            serve(images=images)["probabilities"], expected(network_parameters, images), atol=1e-5, err_msg=kind
        )


def test_only_a_quantised_first_layer_is_int8() -> None:
    def matrices(first_layer: str) -> list[tuple[list[int], type]]:
        details = Interpreter(model_content=converted(first_layer, "layers=200,100,60,30")).get_tensor_details()
        named = [(list(tensor["shape"]), tensor["dtype"]) for tensor in details]
        return [(shape, dtype) for shape, dtype in named if len(shape) == 2 and shape[0] > 10]

    others = [([100, 200], np.float32), ([60, 100], np.float32), ([30, 60], np.float32)]
    assert all(layer in matrices("int8") for layer in [([200, 785], np.int8), *others])
    assert all(layer in matrices("float32") for layer in [([200, 784], np.float32), *others])


def test_int8_values_times_scales_are_the_weights() -> None:
    interpreter = Interpreter(model_content=converted("int8", "layers=200,100,60,30"))
    (weights,) = (tensor for tensor in interpreter.get_tensor_details() if tensor["dtype"] == np.int8)
    values = interpreter.get_tensor(weights["index"])
    scales = weights["quantization_parameters"]["scales"]
    np.testing.assert_allclose(
        (values * np.float32(255) * scales[:, None])[:, :784].T, parameters("int8")[0].weights, rtol=1e-5
    )
    assert not values[:, 784].any()
