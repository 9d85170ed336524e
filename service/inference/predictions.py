"""The predictions for a batch, as columns with one entry for every image."""

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from service.errors import InvalidPrediction
from service.types import Probabilities

MAX_CONFIDENCE = 1 + 1e-6
"""The largest of ten float32 numbers that sum to 1 may be rounded up."""


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

        A prediction whose confidence is below `threshold`, which is a float32 number, is uncertain; so is one whose
        confidence is NaN or over 1: see `check`.
        """
        if len(probabilities) == 1:  # the general code below gives the same in twice the time
            digit = int(probabilities.argmax())
            confidence = probabilities[0, digit : digit + 1]
            return cls((digit,), confidence, (not threshold <= confidence.item() <= MAX_CONFIDENCE,), probabilities)
        confidence = probabilities.max(axis=1)
        uncertain = (~((confidence >= threshold) & (confidence <= MAX_CONFIDENCE))).tolist()
        return cls(probabilities.argmax(axis=1).tolist(), confidence, uncertain, probabilities)

    def slice(self, start: int, stop: int) -> "Predictions":
        """The predictions for the images from index `start` up to, not including, `stop`."""
        digits, confidence, uncertain, probabilities = self
        return Predictions(digits[start:stop], confidence[start:stop], uncertain[start:stop], probabilities[start:stop])

    def check(self, version: str) -> None:
        """Check the confidences; only uncertain predictions can be wrong.

        Raises:
            InvalidPrediction: a confidence is NaN or not from 0 to 1.
        """
        for index, confidence in enumerate(self.confidence.tolist()):
            if not 0 <= confidence <= MAX_CONFIDENCE:
                raise InvalidPrediction(
                    f"the confidence of prediction {index + 1} is {confidence}, not one from 0 to 1; "
                    f"version {version} of the model has a fault"
                )
