"""The directory of a run: history, TensorBoard events, recipe, summary, resumption."""

import csv
import time
from pathlib import Path

import pytest
import tensorflow as tf

from training.fit import run_log
from training.fit.run_log import RunError, RunLogger
from training.recipe import Recipe
from training.types import EvaluationRow, Scores

ROWS = [
    EvaluationRow(50, Scores(0.1, 2.302585092994046), Scores(0.25, 1.5), Scores(1 / 3, 1e-7)),
    EvaluationRow(100, Scores(0.9, 0.3), Scores(0.91, 0.31), Scores(0.92, 0.32)),
]
HEADER = ["iteration", "training_accuracy", "training_cross_entropy", "validation_accuracy"]
HEADER += ["validation_cross_entropy", "test_accuracy", "test_cross_entropy"]


SUMMARY = {"recipe": {"name": "smoke"}, "seconds": 1.5, "metrics": {"test_accuracy": 0.92}}


def finished_run(runs: Path) -> Path:
    """The directory of a finished run."""
    with RunLogger.create(runs, Recipe.load("smoke")) as logger:
        for row in ROWS:
            logger.log(row)
        logger.finish(SUMMARY)
    return logger.path


def test_reads_a_finished_run(tmp_path: Path) -> None:
    path = finished_run(tmp_path / "runs")
    run = run_log.read(path)
    assert run.rows == tuple(ROWS)
    assert run.summary == SUMMARY
    assert run.name == path.name
    assert run.name.endswith("-smoke")


def test_the_history_is_on_disk_during_the_run_but_the_run_is_unfinished(tmp_path: Path) -> None:
    with RunLogger.create(tmp_path, Recipe.load("smoke")) as logger:
        for row in ROWS:
            logger.log(row)
        with (logger.path / "history.csv").open(newline="") as file:
            header, *lines = csv.reader(file)
    assert header == HEADER
    assert [[float(cell) for cell in line] for line in lines] == [
        [row.iteration, *row.training, *row.validation, *row.test] for row in ROWS
    ]
    with pytest.raises(RunError, match=r"smoke is not the directory of a finished run .*run\.json"):
        run_log.read(logger.path)


def test_tensorboard_events_have_the_same_scalars(tmp_path: Path) -> None:
    (events,) = finished_run(tmp_path).glob("events.out.tfevents.*")
    scalars = {
        (value.tag, event.step): float(tf.make_ndarray(value.tensor))
        for raw in tf.data.TFRecordDataset(str(events))
        for event in [tf.compat.v1.Event.FromString(raw.numpy())]
        for value in event.summary.value
    }
    assert scalars == {
        (f"{score}/{split}", row.iteration): pytest.approx(getattr(getattr(row, split), score), rel=1e-6)
        for row in ROWS
        for split in ("training", "validation", "test")
        for score in ("accuracy", "cross_entropy")
    }


def test_the_resolved_recipe_can_be_loaded(tmp_path: Path) -> None:
    recipe = Recipe.load("smoke", ["layers=9", "seed=4"])
    with RunLogger.create(tmp_path, recipe) as logger:
        assert Recipe.load(str(logger.path / "recipe.toml")) == recipe


def test_resuming_drops_rows_after_the_checkpoint_and_adds_to_the_training_time(tmp_path: Path) -> None:
    path = finished_run(tmp_path)
    (path / "seconds").write_text("700.0\n")
    with RunLogger.resume(path, 50) as logger:
        assert logger.rows == ROWS[:1]
        assert 700 <= logger.seconds < 760
        logger.log(ROWS[1])
        logger.finish(SUMMARY)
    assert run_log.read(path).rows == tuple(ROWS)
    assert float((path / "seconds").read_text()) >= 700
    (path / "history.csv").unlink()
    with pytest.raises(RunError, match=str(path)):
        RunLogger.resume(path, 50)


def test_runs_started_in_the_same_second_have_different_directories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "strftime", lambda _: "20260101-000000")
    paths = [finished_run(tmp_path) for _ in range(3)]
    names = ["20260101-000000-smoke", "20260101-000000-smoke-2", "20260101-000000-smoke-3"]
    assert [path.name for path in paths] == names
    assert all(len(run_log.read(tmp_path / name).rows) == 2 for name in names)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("run.json", "{"),
        ("run.json", "{}"),
        ("history.csv", "iteration\n1\n"),
        ("history.csv", f"{','.join(HEADER)}\n1,x,1,1,1,1,1\n"),
    ],
)
def test_rejects_a_damaged_run_and_names_it(file: str, content: str, tmp_path: Path) -> None:
    path = finished_run(tmp_path)
    assert len(run_log.read(path).rows) == 2
    (path / file).write_text(content)
    with pytest.raises(RunError, match=str(path)):
        run_log.read(path)
