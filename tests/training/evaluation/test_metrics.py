import math

import numpy as np
import numpy.typing as npt
import pytest
from scipy import special

from training.evaluation import metrics


def answers(*pairs: tuple[int, float]) -> npt.NDArray[np.float64]:
    """Probabilities [N, 10]: a digit and its confidence each, the rest spread evenly."""
    rows = np.array([[(1 - confidence) / 9] * 10 for _, confidence in pairs])
    for row, (digit, confidence) in zip(rows, pairs, strict=True):
        row[digit] = confidence
    return rows


def labels(*digits: int) -> npt.NDArray[np.uint8]:
    return np.array(digits, np.uint8)


FOUR = answers((3, 0.91), (3, 0.91), (7, 0.55), (7, 0.55))
TRUE = labels(3, 4, 7, 7)


def test_measure_gives_the_figures_worked_out_by_hand() -> None:
    figures = metrics.compute_metrics(FOUR, TRUE).as_dict("test")
    assert figures == {
        "test_accuracy": 0.75,
        "test_cross_entropy": pytest.approx(-(math.log(0.91) + math.log(0.01) + 2 * math.log(0.55)) / 4),
        "test_ece": pytest.approx((abs(2 * 0.91 - 1) + abs(2 * 0.55 - 2)) / 4),
    }


def test_a_probability_of_zero_costs_much_but_not_infinitely_much() -> None:
    certain = answers((3, 1.0)).astype(np.float32)
    assert metrics.cross_entropy(certain, labels(3)) == 0
    assert metrics.cross_entropy(certain, labels(4)) == pytest.approx(126 * math.log(2))


def test_calibration_error_of_a_calibrated_sample_is_small() -> None:
    random = np.random.default_rng(0)
    probabilities = special.softmax(random.normal(0, 2, (100_000, 10)), axis=1)
    drawn = (probabilities.cumsum(axis=1) < random.random((100_000, 1))).sum(axis=1).astype(np.uint8)
    assert metrics.expected_calibration_error(probabilities, drawn) < 0.01


def test_calibration_error_of_a_sample_that_is_too_sure_is_the_gap() -> None:
    given = answers(*[(5, 0.99)] * 100)
    true = labels(*[5] * 60, *[6] * 40)
    assert metrics.expected_calibration_error(given, true) == pytest.approx(0.39)
    assert metrics.expected_calibration_error(answers((5, 1.0)), labels(5)) == 0


def test_confusion_has_true_digits_down_and_given_ones_across() -> None:
    expected = np.zeros((10, 10), int)
    expected[3, 3], expected[4, 3], expected[7, 7] = 1, 1, 2
    np.testing.assert_array_equal(metrics.confusion(FOUR, TRUE), expected)


def test_softmax_is_scipys_and_does_not_overflow() -> None:
    logits = np.array([[1e4, 0, -1e4, *[9999.0] * 7], [0.5] * 10, range(10)], np.float32)
    np.testing.assert_allclose(metrics.softmax(logits), special.softmax(logits.astype(float), axis=1), rtol=1e-12)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_the_temperature_of_made_logits_is_found(temperature: float) -> None:
    random = np.random.default_rng(1)
    logits = random.normal(0, 3, (40_000, 10))
    truth = special.softmax(logits / temperature, axis=1)
    drawn = (truth.cumsum(axis=1) < random.random((40_000, 1))).sum(axis=1).astype(np.uint8)
    assert metrics.fit_temperature(logits, drawn) == pytest.approx(temperature, rel=0.03)


def test_one_answer_in_a_hundred_is_uncertain() -> None:
    confidences = np.random.default_rng(2).permutation(np.linspace(0.2, 0.999, 1000))
    given = answers(*((index % 10, confidence) for index, confidence in enumerate(confidences)))
    assert np.sum(confidences < metrics.confidence_threshold(given)) == 10


def test_reference_is_the_shares_of_digits_and_of_confidences() -> None:
    reference = metrics.reference_statistics(answers((3, 0.91), (3, 1.0), (7, 0.57), (0, 0.12)))
    assert reference["class_shares"] == [0.25, 0, 0, 0.5, 0, 0, 0, 0.25, 0, 0]
    assert reference["confidence_edges"] == [round(0.05 * edge, 2) for edge in range(21)]
    histogram = [0.0] * 20
    histogram[2], histogram[11], histogram[18], histogram[19] = 0.25, 0.25, 0.25, 0.25
    assert reference["confidence_histogram"] == histogram


def test_reliability_has_the_images_of_each_bin_and_no_empty_ones() -> None:
    given = answers((1, 0.99), (1, 0.97), (2, 0.62), (3, 0.64), (4, 1.0))
    bins = metrics.reliability(given, labels(1, 0, 2, 3, 4))
    assert np.array(bins) == pytest.approx(np.array([(2, 0.63, 1.0), (3, (0.99 + 0.97 + 1) / 3, 2 / 3)]))


@pytest.mark.parametrize(
    ("right", "images", "low", "high"),
    [(9950, 10_000, 0.99342, 0.99620), (0, 10, 0.0, 0.27754), (10, 10, 0.72246, 1.0)],
)
def test_the_interval_is_wilsons(right: int, images: int, low: float, high: float) -> None:
    assert metrics.wilson_interval(right, images) == pytest.approx((low, high), abs=1e-5)
    share, z = right / images, 1.959964
    middle = (share + z**2 / (2 * images)) / (1 + z**2 / images)
    assert sum(metrics.wilson_interval(right, images)) / 2 == pytest.approx(middle, abs=1e-6)


def test_separation_is_the_share_of_pairs_in_order_where_a_tie_is_half() -> None:
    random = np.random.default_rng(0)
    digits, others = random.integers(3, 9, 50) / 10, random.integers(0, 7, 80) / 10
    pairs = (digits[:, None] > others) + 0.5 * (digits[:, None] == others)
    assert metrics.auroc(digits, others) == pytest.approx(pairs.mean())
    assert metrics.auroc(np.array([0.5]), np.array([0.1, 0.2])) == 1
