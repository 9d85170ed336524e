"""Parameters in, a SavedModel and its plan out, held against each other.

The SavedModel's `serving_default` takes `images` uint8 [N, 28, 28] and gives `probabilities`
float32 [N, 10]; the plan is the same network for LiteRT.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from training.errors import TrainingError
from training.model.network import Layer, Parameters
from training.publish import tflite

TFLITE_FILE = "model.tflite"
TOLERANCE = 1e-5

Images = npt.NDArray[np.uint8]
Probabilities = npt.NDArray[np.float32]


class ParityError(TrainingError):
    """SavedModel and plan do not give the same answers."""

    def __init__(self, digits: int, difference: float) -> None:
        super().__init__(
            f"SavedModel and plan give {digits} different digits and probabilities up to {difference:.1e} apart; "
            f"0 and {TOLERANCE:.0e} are allowed"
        )
        self.digits, self.difference = digits, difference


class ExportFailed(TrainingError):
    """TensorFlow could not write the files, or what was written cannot be read."""


def export(parameters: Parameters, activation: str, temperature: float, directory: Path) -> None:
    """Write the SavedModel and the plan into `directory`, the temperature folded into the last layer.

    Raises:
        ExportFailed: TensorFlow could not write the SavedModel.
        OSError: the plan could not be written.
    """
    *hidden, last = parameters
    cooled = Layer(last.weights / temperature, last.biases / temperature)
    parameters = (*hidden, cooled)
    try:
        tflite.ServingModule(parameters, activation).save(directory)
    except tf.errors.OpError as error:
        raise ExportFailed(f"the SavedModel could not be written: {error.message}") from error
    (directory / TFLITE_FILE).write_bytes(tflite.convert(parameters, activation))


def load_predictor(directory: Path) -> Callable[[Images], Probabilities]:
    """The SavedModel in `directory`, as a function from images uint8 [N, 28, 28] to its answers."""
    model = tf.saved_model.load(str(directory))  # holds the variables

    def answer(images: Images) -> Probabilities:
        return np.asarray(model.signatures["serving_default"](images=tf.constant(images))["probabilities"])

    return answer


def saved_model_predict(directory: Path, images: Images) -> Probabilities:
    """What the SavedModel in `directory` answers: float32 [N, 10]."""
    return load_predictor(directory)(images)


def tflite_predict(directory: Path, images: Images) -> Probabilities:
    """What the plan in `directory` answers: float32 [N, 10].

    Raises:
        ExportFailed: LiteRT cannot read the plan.
    """
    try:
        serve = Interpreter(str(directory / TFLITE_FILE), num_threads=1).get_signature_runner()
    except (ValueError, RuntimeError) as error:
        raise ExportFailed(f"{directory / TFLITE_FILE} cannot be read: {' '.join(str(error).split())}") from error
    return np.asarray(serve(images=images)["probabilities"])


def verify_parity(directory: Path, images: Images) -> Probabilities:
    """The SavedModel's answers, once the plan is known to give the same.

    Raises:
        PlanDisagrees: a digit differs, or a probability by more than 1e-5.
    """
    ours, plans = saved_model_predict(directory, images), tflite_predict(directory, images)
    digits = int(np.sum(ours.argmax(axis=1) != plans.argmax(axis=1)))
    difference = float(np.abs(ours - plans).max())
    if digits or difference > TOLERANCE:
        raise ParityError(digits, difference)
    return ours
