"""What a network is worth: figures from its answers and the labels, in plain NumPy.

Throughout, probabilities are float [N, 10] with rows that sum to 1, labels uint8 [N], and
cross-entropy is in nats per image.
"""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[np.uint8]

CALIBRATION_BINS = 15
HISTOGRAM_BINS = 20
UNCERTAIN_SHARE = 0.01
"""The share of validation digits that the threshold calls uncertain."""


@dataclass(frozen=True)
class Metrics:
    """Figures of one part of the data; `ece` is 0 to 1, as is accuracy."""

    accuracy: float
    cross_entropy: float
    ece: float

    def as_dict(self, prefix: str) -> dict[str, float]:
        """The figures with a prefix before their names, as the manifest has them."""
        return {f"{prefix}_{name}": value for name, value in asdict(self).items()}


def compute_metrics(probabilities: Floats, labels: Labels) -> Metrics:
    """All figures at once."""
    return Metrics(
        accuracy=accuracy(probabilities, labels),
        cross_entropy=cross_entropy(probabilities, labels),
        ece=expected_calibration_error(probabilities, labels),
    )


def accuracy(probabilities: Floats, labels: Labels) -> float:
    """The share of images whose most probable digit is the label."""
    return float(np.mean(probabilities.argmax(axis=1) == labels))


def cross_entropy(probabilities: Floats, labels: Labels) -> float:
    """Mean negative log-likelihood of the labels; a probability of 0 counts as the smallest float32."""
    given = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.maximum(given, np.finfo(np.float32).tiny)).mean())


def expected_calibration_error(probabilities: Floats, labels: Labels) -> float:
    """Mean distance between confidence and accuracy over 15 equal bins of confidence.

    Guo et al., "On calibration of modern neural networks" (ICML 2017), section 2.
    """
    bins = reliability(probabilities, labels)
    return sum(one.images * abs(one.confidence - one.accuracy) for one in bins) / len(labels)


class ReliabilityBin(NamedTuple):
    """The answers of one of the equal bins of confidence: how many, how sure on average, how often right."""

    images: int
    confidence: float
    accuracy: float


def reliability(probabilities: Floats, labels: Labels) -> list[ReliabilityBin]:
    """The bins behind the calibration error, lowest confidence first; an empty bin is left out."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    places = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    groups = [places == place for place in np.unique(places)]
    return [
        ReliabilityBin(int(group.sum()), float(confidence[group].mean()), float(right[group].mean()))
        for group in groups
    ]


def wilson_interval(right: int, images: int) -> tuple[float, float]:
    """The 95 % interval of an accuracy, after Wilson (1927)."""
    found = stats.binomtest(right, images).proportion_ci(0.95, method="wilson")
    return float(found.low), float(found.high)


def auroc(digits: Floats, others: Floats) -> float:
    """AUROC: the chance that a digit's score [N] is above that of an image that is none [M]; a tie is half."""
    ranks = stats.rankdata(np.concatenate([digits, others]))[: len(digits)]
    return float((ranks.mean() - (len(digits) + 1) / 2) / len(others))


def confusion(probabilities: Floats, labels: Labels) -> npt.NDArray[np.int64]:
    """Counts [10, 10]: rows are the true digits, columns the given ones."""
    cells = 10 * labels.astype(np.int64) + probabilities.argmax(axis=1)
    return np.bincount(cells, minlength=100).reshape(10, 10)


def softmax(logits: Floats) -> npt.NDArray[np.float64]:
    """logits [N, 10] -> probabilities [N, 10]."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def fit_temperature(logits: Floats, labels: Labels) -> float:
    """The temperature T, 0.05 to 20, for which softmax(logits / T) gives the labels the most likelihood.

    Temperature scaling (Guo et al., as above), by golden-section search over log T; the likelihood has
    one peak there.
    """
    ratio = (5**0.5 - 1) / 2
    low, high = np.log(0.05), np.log(20.0)
    while high - low > 1e-4:
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        losses = [cross_entropy(softmax(logits / np.exp(log)), labels) for log in (left, right)]
        low, high = (low, right) if losses[0] < losses[1] else (left, high)
    return float(np.exp((low + high) / 2))


def confidence_threshold(probabilities: Floats) -> float:
    """The confidence under which an answer is called uncertain: so for 1 % of these digits."""
    return float(np.quantile(probabilities.max(axis=1), UNCERTAIN_SHARE))


def reference_statistics(probabilities: Floats) -> dict[str, Any]:
    """What the answers to a test set look like, for a monitor to compare live traffic with.

    `class_shares`: share of each digit among the answers. `confidence_histogram`: shares over
    equal bins between the `confidence_edges`, 0 to 1.
    """
    counts = np.bincount(probabilities.argmax(axis=1), minlength=10)
    histogram, edges = np.histogram(probabilities.max(axis=1), bins=HISTOGRAM_BINS, range=(0, 1))
    return {
        "class_shares": (counts / len(probabilities)).tolist(),
        "confidence_edges": edges.round(10).tolist(),
        "confidence_histogram": (histogram / len(probabilities)).tolist(),
    }
