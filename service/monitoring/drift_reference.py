"""The reference distribution of a version: its predictions on the test set, which drift is measured against."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self


class ReferenceDistribution(NamedTuple):
    """Predictions on the test set, as shares from 0 to 1; empty if the version has no reference statistics.

    Attributes:
        class_shares: the share of each digit, 10 values.
        confidence_cdf: confidence to the share of predictions with at most that confidence.
    """

    class_shares: Sequence[float] = ()
    confidence_cdf: Mapping[float, float] = {}

    @classmethod
    def from_histogram(
        cls,
        class_shares: Sequence[float],
        confidence_edges: Sequence[float],
        confidence_histogram: Sequence[float],
        bounds: Sequence[float],
    ) -> Self:
        """Compute the CDF from a histogram of confidences.

        Args:
            class_shares: the share of each digit, 10 values.
            confidence_edges: the edges of the bins, one more than there are bins.
            confidence_histogram: the share of predictions in each bin.
            bounds: confidences to compute the CDF at; those that are not an edge are left out.
        """
        cdf = {
            bound: math.fsum(confidence_histogram[:index])
            for bound in bounds
            for index, edge in enumerate(confidence_edges)
            if math.isclose(bound, edge, abs_tol=1e-6)  # the edges went through float32
        }
        return cls(class_shares, cdf)
