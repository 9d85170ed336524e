"""Weights in whole numbers: each is a whole number from -127 to 127, times a step of its unit's own.

Pixels are whole numbers as they come. So a first layer of such weights can be computed in whole numbers, without
error, where a processor multiplies four times as many of them in the same time (training/publish/tflite.py).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from training.model.network import Tensor

INT8_MAX = 127
TOLERANCE = 1e-6
"""Of a unit's largest weight: how far float32 may be from a whole number of steps."""


class QuantisedWeights(NamedTuple):
    """numbers int8 [inputs, units], steps float32 [units], above 0: the weights are numbers x steps."""

    values: npt.NDArray[np.int8]
    scales: npt.NDArray[np.float32]


def quantise_dequantise(weights: Tensor) -> Tensor:
    """The weights [inputs, units] nearest to these that are whole, where each unit's largest keeps its value."""
    weights = np.asarray(weights, np.float32)
    steps = _scales(weights)
    return tf.constant(np.rint(weights / steps) * steps)


def recover(weights: npt.ArrayLike) -> QuantisedWeights | None:
    """Weights [inputs, units] as the whole numbers that `rounded` made of them; None: it did not make them."""
    weights = np.asarray(weights, np.float32)
    steps = _scales(weights)
    numbers = np.rint(weights / steps)
    if (np.abs(numbers * steps - weights) > TOLERANCE * np.abs(weights).max(axis=0)).any():
        return None
    return QuantisedWeights(numbers.astype(np.int8), steps)


def _scales(weights: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The step of each unit: its largest weight is MOST of them; of one whose weights are all 0, any."""
    largest = np.abs(weights).max(axis=0)
    return (np.where(largest > 0, largest, 1) / INT8_MAX).astype(np.float32)
