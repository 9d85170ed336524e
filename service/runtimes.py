"""TensorFlow and LiteRT behind one call: batch uint8 [N, 28, 28] -> probabilities float32 [N, 10].

Both refuse a model whose signature is not `serving_default`: `images` in, `probabilities` out.
"""

import threading
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter

Batch = npt.NDArray[np.uint8]
Probabilities = npt.NDArray[np.float32]

SIGNATURE = "serving_default"
PIECE = 512
"""Images that LiteRT takes at once: its memory grows with the largest batch that it ever saw."""


class Unfit(Exception):
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
    """The plan. An interpreter is not thread-safe, so every thread gets its own, on first use."""

    name = "litert"

    def __init__(self, plan: bytes) -> None:
        self._runner = _RunnerOfThread(plan)

    def __call__(self, batch: Batch) -> Probabilities:
        """As Runtime says."""
        run = self._runner.run
        if len(batch) <= PIECE:
            return np.asarray(run(images=batch)["probabilities"])
        pieces = (batch[start : start + PIECE] for start in range(0, len(batch), PIECE))
        return np.concatenate([run(images=piece)["probabilities"] for piece in pieces])


class _RunnerOfThread(threading.local):
    """`threading.local` calls __init__ anew in every thread that touches the object."""

    def __init__(self, plan: bytes) -> None:
        try:
            interpreter = Interpreter(model_content=plan, num_threads=1)
            self.run = interpreter.get_signature_runner(SIGNATURE)
        except (ValueError, RuntimeError) as error:
            raise Unfit("signature", f"the plan cannot be loaded: {' '.join(str(error).split())[:200]}") from error
        _check_details("input", self.run.get_input_details(), "images", np.uint8, (-1, 28, 28))
        _check_details("output", self.run.get_output_details(), "probabilities", np.float32, (-1, 10))


class TensorFlow:
    """The SavedModel. TensorFlow is imported here, in the worker: its threads do not survive a fork."""

    name = "tensorflow"

    def __init__(self, directory: Path) -> None:
        try:
            import tensorflow as tf  # noqa: PLC0415 - only where it is needed, and after the fork
        except ImportError:
            raise Unfit("runtime", "it needs TensorFlow, which is not installed") from None
        try:
            self._model = tf.saved_model.load(str(directory))  # holds the variables
            self._serve = self._model.signatures[SIGNATURE]
        except (OSError, KeyError, ValueError, RuntimeError, tf.errors.OpError) as error:
            raise Unfit(
                "signature", f"the SavedModel cannot be loaded: {' '.join(str(error).split())[:200]}"
            ) from error
        _, inputs = self._serve.structured_input_signature
        expected = {"images": tf.TensorSpec([None, 28, 28], tf.uint8)}
        if not _same_specs(inputs, expected):
            raise Unfit("signature", f"the SavedModel takes {inputs}, not images uint8 [N, 28, 28]")
        if not _same_specs(self._serve.structured_outputs, {"probabilities": tf.TensorSpec([None, 10], tf.float32)}):
            raise Unfit(
                "signature", f"the SavedModel gives {self._serve.structured_outputs}, not probabilities [N, 10]"
            )
        self._constant = tf.constant

    def __call__(self, batch: Batch) -> Probabilities:
        """As Runtime says."""
        return np.asarray(self._serve(images=self._constant(batch))["probabilities"])


def _check_details(kind: str, details: dict[str, Any], name: str, dtype: type, shape: tuple[int, ...]) -> None:
    found = {key: (value["dtype"], tuple(value["shape_signature"])) for key, value in details.items()}
    if found != {name: (dtype, shape)}:
        raise Unfit("signature", f"the plan's {kind} is {found}, not {name} {np.dtype(dtype)} {shape}")


def _same_specs(found: dict[str, Any], expected: dict[str, Any]) -> bool:
    return found.keys() == expected.keys() and all(
        found[name].dtype == spec.dtype and found[name].shape.as_list() == spec.shape.as_list()
        for name, spec in expected.items()
    )
