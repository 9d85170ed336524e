"""Weights in whole numbers: each is a whole number from -127 to 127, times a step of its unit's own.

Pixels are whole numbers as they come. So a first layer of such weights can be computed in whole numbers, without
error, where a processor multiplies four times as many of them in the same time (training/publish/tflite.py).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from training.model.network import Tensor

MOST = 127
EXACT = 1e-6
"""Of a unit's largest weight: how far float32 may be from a whole number of steps."""


class Whole(NamedTuple):
    """numbers int8 [inputs, units], steps float32 [units], above 0: the weights are numbers x steps."""

    numbers: npt.NDArray[np.int8]
    steps: npt.NDArray[np.float32]


def rounded(weights: Tensor) -> Tensor:
    """The weights [inputs, units] nearest to these that are whole, where each unit's largest keeps its value."""
    weights = np.asarray(weights, np.float32)
    steps = _steps(weights)
    return tf.constant(np.rint(weights / steps) * steps)


def read(weights: npt.ArrayLike) -> Whole | None:
    """Weights [inputs, units] as the whole numbers that `rounded` made of them; None: it did not make them."""
    weights = np.asarray(weights, np.float32)
    steps = _steps(weights)
    numbers = np.rint(weights / steps)
    if (np.abs(numbers * steps - weights) > EXACT * np.abs(weights).max(axis=0)).any():
        return None
    return Whole(numbers.astype(np.int8), steps)


def _steps(weights: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The step of each unit: its largest weight is MOST of them; of one whose weights are all 0, any."""
    largest = np.abs(weights).max(axis=0)
    return (np.where(largest > 0, largest, 1) / MOST).astype(np.float32)
