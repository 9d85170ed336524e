"""The reference distribution of a version: its predictions on the test set, which drift is measured against."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self


class ReferenceDistribution(NamedTuple):
    """Predictions on the test set, as shares from 0 to 1; empty if the version has no reference statistics.

    Attributes:
        class_shares: the share of each digit, 10 values.
        confidence_cdf: confidence to the share of predictions with at most that confidence.
    """

    class_shares: Sequence[float] = ()
    confidence_cdf: Mapping[float, float] = {}

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any] | None, bounds: Sequence[float]) -> Self:
        """Read the entry `reference` of a manifest; an empty distribution if it is missing or malformed.

        Args:
            manifest: the manifest of a version, unverified; None if the version has none.
            bounds: confidences to compute the CDF at; those that are not an edge of the manifest's histogram are left
                out.
        """
        try:
            reference = (manifest or {})["reference"]
            shares = [float(share) for share in reference["class_shares"]]
            edges = [float(edge) for edge in reference["confidence_edges"]]
            histogram = [float(share) for share in reference["confidence_histogram"]]
        except (KeyError, TypeError, ValueError):
            return cls()
        if len(shares) != 10 or len(edges) != len(histogram) + 1 or not all(map(math.isfinite, shares + histogram)):
            return cls()
        cdf = {
            bound: math.fsum(histogram[:index])
            for bound in bounds
            for index, edge in enumerate(edges)
            if math.isclose(bound, edge, abs_tol=1e-6)  # the edges went through float32
        }
        return cls(shares, cdf)
