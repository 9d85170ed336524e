"""The model card and the overfitting summary."""

import json
import re

import pytest

from tests.training.conftest import TrainedRun
from training.evaluation import model_card
from training.types import Scores


@pytest.mark.parametrize(
    ("training", "test", "gap", "conclusion"),
    [
        (Scores(0.935, 0.2), Scores(0.933, 0.22), "0.20 points", "No sign of overfitting"),
        (Scores(0.92, 0.2), Scores(0.93, 0.22), "-1.00 points", "No sign of overfitting"),
        (Scores(1.0, 0.001), Scores(0.97, 0.15), "3.00 points", "The model overfits: "),
        (Scores(0.99, 0.03), Scores(0.98, 0.05), "1.00 points", "The model overfits slightly"),
    ],
)
def test_overfitting_summary_states_the_gap_and_a_conclusion(
    training: Scores, test: Scores, gap: str, conclusion: str
) -> None:
    summary = model_card.overfitting_summary(training, test, 10_000)
    for part in (gap, conclusion, f"{training.accuracy:.2%}", f"{test.cross_entropy:.4f}"):
        assert part in summary


def test_a_gap_within_two_standard_errors_is_no_overfitting() -> None:
    scores = Scores(0.99, 0.03), Scores(0.98, 0.05)
    assert "overfits" in model_card.overfitting_summary(*scores, 10_000)
    assert "No sign" in model_card.overfitting_summary(*scores, 200)


def test_the_card_agrees_with_the_manifest(trained: TrainedRun) -> None:
    manifest = json.loads((trained.models / "1" / "manifest.json").read_text())
    card = (trained.models / "1" / "report" / "card.md").read_text()
    expected = [
        "784-30-10, 23860 parameters, relu",
        "recipe `smoke`, seed 0",
        "2000 training images, 5000 validation images",
        f"| accuracy | {manifest['metrics']['test_accuracy']:.2%} |",
        f"| calibration error | {manifest['metrics']['test_ece']:.3%} |",
        f"| coverage | {manifest['metrics']['test_coverage']:.2%} |",
        f"| selective accuracy | {manifest['metrics']['test_selective_accuracy']:.2%} |",
        f"Validation accuracy {manifest['metrics']['validation_accuracy']:.2%}, cross-entropy",
        f"temperature {manifest['temperature']:.4f}",
        f"below {manifest['thresholds']['confidence']:.4f} are uncertain",
        *(file["sha256"] for file in manifest["dataset"]["files"]),
    ]
    for part in expected:
        assert part in card
    for table in json.loads((trained.run / "assessment.json").read_text()).values():
        for row in table:
            assert f"| {' | '.join(row)} |" in card


@pytest.mark.parametrize(
    ("share", "sentence"), [(0.0, ""), (0.12, "12% of the training images are digits that a program draws")]
)
def test_the_card_states_whose_handwriting_the_network_has_learnt(share: float, sentence: str) -> None:
    hands = model_card._hands({"drawn_share": share})
    assert "American" in hands
    assert sentence in hands
    assert ("program" in hands) == bool(share)


def test_the_html_page_shows_every_plot_and_loads_nothing_else(trained: TrainedRun) -> None:
    directory = trained.models / "1" / "report"
    page = (directory / "index.html").read_text()
    shown = re.findall(r'<img [^>]*src="([^"]+)"', page)
    assert sorted(shown) == sorted(model_card.PLOTS)
    assert all((directory / name).stat().st_size > 1000 for name in shown)
    assert re.findall(r"(?:href|src)=\"(?:https?:|//|/)", page) == []
    assert "<script" not in page
    assert page.count("<table>") == 4
    assert page.startswith("<!doctype html>")
