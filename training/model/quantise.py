"""Per-channel symmetric int8 quantisation of a weight matrix: one scale per output unit, values from -127 to 127.

The pixels of an image are integers already. With int8 weights the first layer is computed in exact integer arithmetic,
about four times as many multiplications per instruction as in float32 (training/publish/tflite.py).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from training.types import Tensor

INT8_MAX = 127
TOLERANCE = 1e-6
"""Largest float32 rounding error of a quantised weight, relative to the largest weight of its unit."""


class QuantisedWeights(NamedTuple):
    """values int8 [inputs, units], scales float32 [units], positive; the weights are values * scales."""

    values: npt.NDArray[np.int8]
    scales: npt.NDArray[np.float32]


def quantise_dequantise(weights: Tensor) -> Tensor:
    """The nearest quantised weights, as float32 [inputs, units]; the largest weight of each unit keeps its value."""
    weights = np.asarray(weights, np.float32)
    scales = _scales(weights)
    return tf.constant(np.rint(weights / scales) * scales)


def recover(weights: npt.ArrayLike) -> QuantisedWeights | None:
    """The integer values and scales of weights [inputs, units] that `quantise_dequantise` returned; None for others."""
    weights = np.asarray(weights, np.float32)
    scales = _scales(weights)
    values = np.rint(weights / scales)
    if (np.abs(values * scales - weights) > TOLERANCE * np.abs(weights).max(axis=0)).any():
        return None
    return QuantisedWeights(values.astype(np.int8), scales)


def _scales(weights: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The scale that maps the largest absolute weight of each unit to 127; any positive scale for a unit of zeros."""
    largest = np.abs(weights).max(axis=0)
    return (np.where(largest > 0, largest, 1) / INT8_MAX).astype(np.float32)
