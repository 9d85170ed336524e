from pathlib import Path

import numpy as np
import pytest

from training.data.glyphs import Images
from training.data.mnist import Dataset, Split
from training.evaluation import assessment as assess
from training.evaluation import ood_sets
from training.evaluation.metrics import Floats
from training.evaluation.ood_sets import OodSet
from training.recipe import Recipe

SURE, UNSURE = 0.9, 0.4


def answer(images: Images) -> Floats:
    """The digit in the first pixel, with the confidence in the second, in per cent; digit 0 unsure for a dark one."""
    digits, confidence = images[:, 0, 0] % 10, images[:, 0, 1] / 100
    confidence = np.where(confidence == 0, UNSURE, confidence)
    rows = np.repeat((1 - confidence)[:, None] / 9, 10, axis=1)
    rows[np.arange(len(images)), digits] = confidence
    return rows


def image(digit: int, confidence: float) -> Images:
    made = np.zeros((28, 28), np.uint8)
    made[0, 0], made[0, 1] = digit, round(100 * confidence)
    return made


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """Eight test images, all but the second and the last answered right, the last two unsurely."""
    images = [image(digit, SURE if place < 6 else UNSURE) for place, digit in enumerate((1, 2, 3, 4, 5, 6, 7, 8))]
    test = Split(np.array(images), np.array([1, 3, 3, 4, 5, 6, 7, 9], np.uint8))
    found = [
        OodSet("letters", np.array([image(1, 0.3), image(2, 0.5), image(2, SURE), image(3, 0.2)])),
        OodSet("fashion", np.zeros((0, 28, 28), np.uint8), "needs a package"),
    ]
    monkeypatch.setattr(ood_sets, "probes", lambda *_: iter(found))
    return Dataset("made", test, test, test, ())


def test_the_figures_are_those_worked_out_by_hand(data: Dataset) -> None:
    assessment = assess.evaluate_model(answer, data, 0.6, Path(), None)
    assert assessment.metrics_dict() == {
        "test_accuracy": 0.75,
        "test_cross_entropy": pytest.approx(-np.log([*[SURE] * 5, 0.1 / 9, UNSURE, 0.6 / 9]).mean()),
        "test_ece": pytest.approx(((6 * SURE - 5) + (2 * UNSURE - 1) * -1) / 8),
        "test_accuracy_first_half": 0.75,
        "test_accuracy_second_half": 0.75,
        "test_certain": 0.75,
        "test_accuracy_certain": pytest.approx(5 / 6),
    }
    assert assessment.interval == pytest.approx((0.4093, 0.9285), abs=1e-4)
    assert np.array(assessment.reliability) == pytest.approx(np.array([(2, UNSURE, 0.5), (6, SURE, 5 / 6)]))
    letters, fashion = assessment.ood
    above = [1, 1, 0.5, 1] * 6 + [1, 0, 0, 1] * 2
    assert (letters.images, letters.auroc, letters.uncertain) == pytest.approx((4, np.mean(above), 0.75))
    assert (fashion.images, fashion.missing) == (0, "needs a package")


def test_the_tables_show_it_all(data: Dataset) -> None:
    tables = assess.evaluate_model(answer, data, 0.6, Path(), None).tables()
    assert list(tables) == ["Accuracy", "Calibration", "Not a digit", "Robustness"]
    for table in tables.values():
        assert len({len(row) for row in table}) == 1
    assert ["right", "75.00%", "40.93% to 92.85%"] in tables["Accuracy"]
    assert ["right of the certain", "83.33%", ""] in tables["Accuracy"]
    assert tables["Calibration"][1:] == [["2", "40.00%", "50.00%"], ["6", "90.00%", "83.33%"]]
    assert tables["Not a digit"][1:] == [["letters", "4", "0.7812", "75.0%"], ["fashion", "0", "", "needs a package"]]
    assert tables["Robustness"][:2] == [["test images", "accuracy", ""], ["as they are", "75.00%", ""]]


def test_hardship_is_measured_on_the_images_and_a_yardstick_is_trained_for_it(mnist: Dataset, data: Dataset) -> None:
    some = Split(mnist.test.images[:2000], mnist.test.labels[:2000])
    real = Dataset("some", mnist.training, data.validation, some, ())
    words = ["iterations=200", "evaluate_every=200", "print_every=200"]
    assessment = assess.evaluate_model(
        lambda _: np.eye(10)[some.labels], real, 0.5, Path(), Recipe.load("smoke", words)
    )
    rows = {row.name: row for row in assessment.corruptions}
    assert {row.accuracy for row in rows.values()} == {1.0}, "it answers by heart"
    accuracy = {name: row.baseline or 0.0 for name, row in rows.items()}
    assert accuracy["as they are"] > 0.88
    assert accuracy["shifted by 4 px"] < accuracy["shifted by 2 px"] < accuracy["shifted by 1 px"] < 0.9
    assert accuracy["turned by 30 degrees"] < accuracy["turned by 10 degrees"] - 0.1
    assert assessment.tables()["Robustness"][0] == ["test images", "accuracy", "smoke"]
    assert assessment.tables()["Robustness"][1] == ["as they are", "100.00%", f"{accuracy['as they are']:.2%}"]
