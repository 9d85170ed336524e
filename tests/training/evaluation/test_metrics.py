"""Metrics against values computed by hand, by SciPy or on synthetic samples."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from scipy import special

from training.evaluation import metrics


def predictions(*pairs: tuple[int, float]) -> npt.NDArray[np.float64]:
    """Probabilities [N, 10] from digits and confidences; the remainder is spread evenly."""
    rows = np.array([[(1 - confidence) / 9] * 10 for _, confidence in pairs])
    for row, (digit, confidence) in zip(rows, pairs, strict=True):
        row[digit] = confidence
    return rows


def labels(*digits: int) -> npt.NDArray[np.uint8]:
    return np.array(digits, np.uint8)


PREDICTIONS = predictions((3, 0.91), (3, 0.91), (7, 0.55), (7, 0.55))
TRUE = labels(3, 4, 7, 7)


def test_metrics_equal_values_computed_by_hand() -> None:
    computed = metrics.compute_metrics(PREDICTIONS, TRUE).as_dict("test")
    assert computed == {
        "test_accuracy": 0.75,
        "test_cross_entropy": pytest.approx(-(math.log(0.91) + math.log(0.01) + 2 * math.log(0.55)) / 4),
        "test_ece": pytest.approx((abs(2 * 0.91 - 1) + abs(2 * 0.55 - 2)) / 4),
    }


def test_cross_entropy_of_a_zero_probability_is_finite() -> None:
    certain = predictions((3, 1.0)).astype(np.float32)
    assert metrics.cross_entropy(certain, labels(3)) == 0
    assert metrics.cross_entropy(certain, labels(4)) == pytest.approx(126 * math.log(2))


def test_calibration_error_of_a_calibrated_sample_is_small() -> None:
    random = np.random.default_rng(0)
    probabilities = special.softmax(random.normal(0, 2, (100_000, 10)), axis=1)
    drawn = (probabilities.cumsum(axis=1) < random.random((100_000, 1))).sum(axis=1).astype(np.uint8)
    assert metrics.expected_calibration_error(probabilities, drawn) < 0.01


def test_calibration_error_of_overconfident_predictions_is_the_gap() -> None:
    probabilities = predictions(*[(5, 0.99)] * 100)
    true = labels(*[5] * 60, *[6] * 40)
    assert metrics.expected_calibration_error(probabilities, true) == pytest.approx(0.39)
    assert metrics.expected_calibration_error(predictions((5, 1.0)), labels(5)) == 0


def test_confusion_has_true_digits_in_rows_and_predicted_digits_in_columns() -> None:
    expected = np.zeros((10, 10), int)
    expected[3, 3], expected[4, 3], expected[7, 7] = 1, 1, 2
    np.testing.assert_array_equal(metrics.confusion(PREDICTIONS, TRUE), expected)


def test_fits_the_temperature_to_five_digits_and_without_overflow() -> None:
    random = np.random.default_rng(3)
    logits = (200 * random.normal(0, 3, (500, 10))).astype(np.float32)
    labels = (logits + 1000 * random.gumbel(size=logits.shape)).argmax(axis=1).astype(np.uint8)
    assert metrics.fit_temperature(logits, labels) == pytest.approx(20, rel=1e-4), "the upper bound"
    fitted = metrics.fit_temperature(logits / 100, labels)
    grid = fitted * (1 + np.linspace(-4e-5, 4e-5, 9))
    losses = [metrics.cross_entropy(special.softmax(logits.astype(float) / 100 / t, axis=1), labels) for t in grid]
    assert abs(np.argmin(losses) - 4) <= 1


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_fits_the_temperature_of_synthetic_logits(temperature: float) -> None:
    random = np.random.default_rng(1)
    logits = random.normal(0, 3, (40_000, 10))
    truth = special.softmax(logits / temperature, axis=1)
    drawn = (truth.cumsum(axis=1) < random.random((40_000, 1))).sum(axis=1).astype(np.uint8)
    assert metrics.fit_temperature(logits, drawn) == pytest.approx(temperature, rel=0.03)


def test_one_prediction_in_a_hundred_is_below_the_threshold() -> None:
    confidences = np.random.default_rng(2).permutation(np.linspace(0.2, 0.999, 1000))
    probabilities = predictions(*((index % 10, confidence) for index, confidence in enumerate(confidences)))
    assert np.sum(confidences < metrics.confidence_threshold(probabilities)) == 10


def test_reference_statistics_are_shares_of_digits_and_confidences() -> None:
    reference = metrics.reference_statistics(predictions((3, 0.91), (3, 1.0), (7, 0.57), (0, 0.12)))
    assert reference["class_shares"] == [0.25, 0, 0, 0.5, 0, 0, 0, 0.25, 0, 0]
    assert reference["confidence_edges"] == [round(0.05 * edge, 2) for edge in range(21)]
    histogram = [0.0] * 20
    histogram[2], histogram[11], histogram[18], histogram[19] = 0.25, 0.25, 0.25, 0.25
    assert reference["confidence_histogram"] == histogram


def test_reliability_has_all_bins_but_empty_ones() -> None:
    probabilities = predictions((1, 0.99), (1, 0.97), (2, 0.62), (3, 0.64), (4, 1.0))
    bins = metrics.reliability(probabilities, labels(1, 0, 2, 3, 4))
    assert np.array(bins) == pytest.approx(np.array([(2, 0.63, 1.0), (3, (0.99 + 0.97 + 1) / 3, 2 / 3)]))


@pytest.mark.parametrize(
    ("correct", "images", "low", "high"),
    [(9950, 10_000, 0.99342, 0.99620), (0, 10, 0.0, 0.27754), (10, 10, 0.72246, 1.0)],
)
def test_wilson_interval(correct: int, images: int, low: float, high: float) -> None:
    assert metrics.wilson_interval(correct, images) == pytest.approx((low, high), abs=1e-5)
    share, z = correct / images, 1.959964
    middle = (share + z**2 / (2 * images)) / (1 + z**2 / images)
    assert sum(metrics.wilson_interval(correct, images)) / 2 == pytest.approx(middle, abs=1e-6)


def test_auroc_is_the_share_of_ordered_pairs_with_ties_as_half() -> None:
    random = np.random.default_rng(0)
    positives, negatives = random.integers(3, 9, 50) / 10, random.integers(0, 7, 80) / 10
    pairs = (positives[:, None] > negatives) + 0.5 * (positives[:, None] == negatives)
    assert metrics.auroc(positives, negatives) == pytest.approx(pairs.mean())
    assert metrics.auroc(np.array([0.5]), np.array([0.1, 0.2])) == 1
