"""The evaluation of a model: metrics, tables, OOD results, corruptions against a baseline."""

from pathlib import Path

import numpy as np
import pytest

from training.data.mnist import Dataset, Split
from training.evaluation import ood_sets
from training.evaluation.assessment import Baseline, evaluate_model
from training.evaluation.ood_sets import OodSet
from training.types import Images, Probabilities

SURE, UNSURE = 0.9, 0.4


def predict(images: Images) -> Probabilities:
    """The digit in the first pixel, with the confidence in the second, in per cent (0 stands for UNSURE)."""
    digits, confidence = images[:, 0, 0] % 10, images[:, 0, 1] / 100
    confidence = np.where(confidence == 0, UNSURE, confidence)
    rows = np.repeat((1 - confidence)[:, None] / 9, 10, axis=1)
    rows[np.arange(len(images)), digits] = confidence
    return rows


def image(digit: int, confidence: float) -> Images:
    """An image from which `predict` reads this digit and confidence."""
    made = np.zeros((28, 28), np.uint8)
    made[0, 0], made[0, 1] = digit, round(100 * confidence)
    return made


@pytest.fixture
def eight_images(monkeypatch: pytest.MonkeyPatch) -> Split:
    """Eight images, of which the second and the last are misclassified and the last two are uncertain; two OOD sets."""
    images = [image(digit, SURE if digit < 7 else UNSURE) for digit in range(1, 9)]
    available = [
        OodSet("letters", np.array([image(1, 0.3), image(2, 0.5), image(2, SURE), image(3, 0.2)])),
        OodSet("fashion", np.zeros((0, 28, 28), np.uint8), "no apt-get"),
    ]
    monkeypatch.setattr(ood_sets, "load_ood_sets", lambda *_: iter(available))
    return Split(np.array(images), np.array([1, 3, 3, 4, 5, 6, 7, 9], np.uint8))


def test_metrics_equal_values_computed_by_hand(eight_images: Split) -> None:
    report = evaluate_model(predict, eight_images, 0.6, Path(), None)
    assert report.metrics_dict() == {
        "test_accuracy": 0.75,
        "test_cross_entropy": pytest.approx(-np.log([*[SURE] * 5, 0.1 / 9, UNSURE, 0.6 / 9]).mean()),
        "test_ece": pytest.approx(((6 * SURE - 5) + (2 * UNSURE - 1) * -1) / 8),
        "test_accuracy_first_half": 0.75,
        "test_accuracy_second_half": 0.75,
        "test_coverage": 0.75,
        "test_selective_accuracy": pytest.approx(5 / 6),
    }
    assert report.interval == pytest.approx((0.4093, 0.9285), abs=1e-4)
    assert np.array(report.reliability) == pytest.approx(np.array([(2, UNSURE, 0.5), (6, SURE, 5 / 6)]))
    letters, fashion = report.ood
    ordered_pairs = [1, 1, 0.5, 1] * 6 + [1, 0, 0, 1] * 2
    assert (letters.images, letters.auroc, letters.uncertain) == pytest.approx((4, np.mean(ordered_pairs), 0.75))
    assert (fashion.images, fashion.missing) == (0, "no apt-get")


def test_a_confidence_equal_to_the_threshold_is_covered(eight_images: Split) -> None:
    assert evaluate_model(predict, eight_images, SURE, Path(), None).selective.coverage == 0.75
    nothing_covered = evaluate_model(predict, eight_images, 0.95, Path(), None).selective
    assert (nothing_covered.coverage, nothing_covered.accuracy) == (0, 0)


def test_tables_have_all_results(eight_images: Split) -> None:
    tables = evaluate_model(predict, eight_images, 0.6, Path(), None).tables()
    assert list(tables) == ["Accuracy", "Calibration", "Out-of-distribution sets", "Corruptions"]
    for table in tables.values():
        assert len({len(row) for row in table}) == 1
    assert ["accuracy", "75.00%", "95 % interval 40.93% to 92.85%"] in tables["Accuracy"]
    assert ["coverage", "75.00%", "confidence of at least 0.6000"] in tables["Accuracy"]
    assert ["selective accuracy", "83.33%", "of the covered images"] in tables["Accuracy"]
    assert tables["Calibration"][1:] == [["2", "40.00%", "50.00%"], ["6", "90.00%", "83.33%"]]
    ood = tables["Out-of-distribution sets"]
    assert ood[1:] == [["letters", "4", "0.7812", "75.0%"], ["fashion", "0", "", "no apt-get"]]
    assert tables["Corruptions"][:2] == [["test images", "accuracy", ""], ["uncorrupted", "75.00%", ""]]


@pytest.mark.usefixtures("eight_images")
def test_model_and_baseline_predict_the_same_corrupted_images(mnist: Dataset) -> None:
    test = Split(mnist.test.images[:2000], mnist.test.labels[:2000])
    means = np.array(
        [mnist.training.images[mnist.training.labels == digit].mean(axis=0).ravel() for digit in range(10)]
    )
    seen: list[Images] = []

    def labels(images: Images) -> Probabilities:
        seen.append(images)
        return np.eye(10)[test.labels][: len(images)]

    def nearest_mean(images: Images) -> Probabilities:
        if len(images) == len(test):
            np.testing.assert_array_equal(images, seen[-1])
        distances = (means**2).sum(axis=1) - 2 * (images.reshape(-1, 784) @ means.T)
        return np.asarray(np.eye(10)[distances.argmin(axis=1)])

    report = evaluate_model(labels, test, 0.5, Path(), Baseline("means", nearest_mean))
    accuracy = {row.name: row.baseline or 0.0 for row in report.corruptions}
    assert {row.accuracy for row in report.corruptions} == {1.0}
    assert accuracy["uncorrupted"] > 0.75
    assert accuracy["shifted by 4 px"] < accuracy["shifted by 2 px"] < accuracy["uncorrupted"]
    assert accuracy["rotated by 30 degrees"] < accuracy["rotated by 10 degrees"]
    table = report.tables()["Corruptions"]
    assert table[0] == ["test images", "accuracy", "means"]
    assert table[1] == ["uncorrupted", "100.00%", f"{accuracy['uncorrupted']:.2%}"]
