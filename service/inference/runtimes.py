"""TensorFlow and LiteRT behind one call: batch uint8 [N, 28, 28] -> probabilities float32 [N, 10].

Both reject a model whose signature SIGNATURE is not INPUT -> OUTPUT.
"""

import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from service.inference.rejection import ModelRejected, one_line
from service.settings import cores
from service.types import Batch, Probabilities

SIGNATURE = "serving_default"
INPUT = {"images": "uint8 [-1, 28, 28]"}
OUTPUT = {"probabilities": "float32 [-1, 10]"}
MAX_CHUNK = 256
"""Maximum images in one call of an interpreter: its memory grows with the largest batch that it ever ran."""


class Runtime(Protocol):
    """Runs a loaded network. Thread-safe."""

    name: str

    def __call__(self, batch: Batch) -> Probabilities:
        """Compute the probabilities float32 [N, 10] of a batch uint8 [N, 28, 28], N >= 1."""


class LiteRT:
    """Runs a TFLite model. An interpreter is not thread-safe, so every thread creates its own on first use.

    A batch over MAX_CHUNK images is split over threads. A LiteRT created before a fork also works after it.
    """

    name = "litert"

    def __init__(self, model: bytes) -> None:
        """Load the content of a `.tflite` file.

        Raises:
            ModelRejected: LiteRT cannot load it, or its signature is another.
        """
        self._interpreter = _ThreadLocalInterpreter(model)
        self._pool = _ChunkPool()

    def __call__(self, batch: Batch) -> Probabilities:
        """Run the model, as `Runtime.__call__` describes."""
        return self._pool.run(self._run_chunk, batch)

    def release_threads(self) -> None:
        """End the threads that large batches have started; the next one starts them again."""
        self._pool.release()

    def _run_chunk(self, batch: Batch) -> Probabilities:
        return np.asarray(self._interpreter.run(images=batch)["probabilities"])


class _ThreadLocalInterpreter(threading.local):
    """An interpreter for each thread: `threading.local` calls __init__ again in every thread that uses the object."""

    def __init__(self, model: bytes) -> None:
        try:
            interpreter = Interpreter(model_content=model, num_threads=1)
            self.run = interpreter.get_signature_runner(SIGNATURE)
        except (ValueError, RuntimeError) as error:
            raise ModelRejected("signature", f"the TFLite model cannot be loaded: {one_line(error)}") from error
        _check_details("input", self.run.get_input_details(), INPUT)
        _check_details("output", self.run.get_output_details(), OUTPUT)


class TensorFlow:
    """Runs a SavedModel. TensorFlow is imported here, in the worker, because its threads do not survive a fork.

    `Session.make_callable` on one thread takes two thirds of the time of a call of the signature's tf.function.
    """

    name = "tensorflow"

    def __init__(self, directory: Path) -> None:
        """Load the SavedModel in `directory`.

        Raises:
            ModelRejected: TensorFlow is not installed or cannot load it, or its signature is another.
        """
        try:
            import tensorflow as tf  # noqa: PLC0415 - an optional dependency, and only after the fork
        except ImportError:
            raise ModelRejected("runtime", "the SavedModel needs TensorFlow, which is not installed") from None
        tf.get_logger().setLevel("ERROR")  # it warns that sessions are deprecated
        tf1 = tf.compat.v1
        threads = {
            "intra_op_parallelism_threads": 1,
            "inter_op_parallelism_threads": 1,
            "use_per_session_threads": True,
        }
        session = tf1.Session(graph=tf.Graph(), config=tf1.ConfigProto(**threads))
        try:
            with session.graph.as_default():
                signature = tf1.saved_model.load(session, ["serve"], str(directory)).signature_def[SIGNATURE]
        except (OSError, KeyError, ValueError, RuntimeError, tf.errors.OpError) as error:
            raise ModelRejected("signature", f"the SavedModel cannot be loaded: {one_line(error)}") from error
        dtypes = {dtype.as_datatype_enum: dtype.name for dtype in (tf.uint8, tf.int32, tf.int64, tf.float32)}
        images = _single_tensor("input", signature.inputs, INPUT, dtypes)
        probabilities = _single_tensor("output", signature.outputs, OUTPUT, dtypes)
        self._call = session.make_callable(probabilities, feed_list=[images])
        self._pool = _ChunkPool()

    def __call__(self, batch: Batch) -> Probabilities:
        """Run the model, as `Runtime.__call__` describes."""
        return self._pool.run(self._call, batch)

    def release_threads(self) -> None:
        """End the threads that large batches have started; the next one starts them again."""
        self._pool.release()


class _ChunkPool:
    """A thread for each core, started by the first large batch of each process: threads do not survive a fork."""

    def __init__(self) -> None:
        self._process, self._pool = 0, ThreadPoolExecutor()

    def run(self, call: Callable[[Batch], Probabilities], batch: Batch) -> Probabilities:
        """Call with chunks of at most MAX_CHUNK images in parallel; with a single chunk in the calling thread."""
        if len(batch) <= MAX_CHUNK:
            return call(batch)
        if self._process != os.getpid():
            self._process, self._pool = os.getpid(), ThreadPoolExecutor(cores(), thread_name_prefix="chunk")
        chunks = (batch[start : start + MAX_CHUNK] for start in range(0, len(batch), MAX_CHUNK))
        return np.concatenate(list(self._pool.map(call, chunks)))

    def release(self) -> None:
        """End the threads: a process that forks must not have any."""
        if self._process == os.getpid():
            self._pool.shutdown()
            self._process = 0


def _check_details(kind: str, details: Mapping[str, Any], expected: dict[str, str]) -> None:
    """Check the inputs or outputs of a TFLite signature: {name: "dtype [shape]"}, -1 for any size."""
    found = {
        name: f"{np.dtype(detail['dtype'])} {[int(size) for size in detail['shape_signature']]}"
        for name, detail in details.items()
    }
    if found != expected:
        raise ModelRejected("signature", f"the TFLite model's {kind} is {found}, not {expected}")


def _single_tensor(kind: str, tensors: Mapping[str, Any], expected: dict[str, str], dtypes: dict[int, str]) -> str:
    """Check the inputs or outputs of a SavedModel's signature, and return the graph's name of the only one.

    `dtypes` are names of tf.DType by their enum in the protocol buffer.
    """
    found = {
        name: f"{dtypes.get(tensor.dtype, 'another dtype')} {[dimension.size for dimension in tensor.tensor_shape.dim]}"
        for name, tensor in tensors.items()
    }
    if found != expected:
        raise ModelRejected("signature", f"the SavedModel's {kind} is {found}, not {expected}")
    return next(str(tensor.name) for tensor in tensors.values())
