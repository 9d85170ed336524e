"""What the client returns: frozen dataclasses."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Prediction:
    """The prediction for one picture."""

    digit: int
    """0 to 9."""
    confidence: float
    """Probability of the digit, 0 to 1."""
    uncertain: bool
    """Whether the confidence is below the threshold of the version, or the picture shows several digits."""
    probabilities: tuple[float, ...]
    """Of the ten digits."""
    version: str
    """The version of the model that predicted."""
    digits: int | None = None
    """How many digits the picture shows, if the service found several; `split=True` reads each of them."""


@dataclass(frozen=True, slots=True)
class BoxedDigit:
    """One digit on a picture that was read with `split=True`."""

    digit: int
    confidence: float
    uncertain: bool
    probabilities: tuple[float, ...]
    box: tuple[int, int, int, int]
    """Left, top, right, bottom in pixels of the picture; right and bottom exclusive."""


@dataclass(frozen=True, slots=True)
class Number:
    """One line of writing on a picture."""

    text: str
    """Its digits from left to right."""
    digits: tuple[BoxedDigit, ...]
    version: str

    @property
    def confidence(self) -> float:
        """The lowest confidence of a digit, 0 to 1."""
        return min(digit.confidence for digit in self.digits)

    @property
    def uncertain(self) -> bool:
        """Whether any digit is uncertain."""
        return any(digit.uncertain for digit in self.digits)


@dataclass(frozen=True, slots=True)
class BulkPrediction:
    """The predictions for an array of N images, as columns; a column that was not requested is empty."""

    version: str
    digits: tuple[int, ...]
    confidences: tuple[float, ...] = ()
    uncertain: tuple[bool, ...] = ()
    probabilities: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The version of the model in use."""

    version: str
    runtime: str
    """`litert` or `tensorflow`."""
    manifest: dict[str, Any]
    """The manifest of the version; empty if it has none."""

    @property
    def test_accuracy(self) -> float | None:
        """Share of the MNIST test images that are predicted right, 0 to 1."""
        metrics = self.manifest.get("metrics")
        return metrics.get("test_accuracy") if isinstance(metrics, dict) else None


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the service can predict."""

    ready: bool
    version: str | None
    """The version in use; None if the service is not ready."""
    reason: str | None = None
    """Why the service is not ready."""
