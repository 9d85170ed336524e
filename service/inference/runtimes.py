"""TensorFlow and LiteRT behind one call: batch uint8 [N, 28, 28] -> probabilities float32 [N, 10].

Both refuse a model whose signature is not `serving_default`: `images` in, `probabilities` out.
"""

import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from service.settings import cores
from service.types import Batch, Probabilities

SIGNATURE = "serving_default"
MAX_CHUNK = 256
"""Images that LiteRT takes at once: its memory grows with the largest batch that it ever saw."""


class ModelRejected(Exception):
    """A model that this runtime cannot serve; `reason` is one word for the metrics."""

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


class Runtime(Protocol):
    """What predicts. Safe to call from several threads at once."""

    name: str

    def __call__(self, batch: Batch) -> Probabilities:
        """Probabilities float32 [N, 10] of a batch uint8 [N, 28, 28], N >= 1."""


class LiteRT:
    """The plan. An interpreter is not thread-safe, so every thread gets its own, on first use.

    A batch of several pieces is shared out to threads. What is loaded before a fork is still good after it.
    """

    name = "litert"

    def __init__(self, model: bytes) -> None:
        self._interpreter = _ThreadLocalInterpreter(model)
        self._pool = _ChunkPool()

    def __call__(self, batch: Batch) -> Probabilities:
        """As Runtime says."""
        return self._pool.run(self._run_chunk, batch)

    def _run_chunk(self, batch: Batch) -> Probabilities:
        return np.asarray(self._interpreter.run(images=batch)["probabilities"])


class _ThreadLocalInterpreter(threading.local):
    """`threading.local` calls __init__ anew in every thread that touches the object."""

    def __init__(self, plan: bytes) -> None:
        try:
            interpreter = Interpreter(model_content=plan, num_threads=1)
            self.run = interpreter.get_signature_runner(SIGNATURE)
        except (ValueError, RuntimeError) as error:
            raise ModelRejected(
                "signature", f"the plan cannot be loaded: {' '.join(str(error).split())[:200]}"
            ) from error
        _check_details("input", self.run.get_input_details(), "images", np.uint8, (-1, 28, 28))
        _check_details("output", self.run.get_output_details(), "probabilities", np.float32, (-1, 10))


class TensorFlow:
    """The SavedModel. TensorFlow is imported here, in the worker: its threads do not survive a fork.

    A prepared call of a session, on one thread, takes two thirds of the time of a call of the signature's function.
    """

    name = "tensorflow"

    def __init__(self, directory: Path) -> None:
        try:
            import tensorflow as tf  # noqa: PLC0415 - only where it is needed, and after the fork
        except ImportError:
            raise ModelRejected("runtime", "it needs TensorFlow, which is not installed") from None
        tf.get_logger().setLevel("ERROR")  # sessions are called deprecated
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
            raise ModelRejected(
                "signature", f"the SavedModel cannot be loaded: {' '.join(str(error).split())[:200]}"
            ) from error
        images = _single_tensor("input", signature.inputs, "images", (tf.uint8, [-1, 28, 28]))
        probabilities = _single_tensor("output", signature.outputs, "probabilities", (tf.float32, [-1, 10]))
        self._call = session.make_callable(probabilities, feed_list=[images])
        self._pool = _ChunkPool()

    def __call__(self, batch: Batch) -> Probabilities:
        """As Runtime says."""
        return self._pool.run(self._call, batch)


class _ChunkPool:
    """As many threads as there are cores. They begin with their first work; a forked process begins its own."""

    def __init__(self) -> None:
        self._process, self._pool = 0, ThreadPoolExecutor()

    def run(self, call: Callable[[Batch], Probabilities], batch: Batch) -> Probabilities:
        """Call for a batch in pieces, all together; for a single piece on this thread."""
        if len(batch) <= MAX_CHUNK:
            return call(batch)
        if self._process != os.getpid():
            self._process, self._pool = os.getpid(), ThreadPoolExecutor(cores(), thread_name_prefix="pieces")
        pieces = (batch[start : start + MAX_CHUNK] for start in range(0, len(batch), MAX_CHUNK))
        return np.concatenate(list(self._pool.map(call, pieces)))


def _check_details(kind: str, details: dict[str, Any], name: str, dtype: type, shape: tuple[int, ...]) -> None:
    found = {key: (value["dtype"], tuple(value["shape_signature"])) for key, value in details.items()}
    if found != {name: (dtype, shape)}:
        raise ModelRejected("signature", f"the plan's {kind} is {found}, not {name} {np.dtype(dtype)} {shape}")


def _single_tensor(kind: str, tensors: Mapping[str, Any], name: str, expected: tuple[Any, list[int]]) -> str:
    """The graph's name of the only tensor that a SavedModel's signature has of this kind."""
    shapes = {key: [side.size for side in tensor.tensor_shape.dim] for key, tensor in tensors.items()}
    found = {key: (tensor.dtype, shapes[key]) for key, tensor in tensors.items()}
    dtype, shape = expected
    if found != {name: (dtype.as_datatype_enum, shape)}:
        raise ModelRejected("signature", f"the SavedModel's {kind} is {shapes}, not {name} {dtype.name} {shape}")
    return str(tensors[name].name)
