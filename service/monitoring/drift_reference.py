"""What a version's answers look like on its test set, for the metrics that production's answers are held against."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self


class ReferenceDistribution(NamedTuple):
    """Shares of answers, 0 to 1: of each digit [10], and, by confidence, of those that are at most so sure."""

    class_shares: Sequence[float] = ()
    confidence_cdf: Mapping[float, float] = {}

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any] | None, bounds: Sequence[float]) -> Self:
        """Read a manifest's `reference`; empty where it has none, or none that can be read.

        Args:
            manifest: a version's manifest, from wherever.
            bounds: the confidences to know the share below of; those that are no edge of the histogram are left out.
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
        at_most = {
            bound: math.fsum(histogram[:place])
            for bound in bounds
            for place, edge in enumerate(edges)
            if math.isclose(bound, edge, abs_tol=1e-6)
        }
        return cls(shares, at_most)
