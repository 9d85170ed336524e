"""The predictions for a batch, as columns with one entry for every image."""

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from service.types import Probabilities


class Predictions(NamedTuple):
    """The predictions for N images.

    digits [N], 0 to 9; confidence float32 [N], 0 to 1; uncertain [N]; probabilities float32 [N, 10].
    """

    digits: Sequence[int]
    confidence: npt.NDArray[np.float32]
    uncertain: Sequence[bool]
    probabilities: Probabilities

    @classmethod
    def from_probabilities(cls, probabilities: Probabilities, threshold: float) -> Self:
        """Take the most probable digit of each row of float32 [N, 10], N >= 1.

        A prediction whose confidence is below `threshold` is uncertain.
        """
        if len(probabilities) == 1:  # the general code below gives the same in twice the time
            digit = int(probabilities.argmax())
            confidence = probabilities[0, digit : digit + 1]
            return cls((digit,), confidence, (bool(confidence[0] < threshold),), probabilities)
        confidence = probabilities.max(axis=1)
        uncertain = (confidence < threshold).tolist()
        return cls(probabilities.argmax(axis=1).tolist(), confidence, uncertain, probabilities)

    def slice(self, start: int, stop: int) -> "Predictions":
        """The predictions for the images from index `start` up to, not including, `stop`."""
        digits, confidence, uncertain, probabilities = self
        return Predictions(digits[start:stop], confidence[start:stop], uncertain[start:stop], probabilities[start:stop])
