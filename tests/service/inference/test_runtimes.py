"""Tests LiteRT and TensorFlow against the network computed with NumPy: several threads, forks, chunks of large
batches, and models that are rejected."""

import os
import signal
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from service.inference import runtimes
from service.inference.rejection import ModelRejected
from service.inference.runtimes import MAX_CHUNK, LiteRT, Runtime, TensorFlow
from training.data.mnist import Dataset

Floats = npt.NDArray[np.float64]


def forward(saved_model: Path, images: npt.NDArray[np.uint8]) -> Floats:
    """The oracle: the five layers in NumPy, with the weights of the SavedModel's checkpoint."""
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
        probabilities = runtime(images)
        assert probabilities.dtype == np.float32
        assert probabilities.shape == (count, 10)
        assert np.abs(probabilities - expected).max() < 1e-5


def test_litert_runs_in_many_threads_at_once(litert: LiteRT, mnist: Dataset) -> None:
    batches = mnist.test.images[:2000].reshape(8, 250, 28, 28)
    expected = [litert(batch) for batch in batches]
    barrier = threading.Barrier(len(batches))

    def predict(batch: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
        barrier.wait()
        return [litert(batch) for _ in range(5)]

    with ThreadPoolExecutor(len(batches)) as pool:
        for results, one in zip(pool.map(predict, batches), expected, strict=True):
            assert all(np.array_equal(result, one) for result in results)


def test_litert_works_in_a_forked_process(litert: LiteRT, mnist: Dataset) -> None:
    """As gunicorn forks its workers; the threads for the chunks of a large batch do not exist in the child."""
    batch = mnist.test.images[: 3 * MAX_CHUNK]
    expected = litert(batch)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # from Python 3.12 on, of a fork beside threads
        child = os.fork()
    if child == 0:
        signal.alarm(20)
        os._exit(0 if np.array_equal(litert(batch), expected) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_result_is_not_overwritten_by_the_next_call(litert: LiteRT, tensorflow: TensorFlow, mnist: Dataset) -> None:
    runtimes: tuple[Runtime, ...] = (litert, tensorflow)
    for runtime in runtimes:
        first = runtime(mnist.test.images[:1])
        kept = first.copy()
        assert not np.array_equal(runtime(mnist.test.images[1:2]), kept)
        assert np.array_equal(first, kept)


class Signature(tf.Module):  # type: ignore[misc]
    """A model that gives each image ten times 0.1, with a signature that `changes` make another."""

    def __init__(self, **changes: Any) -> None:
        super().__init__()
        given = {"input": "images", "shape": (None, 28, 28), "dtype": tf.uint8, "output": "probabilities"}
        given |= {"digits": 10, "second_output": False, "key": "serving_default"} | changes

        def serve(images: Any) -> dict[str, Any]:
            count = tf.cast(tf.reshape(images, [-1, 784])[:, :1], tf.float32)
            outputs = {given["output"]: tf.repeat(0 * count + 1 / given["digits"], given["digits"], axis=1)}
            return outputs | ({"count": count} if given["second_output"] else {})

        self.key = given["key"]
        self.serve = tf.function(serve, [tf.TensorSpec(given["shape"], given["dtype"], name=given["input"])])

    def save(self, directory: Path) -> Path:
        tf.saved_model.save(self, str(directory), signatures={self.key: self.serve})
        return directory


INPUT, OUTPUT = "{'images': 'uint8 [-1, 28, 28]'}", "{'probabilities': 'float32 [-1, 10]'}"
OTHER_SIGNATURES: dict[str, tuple[dict[str, Any], str]] = {
    "input name": ({"input": "pixels"}, f"input is {{'pixels': 'uint8 [-1, 28, 28]'}}, not {INPUT}"),
    "input shape": ({"shape": (None, 784)}, f"input is {{'images': 'uint8 [-1, 784]'}}, not {INPUT}"),
    "fixed batch size": ({"shape": (1, 28, 28)}, f"input is {{'images': 'uint8 [1, 28, 28]'}}, not {INPUT}"),
    "input dtype": ({"dtype": tf.float32}, f"input is {{'images': 'float32 [-1, 28, 28]'}}, not {INPUT}"),
    "output name": ({"output": "logits"}, f"output is {{'logits': 'float32 [-1, 10]'}}, not {OUTPUT}"),
    "output width": ({"digits": 9}, f"output is {{'probabilities': 'float32 [-1, 9]'}}, not {OUTPUT}"),
}


def reasons_for_rejection(model: Signature, directory: Path) -> tuple[str, str]:
    """The messages of TensorFlow and LiteRT, which both reject a model for its signature."""
    saved_model = model.save(directory)
    tflite = tf.lite.TFLiteConverter.from_saved_model(str(saved_model), signature_keys=[model.key]).convert()
    with pytest.raises(ModelRejected) as by_tensorflow:
        TensorFlow(saved_model)
    with pytest.raises(ModelRejected) as by_litert:
        LiteRT(tflite)
    assert by_tensorflow.value.reason == by_litert.value.reason == "signature"
    return str(by_tensorflow.value), str(by_litert.value)


@pytest.mark.parametrize("change", OTHER_SIGNATURES)
def test_rejects_another_input_or_output(change: str, tmp_path: Path) -> None:
    changes, message = OTHER_SIGNATURES[change]
    expected = (f"the SavedModel's {message}", f"the TFLite model's {message}")
    assert reasons_for_rejection(Signature(**changes), tmp_path) == expected


def test_rejects_a_second_output(tmp_path: Path) -> None:
    for message in reasons_for_rejection(Signature(second_output=True), tmp_path):
        assert "'probabilities': 'float32 [-1, 10]'" in message
        assert "'count': 'float32 [-1, 1]'" in message
        assert message.endswith(f", not {OUTPUT}")


def test_rejects_another_signature_name(tmp_path: Path) -> None:
    """TensorFlow adds an empty `serving_default` to a SavedModel that has none."""
    by_tensorflow, by_litert = reasons_for_rejection(Signature(key="classify"), tmp_path)
    assert by_tensorflow == f"the SavedModel's input is {{}}, not {INPUT}"
    assert by_litert.startswith("the TFLite model cannot be loaded: ")
    assert "serving_default" in by_litert


def test_accepts_the_right_signature(tmp_path: Path) -> None:
    saved_model = Signature().save(tmp_path)
    tflite = tf.lite.TFLiteConverter.from_saved_model(str(saved_model)).convert()
    for runtime in (TensorFlow(saved_model), LiteRT(tflite)):
        assert np.allclose(runtime(np.zeros((3, 28, 28), np.uint8)), np.full((3, 10), 0.1))


@pytest.mark.parametrize("cut", [0, 4, 1000, -1000])
def test_rejects_a_damaged_tflite_model(one_version: Path, cut: int) -> None:
    with pytest.raises(ModelRejected, match=r"^the TFLite model cannot be loaded: .") as caught:
        LiteRT((one_version / "1" / "model.tflite").read_bytes()[:cut])
    assert caught.value.reason == "signature"


def test_rejects_a_directory_without_a_saved_model(tmp_path: Path) -> None:
    with pytest.raises(ModelRejected, match=r"^the SavedModel cannot be loaded: .") as caught:
        TensorFlow(tmp_path)
    assert caught.value.reason == "signature"


def test_the_reason_of_a_load_failure_is_one_short_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise ValueError("first  line\n" + "x" * 300)

    monkeypatch.setattr(runtimes, "Interpreter", fail)
    with pytest.raises(ModelRejected) as caught:
        LiteRT(b"")
    assert str(caught.value) == "the TFLite model cannot be loaded: first line " + "x" * 189


def test_rejects_a_saved_model_if_tensorflow_is_not_installed(
    one_version: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(ModelRejected, match=r"^the SavedModel needs TensorFlow, which is not installed$") as caught:
        TensorFlow(one_version / "1")
    assert caught.value.reason == "runtime"


def test_both_runtimes_use_one_thread_per_call(one_version: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests run in parallel; threads inside of a call would only compete with them."""
    configurations: list[Any] = []
    session = tf.compat.v1.Session

    def record_session(*, graph: Any, config: Any) -> Any:
        configurations.append(config)
        return session(graph=graph, config=config)

    def record_interpreter(*, model_content: bytes, num_threads: int) -> Any:
        configurations.append(num_threads)
        return Interpreter(model_content=model_content, num_threads=num_threads)

    monkeypatch.setattr(tf.compat.v1, "Session", record_session)
    monkeypatch.setattr(runtimes, "Interpreter", record_interpreter)
    TensorFlow(one_version / "1")
    LiteRT((one_version / "1" / "model.tflite").read_bytes())
    config, threads = configurations
    assert (config.intra_op_parallelism_threads, config.inter_op_parallelism_threads) == (1, 1)
    assert config.use_per_session_threads
    assert threads == 1


class CallRecorder:
    """Returns the first pixel of each image as ten probabilities; records the size and the thread of each call."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, str]] = []

    def __call__(self, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        self.calls.append((len(batch), threading.current_thread().name))
        return np.repeat(batch[:, 0, :1], 10, axis=1).astype(np.float32)


def numbered_images(count: int) -> npt.NDArray[np.uint8]:
    """uint8 [count, 28, 28]: the first pixel of an image is its index modulo 256."""
    images = np.zeros((count, 28, 28), np.uint8)
    images[:, 0, 0] = np.arange(count) % 256
    return images


@pytest.mark.parametrize("count", [1, MAX_CHUNK])
def test_a_single_chunk_runs_in_the_calling_thread(count: int) -> None:
    call = CallRecorder()
    assert runtimes._ChunkPool().run(call, numbered_images(count)).shape == (count, 10)
    assert call.calls == [(count, threading.current_thread().name)]


def test_a_large_batch_is_split_into_chunks_in_order() -> None:
    call, pool = CallRecorder(), runtimes._ChunkPool()
    count = 2 * MAX_CHUNK + 1
    assert pool.run(call, numbered_images(count))[:, 0].tolist() == [index % 256 for index in range(count)]
    assert sorted(size for size, _ in call.calls) == [1, MAX_CHUNK, MAX_CHUNK]
    assert {thread.rpartition("_")[0] for _, thread in call.calls} == {"chunk"}


def test_chunks_run_on_all_cores_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes, "cores", lambda: 3)
    barrier = threading.Barrier(3)

    def wait_for_the_others(batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        barrier.wait(30)
        return np.zeros((len(batch), 10), np.float32)

    pool = runtimes._ChunkPool()
    for _ in range(2):
        assert len(pool.run(wait_for_the_others, numbered_images(3 * MAX_CHUNK))) == 3 * MAX_CHUNK


def test_the_threads_of_a_process_are_reused_and_a_forked_process_starts_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    process, pool, call = 1, runtimes._ChunkPool(), CallRecorder()
    monkeypatch.setattr(runtimes, "os", SimpleNamespace(getpid=lambda: process))
    executors = []
    for process in (1, 1, 2, 2):  # noqa: B007 - getpid returns it
        pool.run(call, numbered_images(MAX_CHUNK + 1))
        executors.append(pool._pool)
    assert executors[0] is executors[1]
    assert executors[1] is not executors[2]
    assert executors[2] is executors[3]
