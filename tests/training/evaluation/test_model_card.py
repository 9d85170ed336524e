import json
import re

import pytest

from tests.training.conftest import Trained
from training.evaluation import model_card
from training.fit.loop import Scores


@pytest.mark.parametrize(
    ("training", "test", "gap", "conclusion"),
    [
        (Scores(0.935, 0.2), Scores(0.933, 0.22), "0.20 points", "No sign of overfitting"),
        (Scores(0.92, 0.2), Scores(0.93, 0.22), "-1.00 points", "No sign of overfitting"),
        (Scores(1.0, 0.001), Scores(0.97, 0.15), "3.00 points", "It overfits: "),
        (Scores(0.99, 0.03), Scores(0.98, 0.05), "1.00 points", "It overfits a little"),
    ],
)
def test_the_verdict_says_how_large_the_gap_is_and_what_it_means(
    training: Scores, test: Scores, gap: str, conclusion: str
) -> None:
    words = model_card.overfitting_summary(training, test, 10_000)
    for part in (gap, conclusion, f"{training.accuracy:.2%}", f"{test.cross_entropy:.4f}"):
        assert part in words


def test_a_gap_that_a_small_test_set_explains_is_not_called_overfitting() -> None:
    scores = Scores(0.99, 0.03), Scores(0.98, 0.05)
    assert "overfits" in model_card.overfitting_summary(*scores, 10_000)
    assert "No sign" in model_card.overfitting_summary(*scores, 200)


def test_the_card_states_what_the_manifest_states(trained: Trained) -> None:
    manifest = json.loads((trained.models / "1" / "manifest.json").read_text())
    card = (trained.models / "1" / "report" / "card.md").read_text()
    stated = [
        "784-200-100-60-30-10, 185300 parameters, relu",
        "recipe `smoke`, seed 0",
        "55000 images trained it, 5000 chose temperature and threshold, and 10000",
        f"| right | {manifest['metrics']['test_accuracy']:.2%} |",
        f"| calibration error | {manifest['metrics']['test_ece']:.3%} |",
        f"On the validation part {manifest['metrics']['validation_accuracy']:.2%} are right",
        f"temperature {manifest['temperature']:.4f}",
        f"{manifest['thresholds']['confidence']:.4f} are called uncertain",
        *(file["sha256"] for file in manifest["dataset"]["files"]),
    ]
    for part in stated:
        assert part in card
    for table in json.loads((trained.run / "assessment.json").read_text()).values():
        for row in table:
            assert f"| {' | '.join(row)} |" in card


def test_the_page_opens_from_disk_with_every_picture(trained: Trained) -> None:
    directory = trained.models / "1" / "report"
    page = (directory / "index.html").read_text()
    shown = re.findall(r'<img [^>]*src="([^"]+)"', page)
    assert sorted(shown) == sorted(model_card.PLOTS)
    assert all((directory / name).stat().st_size > 1000 for name in shown)
    assert re.findall(r"(?:href|src)=\"(?:https?:|//|/)", page) == []
    assert "<script" not in page
    assert page.count("<table>") == 4
    assert page.startswith("<!doctype html>")
