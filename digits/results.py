"""What the client returns: frozen dataclasses, and the JSON of the service made into them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Digits: TypeAlias = NDArray[np.uint8]
    Confidences: TypeAlias = NDArray[np.float32]

Box: TypeAlias = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels of the picture; right and bottom are exclusive."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The digit on one picture.

    Attributes:
        digit: 0 to 9.
        confidence: the probability of `digit`, 0 to 1.
        uncertain: the confidence is below the threshold of the version, or the picture shows several digits.
        probabilities: one for each digit from 0 to 9; empty if they were not asked for.
        version: the version of the model.
        digits: how many digits the picture shows, if it is more than one; `split=True` reads each of them.
    """

    digit: int
    confidence: float
    uncertain: bool
    probabilities: tuple[float, ...]
    version: str
    digits: int | None = None


@dataclass(frozen=True, slots=True)
class SplitDigit:
    """One digit of a picture with several: as in Prediction, with the line of writing (from 1) and the box."""

    digit: int
    confidence: float
    uncertain: bool
    probabilities: tuple[float, ...]
    line: int
    box: Box


@dataclass(frozen=True, slots=True)
class SplitPrediction:
    """All digits on one picture.

    Attributes:
        numbers: one text of digits for each line of writing, from the top.
        digits: every digit, line by line, from left to right.
        version: the version of the model.
    """

    numbers: tuple[str, ...]
    digits: tuple[SplitDigit, ...]
    version: str

    @property
    def confidence(self) -> float:
        """The lowest confidence of all digits, 0 to 1."""
        return min(digit.confidence for digit in self.digits)

    @property
    def uncertain(self) -> bool:
        """Whether any digit is uncertain."""
        return any(digit.uncertain for digit in self.digits)


@dataclass(frozen=True, slots=True, eq=False)
class ImagePredictions:
    """The digits on an array of images: digits uint8 [N], confidences float32 [N], and the version of the model."""

    digits: "Digits"
    confidences: "Confidences"
    version: str


@dataclass(frozen=True, slots=True)
class Model:
    """The version in use: its number, the runtime (`litert` or `tensorflow`) and its manifest as published."""

    version: str
    runtime: str
    manifest: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the service is ready to predict, and the sentence of its response if it is not."""

    ready: bool
    sentence: str = ""


def predictions(document: dict[str, Any]) -> list[Prediction]:
    """Return the predictions of a response to POST /predict, in the order of the pictures.

    Raises:
        KeyError, TypeError: the document is not such a response.
    """
    version = str(document["version"])
    return [
        Prediction(
            row["digit"],
            row["confidence"],
            row["uncertain"],
            tuple(row.get("probabilities", ())),
            version,
            row.get("digits"),
        )
        for row in document["predictions"]
    ]


def split_predictions(document: dict[str, Any], count: int) -> list[SplitPrediction]:
    """Return the predictions of a response to POST /predict?split=digits, one for each of `count` pictures.

    Raises:
        KeyError, TypeError, IndexError: the document is not such a response.
    """
    version = str(document["version"])
    rows: list[list[SplitDigit]] = [[] for _ in range(count)]
    for row in document["predictions"]:
        left, top, right, bottom = row["box"]
        digit = SplitDigit(
            row["digit"],
            row["confidence"],
            row["uncertain"],
            tuple(row.get("probabilities", ())),
            row["line"],
            (left, top, right, bottom),
        )
        rows[row["picture"] - 1].append(digit)
    return [SplitPrediction(_numbers(digits), tuple(digits), version) for digits in rows]


def _numbers(digits: list[SplitDigit]) -> tuple[str, ...]:
    lines: dict[int, str] = {}
    for digit in digits:
        lines[digit.line] = lines.get(digit.line, "") + str(digit.digit)
    return tuple(lines.values())
