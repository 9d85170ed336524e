"""Metrics of a classifier from its probabilities and the labels.

Probabilities are float [N, 10] with rows that sum to 1, labels uint8 [N], cross-entropy is in nats per image.
"""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import optimize, special, stats

from training.types import Labels, Probabilities

Floats = npt.NDArray[np.floating[Any]]

CALIBRATION_BINS = 15
HISTOGRAM_BINS = 20
TEMPERATURES = (0.05, 20.0)
"""The range of the softmax temperature."""
UNCERTAIN_SHARE = 0.01
"""The share of the validation images that the confidence threshold makes uncertain."""


@dataclass(frozen=True)
class Metrics:
    """Metrics of a split: accuracy and expected calibration error 0 to 1, cross-entropy in nats per image."""

    accuracy: float
    cross_entropy: float
    ece: float

    def as_dict(self, prefix: str) -> dict[str, float]:
        """The metrics by name, with the prefix of the split, as in the manifest."""
        return {f"{prefix}_{name}": value for name, value in asdict(self).items()}


def compute_metrics(probabilities: Probabilities, labels: Labels) -> Metrics:
    """Accuracy, cross-entropy and expected calibration error."""
    return Metrics(
        accuracy=accuracy(probabilities, labels),
        cross_entropy=cross_entropy(probabilities, labels),
        ece=expected_calibration_error(probabilities, labels),
    )


def accuracy(probabilities: Probabilities, labels: Labels) -> float:
    """The share of images whose most probable digit is the label."""
    return float(np.mean(probabilities.argmax(axis=1) == labels))


def cross_entropy(probabilities: Probabilities, labels: Labels) -> float:
    """Mean negative log-likelihood of the labels; a probability of 0 is replaced by the smallest normal float32."""
    likelihoods = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.maximum(likelihoods, np.finfo(np.float32).tiny)).mean())


def expected_calibration_error(probabilities: Probabilities, labels: Labels) -> float:
    """Mean absolute difference of confidence and accuracy over 15 equal bins of confidence.

    Guo et al., "On calibration of modern neural networks" (ICML 2017), section 2.
    """
    bins = reliability(probabilities, labels)
    return sum(b.images * abs(b.confidence - b.accuracy) for b in bins) / len(labels)


class ReliabilityBin(NamedTuple):
    """One of the equal bins of confidence: number of images, mean confidence, accuracy."""

    images: int
    confidence: float
    accuracy: float


def reliability(probabilities: Probabilities, labels: Labels) -> list[ReliabilityBin]:
    """The bins of the calibration error, in increasing order of confidence, without empty bins."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    correct = probabilities.argmax(axis=1) == labels
    indices = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    masks = [indices == index for index in np.unique(indices)]
    return [ReliabilityBin(int(m.sum()), float(confidence[m].mean()), float(correct[m].mean())) for m in masks]


def wilson_interval(correct: int, images: int) -> tuple[float, float]:
    """The 95 % confidence interval of an accuracy (Wilson 1927)."""
    interval = stats.binomtest(correct, images).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def auroc(positives: Floats, negatives: Floats) -> float:
    """The probability that a score of the positives [N] is above one of the negatives [M]; a tie counts as half."""
    ranks = stats.rankdata(np.concatenate([positives, negatives]))[: len(positives)]
    return float((ranks.mean() - (len(positives) + 1) / 2) / len(negatives))


def confusion(probabilities: Probabilities, labels: Labels) -> npt.NDArray[np.int64]:
    """The confusion matrix int64 [10, 10]: rows are true digits, columns predicted digits."""
    cells = 10 * labels.astype(np.int64) + probabilities.argmax(axis=1)
    return np.bincount(cells, minlength=100).reshape(10, 10)


def fit_temperature(logits: Floats, labels: Labels) -> float:
    """The temperature T, 0.05 to 20, that minimises the cross-entropy of softmax(logits / T).

    Temperature scaling (Guo et al., as above), by a bounded search over log T, where the loss has one minimum.
    """
    logits64 = logits.astype(np.float64)

    def loss(log_temperature: float) -> float:
        return cross_entropy(special.softmax(logits64 / np.exp(log_temperature), axis=1), labels)

    result = optimize.minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(result.x))


def confidence_threshold(probabilities: Probabilities) -> float:
    """The confidence below which a prediction is uncertain: 1 % of these predictions are below it."""
    return float(np.quantile(probabilities.max(axis=1), UNCERTAIN_SHARE))


def reference_statistics(probabilities: Probabilities) -> dict[str, Any]:
    """Statistics of the predictions on the test set, the reference for drift monitoring.

    Returns:
        `class_shares`: the share of each predicted digit; `confidence_histogram`: the shares of equal bins between
        the `confidence_edges`, 0 to 1.
    """
    counts = np.bincount(probabilities.argmax(axis=1), minlength=10)
    histogram, edges = np.histogram(probabilities.max(axis=1), bins=HISTOGRAM_BINS, range=(0, 1))
    return {
        "class_shares": (counts / len(probabilities)).tolist(),
        "confidence_edges": edges.round(10).tolist(),
        "confidence_histogram": (histogram / len(probabilities)).tolist(),
    }
