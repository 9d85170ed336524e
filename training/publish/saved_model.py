"""Export parameters as a SavedModel and a TFLite model, and verify that both give the same probabilities.

The signature `serving_default` maps `images` uint8 [N, 28, 28] to `probabilities` float32 [N, 10].
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from training.errors import TrainingError
from training.model.network import Layer, Parameters
from training.publish import tflite
from training.types import Images, Probabilities

TFLITE_FILE = "model.tflite"
TOLERANCE = 1e-5
"""The largest allowed difference of a probability."""


class ParityError(TrainingError):
    """SavedModel and TFLite model give different predictions."""

    def __init__(self, digits: int, difference: float) -> None:
        super().__init__(
            f"SavedModel and TFLite model differ in {digits} digits, and by up to {difference:.1e} in probabilities; "
            f"allowed are 0 and {TOLERANCE:.0e}"
        )
        self.digits, self.difference = digits, difference


class ExportFailed(TrainingError):
    """TensorFlow could not write the files, or LiteRT cannot read them."""


def export(parameters: Parameters, activation: str, temperature: float, directory: Path) -> None:
    """Write the SavedModel and the TFLite model into `directory`, with the temperature folded into the last layer.

    Raises:
        ExportFailed: TensorFlow could not write the SavedModel.
        OSError: the TFLite model could not be written.
    """
    *hidden, last = parameters
    parameters = (*hidden, Layer(last.weights / temperature, last.biases / temperature))
    try:
        tflite.ServingModule(parameters, activation).save(directory)
        content = tflite.convert(parameters, activation)  # writes a SavedModel into the system's temporary directory
    except tf.errors.OpError as error:
        raise ExportFailed(f"the SavedModel could not be written: {error.message}") from error
    (directory / TFLITE_FILE).write_bytes(content)


def load_predictor(directory: Path) -> Callable[[Images], Probabilities]:
    """Load the SavedModel in `directory`: images uint8 [N, 28, 28] -> probabilities float32 [N, 10].

    Raises:
        ExportFailed: it cannot be loaded, or has another signature. The function that is returned raises it, too.
    """
    with _translate_errors(f"the SavedModel in {directory} cannot be used"):
        model = tf.saved_model.load(str(directory))  # a signature alone would not keep the variables alive

    def predict(images: Images) -> Probabilities:
        with _translate_errors(f"the SavedModel in {directory} cannot be used"):
            outputs = model.signatures["serving_default"](images=tf.constant(images))
            return _checked(np.asarray(outputs["probabilities"]), len(images))

    return predict


def saved_model_predict(directory: Path, images: Images) -> Probabilities:
    """The probabilities of the SavedModel in `directory`, float32 [N, 10], of images uint8 [N, 28, 28]."""
    return load_predictor(directory)(images)


def tflite_predict(directory: Path, images: Images) -> Probabilities:
    """The probabilities of the TFLite model in `directory`, float32 [N, 10], of images uint8 [N, 28, 28].

    Raises:
        ExportFailed: LiteRT cannot read the TFLite model.
    """
    with _translate_errors(f"{directory / TFLITE_FILE} cannot be read"):
        runner = Interpreter(str(directory / TFLITE_FILE), num_threads=1).get_signature_runner()
        return _checked(np.asarray(runner(images=images)["probabilities"]), len(images))


@contextmanager
def _translate_errors(sentence: str) -> Iterator[None]:
    try:
        yield
    except (MemoryError, TrainingError):
        raise
    except Exception as error:  # a damaged model raises any type: of protobuf, of TensorFlow, KeyError, ValueError
        reason = " ".join(str(error).split())[:300]
        raise ExportFailed(f"{sentence}: {type(error).__name__}: {reason}") from error


def _checked(probabilities: Probabilities, images: int) -> Probabilities:
    if probabilities.shape != (images, 10) or not np.isfinite(probabilities).all():
        raise ValueError(f"probabilities of shape {probabilities.shape}; expected are finite ones of ({images}, 10)")
    return probabilities


def verify_parity(directory: Path, images: Images) -> Probabilities:
    """The probabilities of the SavedModel, float32 [N, 10], after comparison with those of the TFLite model.

    Raises:
        ParityError: a predicted digit differs, or a probability by more than 1e-5.
        ExportFailed: LiteRT cannot read the TFLite model.
    """
    expected, actual = saved_model_predict(directory, images), tflite_predict(directory, images)
    digits = int(np.sum(expected.argmax(axis=1) != actual.argmax(axis=1)))
    difference = float(np.abs(expected - actual).max())
    if digits or difference > TOLERANCE:
        raise ParityError(digits, difference)
    return expected
