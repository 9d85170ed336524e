import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.training.conftest import DATA, SMALL, Trained
from training import commands
from training.cli import main
from training.data.mnist import Dataset
from training.evaluation.model_card import PLOTS
from training.fit.loop import EvaluationRow, Scores
from training.fit.run_log import RunLogger
from training.recipe import Recipe

Capture = pytest.CaptureFixture[str]

WORDS = {"card.md", "index.html", "assessment.json", "history.csv", "recipe.toml"}


def lines(capsys: Capture) -> list[list[str]]:
    """The words of each line on standard output; standard error has none."""
    captured = capsys.readouterr()
    assert captured.err == ""
    return [line.split() for line in captured.out.splitlines()]


@pytest.fixture
def models(trained: Trained, tmp_path: Path) -> Path:
    """Versions 1, 2 and 3, the last one from elsewhere and without a manifest."""
    directory = tmp_path / "models"
    shutil.copytree(trained.models, directory)
    shutil.copytree(directory / "1", directory / "2")
    manifest = json.loads((directory / "2" / "manifest.json").read_text())
    manifest["metrics"] |= {"test_accuracy": 0.5, "test_cross_entropy": 1.25}
    (directory / "2" / "manifest.json").write_text(json.dumps(manifest))
    shutil.copytree(directory / "1", directory / "3", ignore=shutil.ignore_patterns("manifest.json"))
    return directory


def test_list_and_retire_show_what_is_served(models: Path, trained: Trained, capsys: Capture) -> None:
    manifest = json.loads((trained.models / "1" / "manifest.json").read_text())
    accuracy, created = f"{manifest['metrics']['test_accuracy']:.4f}", manifest["created_at"]
    assert main(["--models", str(models), "retire", "3"]) == 0
    assert lines(capsys) == [f"retired to {models / '.retired-3'}; serving now: 2".split()]
    assert main(["--models", str(models), "list"]) == 0
    assert lines(capsys) == [
        ["version", "accuracy", "recipe", "created", "state"],
        ["1", accuracy, "smoke", created],
        ["2", "0.5000", "smoke", created, "serving"],
        ["3", "?", "?", "?", "retired"],
    ]
    for number in ("2", "1"):
        assert main(["--models", str(models), "retire", number]) == 0
    assert lines(capsys)[-1][-1] == "none"
    assert main(["--models", str(models / "missing"), "list"]) == 0
    assert lines(capsys) == [["version", "accuracy", "recipe", "created", "state"]]


@pytest.mark.parametrize("manifest", ['{"recipe": "mine"}', '{"created_at": 1767225600}', '{"metrics": null}'])
def test_list_shows_a_version_whose_manifest_is_from_elsewhere(manifest: str, models: Path, capsys: Capture) -> None:
    (models / "3" / "manifest.json").write_text(manifest)
    assert main(["--models", str(models), "list"]) == 0
    assert [line[0] for line in lines(capsys)] == ["version", "1", "2", "3"]


@pytest.mark.usefixtures("mnist")
def test_evaluate_measures_the_files_and_shows_the_manifest_beside(
    models: Path, trained: Trained, capsys: Capture
) -> None:
    metrics = json.loads((trained.models / "1" / "manifest.json").read_text())["metrics"]
    names = ("test_accuracy", "test_cross_entropy", "test_ece")
    for number, stated in (
        ("1", {name: f"{metrics[name]:.6f}" for name in names}),
        ("2", {"test_accuracy": "0.500000", "test_cross_entropy": "1.250000"}),
        ("3", {"test_accuracy": "?", "test_cross_entropy": "?", "test_ece": "?"}),
    ):
        words = ["--models", str(models), "evaluate", number, "--baseline", "none", "--data", str(DATA)]
        assert main(words) == 0
        header, *table = itertools.takewhile(bool, lines(capsys))
        assert header == ["figure", "measured", "manifest"]
        measured = {name: value for name, value, _ in table}
        assert {name: measured[name] for name in names} == {name: f"{metrics[name]:.6f}" for name in names}
        assert {name: value for name, _, value in table if name in stated} == stated


@pytest.mark.usefixtures("mnist")
@pytest.mark.parametrize("lost", ["model.tflite", "saved_model.pb"])
def test_evaluate_of_a_version_that_is_not_whole_is_no_traceback(lost: str, models: Path, capsys: Capture) -> None:
    (models / "1" / lost).unlink()
    code = main(["--models", str(models), "evaluate", "1", "--baseline", "none", "--data", str(DATA)])
    captured = capsys.readouterr()
    if lost == "model.tflite" and code == 0:
        assert "test_accuracy" in captured.out
    else:
        assert code == 2
        assert len(captured.err.splitlines()) == 1


@pytest.mark.usefixtures("mnist")
def test_several_seeds_are_summed_up_and_the_best_on_validation_is_published(tmp_path: Path, capsys: Capture) -> None:
    words = ["train", *SMALL, "--seeds", "3..5", "--models", str(tmp_path / "models"), "--runs", str(tmp_path / "runs")]
    assert main([*words, "--data", str(DATA)]) == 0
    printed = capsys.readouterr().out.splitlines()
    runs = [json.loads((path / "run.json").read_text()) for path in sorted((tmp_path / "runs").iterdir())]
    assert [run["recipe"]["seed"] for run in runs] == [3, 4, 5]
    (at,) = (place for place, line in enumerate(printed) if line.startswith("seed "))
    header, *rows = (line.split() for line in printed[at : at + 6])
    assert [row[0] for row in rows] == ["3", "4", "5", "mean", "spread"]
    titles = [*commands.SUMMARY.values()]
    assert header == ["seed", *titles, "minutes"]
    for column, name in enumerate(commands.SUMMARY, start=1):
        values = np.array([run["metrics"][name] for run in runs])
        scale, digits = (1, 5) if name == "test_cross_entropy" else (100, 2)
        expected = scale * np.array([*values, values.mean(), values.std(ddof=1)])
        shown = [float(row[column].rstrip("%")) for row in rows]
        assert shown == pytest.approx(expected, abs=0.51 * 10**-digits), name
    best = max(runs, key=lambda run: run["metrics"]["validation_accuracy"])
    (version,) = (tmp_path / "models").glob("[0-9]*")
    manifest = json.loads((version / "manifest.json").read_text())
    assert manifest["seed"] == best["recipe"]["seed"]
    assert manifest["metrics"] == best["metrics"]
    assert printed[-1].startswith(f"published {version}: ")


def record(runs: Path, word: str, accuracy: float) -> Path:
    """A finished run of three rows."""
    recipe = Recipe.load("smoke", [word])
    with RunLogger.create(runs, recipe) as recorder:
        for step in (100, 200, 300):
            scores = Scores(accuracy, 1 - accuracy)
            recorder.log(EvaluationRow(step, scores, scores, scores))
        recorder.finish({"recipe": recipe.as_dict(), "seconds": 1.5, "metrics": {"test_accuracy": accuracy}})
    return recorder.path


def test_compare_shows_runs_side_by_side_where_they_differ(tmp_path: Path, capsys: Capture) -> None:
    runs = [record(tmp_path / "runs", word, accuracy) for word, accuracy in (("layers=30", 0.91), ("layers=", 0.87))]
    picture = tmp_path / "new" / "compare.png"
    assert main(["compare", *map(str, runs), "--out", str(picture)]) == 0
    assert lines(capsys) == [
        [run.name for run in runs],
        ["layers", "[30]", "[]"],
        ["test_accuracy", "0.9100", "0.8700"],
        ["seconds", "1.5", "1.5"],
        ["curves:", str(picture)],
    ]
    with Image.open(picture) as image:
        assert image.format == "PNG"
        assert image.width > 1000


def test_compare_refuses_a_picture_of_no_known_format_in_one_line(tmp_path: Path, capsys: Capture) -> None:
    run = record(tmp_path / "runs", "seed=1", 0.9)
    assert main(["compare", str(run), "--out", str(tmp_path / "compare.xyz")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "xyz" in line


def test_compare_of_a_run_whose_summary_is_not_ours_is_one_line(tmp_path: Path, capsys: Capture) -> None:
    run = record(tmp_path / "runs", "seed=1", 0.9)
    (run / "run.json").write_text("{}")
    assert main(["compare", str(run), "--out", str(tmp_path / "compare.png")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(run) in line


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert commands.format_table([["a", "b", "c"], ["long", "", "d"]]) == ["a     b  c", "long     d"]


def test_train_prints_the_table_and_says_what_it_published(trained: Trained, mnist: Dataset) -> None:
    title, explained, header, first, last, words, published = trained.output.splitlines()
    assert title == f"quick, seed 0: 185300 parameters; run in {trained.run}"
    assert str(len(mnist.test)) in explained
    assert header.split() == ["iteration", "accuracy", "cross-entropy", "training", "validation"]
    manifest = json.loads((trained.models / "1" / "manifest.json").read_text())
    assert [line.split()[0] for line in (first, last)] == ["25", "50"]
    assert float(last.split()[1]) == pytest.approx(manifest["metrics"]["test_accuracy"], abs=5e-5)
    assert 1000 < float(last.split()[2]) < 15_000
    assert words == json.loads((trained.run / "run.json").read_text())["words"]
    assert published.startswith(f"published {trained.models / '1'}: test accuracy ")


def test_the_run_directory_has_all_that_a_person_would_want(trained: Trained, mnist: Dataset) -> None:
    recipe = Recipe.load(str(trained.run / "recipe.toml"))
    assert (recipe.iterations, recipe.evaluate_every, recipe.layers) == (50, 25, (200, 100, 60, 30))
    assert len((trained.run / "history.csv").read_text().splitlines()) == 3
    (events,) = trained.run.glob("events.out.tfevents.*")
    assert events.stat().st_size > 200
    summary = json.loads((trained.run / "run.json").read_text())
    manifest = json.loads((trained.models / "1" / "manifest.json").read_text())
    assert summary["metrics"] == manifest["metrics"]
    assert summary["recipe"] == manifest["recipe"]
    assert len(mnist.test) == 10_000
    for name, width in (
        ("accuracy", 1000),
        ("cross_entropy", 500),
        ("confusion", 500),
        ("samples", 500),
        ("weights", 500),
        ("mistakes", 500),
        ("reliability", 500),
    ):
        with Image.open(trained.run / f"{name}.png") as image:
            image.load()
            assert image.format == "PNG"
            assert width < image.width < 3000
            assert 300 < image.height < 50_000
            shades = np.asarray(image.convert("L"))
            assert shades.max() - shades.min() > 200
    report = trained.models / "1" / "report"
    for path in report.iterdir():
        assert path.read_bytes() == (trained.run / path.name).read_bytes()
    assert {path.name for path in report.iterdir()} == {*PLOTS, *WORDS}
