"""The commands' output: tables, several seeds, comparison, evaluation, the directory of a run."""

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.bad_versions import published_version
from tests.training.conftest import FAST, TrainedRun
from training import commands
from training.cli import main
from training.evaluation.model_card import PLOTS
from training.fit.run_log import RunLogger
from training.publish import registry
from training.recipe import Recipe
from training.types import EvaluationRow, Scores

Capture = pytest.CaptureFixture[str]

TEXT_FILES = {"card.md", "index.html", "assessment.json", "history.csv", "recipe.toml"}


def lines(capsys: Capture) -> list[list[str]]:
    """The words of each line on standard output; standard error has none."""
    captured = capsys.readouterr()
    assert captured.err == ""
    return [line.split() for line in captured.out.splitlines()]


@pytest.fixture
def models(trained: TrainedRun, tmp_path: Path) -> Path:
    """Versions 1, 2 and 3; version 2 states other metrics, version 3 has no manifest."""
    directory = tmp_path / "models"
    shutil.copytree(trained.models, directory)
    shutil.copytree(directory / "1", directory / "2")
    manifest = json.loads((directory / "2" / "manifest.json").read_text())
    manifest["metrics"] |= {"test_accuracy": 0.5, "test_cross_entropy": 1.25}
    (directory / "2" / "manifest.json").write_text(json.dumps(manifest))
    shutil.copytree(directory / "1", directory / "3", ignore=shutil.ignore_patterns("manifest.json"))
    return directory


def test_list_and_retire_show_the_serving_version(models: Path, trained: TrainedRun, capsys: Capture) -> None:
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
def test_list_tolerates_a_foreign_manifest(manifest: str, models: Path, capsys: Capture) -> None:
    (models / "3" / "manifest.json").write_text(manifest)
    assert main(["--models", str(models), "list"]) == 0
    assert [line[0] for line in lines(capsys)] == ["version", "1", "2", "3"]


def test_evaluate_prints_measured_metrics_beside_those_of_the_manifest(
    models: Path, trained: TrainedRun, small_data: Path, capsys: Capture
) -> None:
    metrics = json.loads((trained.models / "1" / "manifest.json").read_text())["metrics"]
    names = ("test_accuracy", "test_cross_entropy", "test_ece")
    for number, stated in (
        ("1", {name: f"{metrics[name]:.6f}" for name in names}),
        ("2", {"test_accuracy": "0.500000", "test_cross_entropy": "1.250000"}),
        ("3", {"test_accuracy": "?", "test_cross_entropy": "?", "test_ece": "?"}),
    ):
        options = ["--baseline", "none", "--skip-checksums", "--data", str(small_data)]
        assert main(["--models", str(models), "evaluate", number, *options]) == 0
        header, *table = itertools.takewhile(bool, lines(capsys))
        assert header == ["metric", "measured", "manifest"]
        measured = {name: value for name, value, _ in table}
        assert {name: measured[name] for name in names} == {name: f"{metrics[name]:.6f}" for name in names}
        assert {name: value for name, _, value in table if name in stated} == stated


def test_evaluate_works_without_a_tflite_model(models: Path, small_data: Path, capsys: Capture) -> None:
    (models / "1" / "model.tflite").unlink()
    options = ["--baseline", "none", "--skip-checksums", "--data", str(small_data)]
    assert main(["--models", str(models), "evaluate", "1", *options]) == 0
    assert "test_accuracy" in capsys.readouterr().out


def test_evaluate_reports_a_missing_saved_model_in_one_line(models: Path, small_data: Path, capsys: Capture) -> None:
    (models / "1" / "saved_model.pb").unlink()
    options = ["--baseline", "none", "--skip-checksums", "--data", str(small_data)]
    assert main(["--models", str(models), "evaluate", "1", *options]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_published_version_is_listed_and_evaluated(small_data: Path, tmp_path: Path, capsys: Capture) -> None:
    published = published_version()
    number, manifest = published.name, json.loads((published / "manifest.json").read_text())
    shutil.copytree(published, tmp_path / "models" / number)
    models = ["--models", str(tmp_path / "models")]
    assert main([*models, "list"]) == 0
    accuracy = f"{manifest['metrics']['test_accuracy']:.4f}"
    assert lines(capsys)[1] == [number, accuracy, "best", manifest["created_at"], "serving"]
    assert main([*models, "evaluate", number, "--baseline", "none", "--skip-checksums", "--data", str(small_data)]) == 0
    table = {row[0]: row[-1] for row in itertools.takewhile(bool, lines(capsys))}
    assert table["test_coverage"] == f"{manifest['metrics']['test_coverage']:.6f}"
    assert "?" not in table.values()


def test_old_metric_names_of_a_manifest_are_mapped(models: Path, small_data: Path, capsys: Capture) -> None:
    version = models / "1"
    manifest = json.loads((version / "manifest.json").read_text())
    old = {"test_coverage": "test_certain", "test_selective_accuracy": "test_accuracy_certain"}
    manifest["metrics"] = {old.get(name, name): value for name, value in manifest["metrics"].items()}
    (version / "manifest.json").unlink()
    registry.write_manifest(version, 1, manifest)
    assert (
        main(
            [
                "--models",
                str(models),
                "evaluate",
                "1",
                "--baseline",
                "none",
                "--skip-checksums",
                "--data",
                str(small_data),
            ]
        )
        == 0
    )
    table = {row[0]: row[-1] for row in itertools.takewhile(bool, lines(capsys))}
    for name, old_name in old.items():
        assert table[name] == f"{manifest['metrics'][old_name]:.6f}"


def test_several_seeds_are_summarised_and_the_best_on_validation_is_published(
    small_data: Path, tmp_path: Path, capsys: Capture
) -> None:
    directories = ["--models", str(tmp_path / "models"), "--runs", str(tmp_path / "runs"), "--data", str(small_data)]
    assert main(["train", *FAST, "--seeds", "3..4", *directories]) == 0
    printed = capsys.readouterr().out.splitlines()
    runs = [json.loads((path / "run.json").read_text()) for path in sorted((tmp_path / "runs").iterdir())]
    assert [run["recipe"]["seed"] for run in runs] == [3, 4]
    (start,) = (index for index, line in enumerate(printed) if line.startswith("seed "))
    header, *rows = (line.split() for line in printed[start : start + 5])
    assert [row[0] for row in rows] == ["3", "4", "mean", "spread"]
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


def finished_run(runs: Path, override: str, accuracy: float) -> Path:
    """A finished run of three rows."""
    recipe = Recipe.load("smoke", [override])
    with RunLogger.create(runs, recipe) as logger:
        for step in (100, 200, 300):
            scores = Scores(accuracy, 1 - accuracy)
            logger.log(EvaluationRow(step, scores, scores, scores))
        logger.finish({"recipe": recipe.as_dict(), "seconds": 1.5, "metrics": {"test_accuracy": accuracy}})
    return logger.path


def test_compare_prints_differing_keys_and_plots_the_curves(tmp_path: Path, capsys: Capture) -> None:
    runs = [
        finished_run(tmp_path / "runs", layers, accuracy)
        for layers, accuracy in (("layers=30", 0.91), ("layers=", 0.87))
    ]
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


def test_compare_prints_a_question_mark_for_a_metric_that_a_run_lacks(tmp_path: Path, capsys: Capture) -> None:
    runs = [finished_run(tmp_path / "runs", f"seed={seed}", 0.9) for seed in (1, 2)]
    summary = json.loads((runs[0] / "run.json").read_text())
    summary["metrics"]["test_certain"] = 0.98
    (runs[0] / "run.json").write_text(json.dumps(summary))
    assert main(["compare", *map(str, runs), "--out", str(tmp_path / "compare.png")]) == 0
    assert ["test_certain", "0.9800", "?"] in lines(capsys)


def test_compare_rejects_an_unknown_file_format_in_one_line(tmp_path: Path, capsys: Capture) -> None:
    run = finished_run(tmp_path / "runs", "seed=1", 0.9)
    assert main(["compare", str(run), "--out", str(tmp_path / "compare.xyz")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "xyz" in line


def test_compare_rejects_a_foreign_run_json_in_one_line(tmp_path: Path, capsys: Capture) -> None:
    run = finished_run(tmp_path / "runs", "seed=1", 0.9)
    (run / "run.json").write_text("{}")
    assert main(["compare", str(run), "--out", str(tmp_path / "compare.png")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(run) in line


def test_columns_are_aligned() -> None:
    assert commands.format_table([["a", "b", "c"], ["long", "", "d"]]) == ["a     b  c", "long     d"]


def test_train_prints_the_history_and_the_published_version(trained: TrainedRun) -> None:
    title, explanation, header, first, last, overfitting, published = trained.output.splitlines()
    assert title == f"smoke, seed 0: 23860 parameters; run in {trained.run}"
    assert "on the 1000 test images" in explanation
    assert header.split() == ["iteration", "accuracy", "cross-entropy", "training", "validation"]
    manifest = json.loads((trained.models / "1" / "manifest.json").read_text())
    assert [line.split()[0] for line in (first, last)] == ["25", "50"]
    assert float(last.split()[1]) == pytest.approx(manifest["metrics"]["test_accuracy"], abs=5e-5)
    assert 100 < float(last.split()[2]) < 1500
    assert overfitting == json.loads((trained.run / "run.json").read_text())["overfitting"]
    assert published.startswith(f"published {trained.models / '1'}: test accuracy ")


def test_the_run_directory_has_history_events_summary_plots_and_report(trained: TrainedRun) -> None:
    recipe = Recipe.load(str(trained.run / "recipe.toml"))
    assert (recipe.iterations, recipe.evaluate_every, recipe.layers) == (50, 25, (30,))
    assert len((trained.run / "history.csv").read_text().splitlines()) == 3
    (events,) = trained.run.glob("events.out.tfevents.*")
    assert events.stat().st_size > 200
    summary = json.loads((trained.run / "run.json").read_text())
    manifest = json.loads((trained.models / "1" / "manifest.json").read_text())
    assert summary["metrics"] == manifest["metrics"]
    assert summary["recipe"] == manifest["recipe"]
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
            assert 100 < image.height < 50_000
            shades = np.asarray(image.convert("L"))
            assert shades.max() - shades.min() > 200
    report = trained.models / "1" / "report"
    for path in report.iterdir():
        assert path.read_bytes() == (trained.run / path.name).read_bytes()
    assert {path.name for path in report.iterdir()} == {*PLOTS, *TEXT_FILES}
