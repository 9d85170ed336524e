import os
import signal
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from service.inference.runtimes import MAX_CHUNK, LiteRT, ModelRejected, Runtime, TensorFlow
from training.data.mnist import Dataset

Floats = npt.NDArray[np.float64]


def forward(saved_model: Path, images: npt.NDArray[np.uint8]) -> Floats:
    """The oracle: the five layers in NumPy, with the weights as they lie in the SavedModel."""
    weights = tf.train.load_checkpoint(str(saved_model / "variables" / "variables"))

    def layer(index: int, inputs: Floats) -> Floats:
        kernel, bias = (
            np.asarray(weights.get_tensor(f"layers/{index}/{part}/.ATTRIBUTES/VARIABLE_VALUE"), np.float64)
            for part in ("weights", "biases")
        )
        return np.asarray(inputs @ kernel + bias)

    values: Floats = images.reshape(-1, 784) / 255.0
    for index in range(4):
        values = np.maximum(layer(index, values), 0)
    exponents = np.exp(layer(4, values))
    return np.asarray(exponents / exponents.sum(axis=1, keepdims=True))


@pytest.fixture(scope="module")
def litert(one_version: Path) -> LiteRT:
    return LiteRT((one_version / "1" / "model.tflite").read_bytes())


@pytest.fixture(scope="module")
def tensorflow(one_version: Path) -> TensorFlow:
    return TensorFlow(one_version / "1")


@pytest.mark.parametrize("count", [1, MAX_CHUNK - 1, MAX_CHUNK, MAX_CHUNK + 1, 2 * MAX_CHUNK + 1])
def test_both_runtimes_compute_the_network(
    litert: LiteRT, tensorflow: TensorFlow, one_version: Path, mnist: Dataset, count: int
) -> None:
    images = mnist.test.images[:count]
    expected = forward(one_version / "1", images)
    assert np.ptp(expected, axis=1).min() > 0.01
    for runtime in (litert, tensorflow):
        answers = runtime(images)
        assert answers.dtype == np.float32
        assert answers.shape == (count, 10)
        assert np.abs(answers - expected).max() < 1e-5


def test_litert_answers_many_threads_at_once(litert: LiteRT, mnist: Dataset) -> None:
    batches = mnist.test.images[:2000].reshape(8, 250, 28, 28)
    expected = [litert(batch) for batch in batches]
    together = threading.Barrier(len(batches))

    def answer(batch: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
        together.wait()
        return [litert(batch) for _ in range(5)]

    with ThreadPoolExecutor(len(batches)) as pool:
        for found, one in zip(pool.map(answer, batches), expected, strict=True):
            assert all(np.array_equal(answers, one) for answers in found)


def test_litert_goes_on_in_a_forked_process(litert: LiteRT, mnist: Dataset) -> None:
    """As gunicorn forks its workers; the threads that share a large batch stay behind in the parent."""
    batch = mnist.test.images[: 3 * MAX_CHUNK]
    expected = litert(batch)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # from Python 3.12 on, of a fork beside threads
        child = os.fork()
    if child == 0:
        signal.alarm(20)
        os._exit(0 if np.array_equal(litert(batch), expected) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_an_answer_outlives_the_next(litert: LiteRT, tensorflow: TensorFlow, mnist: Dataset) -> None:
    runtimes: tuple[Runtime, ...] = (litert, tensorflow)
    for runtime in runtimes:
        first = runtime(mnist.test.images[:1])
        kept = first.copy()
        assert not np.array_equal(runtime(mnist.test.images[1:2]), kept)
        assert np.array_equal(first, kept)


class Signature(tf.Module):  # type: ignore[misc]
    """A model that gives each image ten times 0.1, under a signature that may not fit."""

    def __init__(self, **changes: Any) -> None:
        super().__init__()
        given = {"takes": "images", "shape": (None, 28, 28), "dtype": tf.uint8, "gives": "probabilities"}
        given |= {"digits": 10, "more": False, "key": "serving_default"} | changes

        def serve(images: Any) -> dict[str, Any]:
            count = tf.cast(tf.reshape(images, [-1, 784])[:, :1], tf.float32)
            answers = {given["gives"]: tf.repeat(0 * count + 1 / given["digits"], given["digits"], axis=1)}
            return answers | ({"more": count} if given["more"] else {})

        self.key = given["key"]
        self.serve = tf.function(serve, [tf.TensorSpec(given["shape"], given["dtype"], name=given["takes"])])

    def save(self, directory: Path) -> Path:
        tf.saved_model.save(self, str(directory), signatures={self.key: self.serve})
        return directory


UNFIT: dict[str, dict[str, Any]] = {
    "input's name": {"takes": "pixels"},
    "input's shape": {"shape": (None, 784)},
    "a fixed batch": {"shape": (1, 28, 28)},
    "input's type": {"dtype": tf.float32},
    "output's name": {"gives": "logits"},
    "output's width": {"digits": 9},
    "two outputs": {"more": True},
    "signature's name": {"key": "classify"},
}


@pytest.mark.parametrize("wrong", UNFIT)
def test_another_signature_is_unfit(wrong: str, tmp_path: Path) -> None:
    model = Signature(**UNFIT[wrong])
    saved_model = model.save(tmp_path)
    plan = tf.lite.TFLiteConverter.from_saved_model(str(saved_model), signature_keys=[model.key]).convert()
    with pytest.raises(ModelRejected, match="the SavedModel") as of_saved_model:
        TensorFlow(saved_model)
    with pytest.raises(ModelRejected, match="the plan") as of_plan:
        LiteRT(plan)
    assert of_saved_model.value.reason == of_plan.value.reason == "signature"


def test_the_right_signature_is_fit(tmp_path: Path) -> None:
    saved_model = Signature().save(tmp_path)
    plan = tf.lite.TFLiteConverter.from_saved_model(str(saved_model)).convert()
    for runtime in (TensorFlow(saved_model), LiteRT(plan)):
        assert np.allclose(runtime(np.zeros((3, 28, 28), np.uint8)), np.full((3, 10), 0.1))


@pytest.mark.parametrize("cut", [0, 4, 1000, -1000])
def test_a_damaged_plan_is_unfit(one_version: Path, cut: int) -> None:
    with pytest.raises(ModelRejected, match=r"the plan cannot be loaded: ."):
        LiteRT((one_version / "1" / "model.tflite").read_bytes()[:cut])


def test_a_directory_without_a_saved_model_is_unfit(tmp_path: Path) -> None:
    with pytest.raises(ModelRejected, match=r"the SavedModel cannot be loaded: .") as caught:
        TensorFlow(tmp_path)
    assert caught.value.reason == "signature"


def test_without_tensorflow_its_models_are_unfit(one_version: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(ModelRejected, match="needs TensorFlow, which is not installed") as caught:
        TensorFlow(one_version / "1")
    assert caught.value.reason == "runtime"
