"""Types that several modules of the training package share."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Tensor = Any
"""A TensorFlow tensor; TensorFlow ships no types."""
Images = npt.NDArray[np.uint8]
"""uint8 [N, 28, 28], 0 = background, 255 = ink; a single image is [28, 28]."""
Labels = npt.NDArray[np.uint8]
"""uint8 [N], 0 to 9."""
Probabilities = npt.NDArray[np.floating[Any]]
"""float [N, 10], each row sums to 1."""


class Scores(NamedTuple):
    """accuracy 0 to 1; cross_entropy in nats per image."""

    accuracy: float
    cross_entropy: float


@dataclass(frozen=True)
class EvaluationRow:
    """One row of history.csv. `training` is the mean over the batches since the previous row."""

    iteration: int
    training: Scores
    validation: Scores
    test: Scores
