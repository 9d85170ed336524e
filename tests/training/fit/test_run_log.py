import csv
import time
from pathlib import Path

import pytest
import tensorflow as tf

from training.fit import run_log
from training.fit.loop import EvaluationRow, Scores
from training.fit.run_log import RunError, RunLogger
from training.recipe import Recipe

ROWS = [
    EvaluationRow(50, Scores(0.1, 2.302585092994046), Scores(0.25, 1.5), Scores(1 / 3, 1e-7)),
    EvaluationRow(100, Scores(0.9, 0.3), Scores(0.91, 0.31), Scores(0.92, 0.32)),
]
HEADER = ["iteration", "training_accuracy", "training_cross_entropy", "validation_accuracy"]
HEADER += ["validation_cross_entropy", "test_accuracy", "test_cross_entropy"]


SUMMARY = {"recipe": {"name": "smoke"}, "seconds": 1.5, "metrics": {"test_accuracy": 0.92}}


def record(runs: Path) -> Path:
    """The directory of a finished run."""
    with RunLogger.create(runs, Recipe.load("smoke")) as recorder:
        for row in ROWS:
            recorder.log(row)
        recorder.finish(SUMMARY)
    return recorder.path


def test_a_finished_run_reads_back_as_it_was(tmp_path: Path) -> None:
    path = record(tmp_path / "runs")
    run = run_log.read(path)
    assert run.rows == tuple(ROWS)
    assert run.summary == SUMMARY
    assert run.name == path.name
    assert run.name.endswith("-quick")


def test_the_history_is_on_disk_while_the_run_goes_on_but_the_run_is_not_finished(tmp_path: Path) -> None:
    with RunLogger.create(tmp_path, Recipe.load("smoke")) as recorder:
        for row in ROWS:
            recorder.log(row)
        with (recorder.path / "history.csv").open(newline="") as file:
            header, *lines = csv.reader(file)
    assert header == HEADER
    assert [[float(cell) for cell in line] for line in lines] == [
        [row.iteration, *row.training, *row.validation, *row.test] for row in ROWS
    ]
    with pytest.raises(RunError, match=r"quick is not the directory of a finished run .*run\.json"):
        run_log.read(recorder.path)


def test_tensorboard_finds_the_same_scalars(tmp_path: Path) -> None:
    (events,) = record(tmp_path).glob("events.out.tfevents.*")
    scalars = {
        (value.tag, event.step): float(tf.make_ndarray(value.tensor))
        for raw in tf.data.TFRecordDataset(str(events))
        for event in [tf.compat.v1.Event.FromString(raw.numpy())]
        for value in event.summary.value
    }
    assert scalars == {
        (f"{score}/{part}", row.iteration): pytest.approx(getattr(getattr(row, part), score), rel=1e-6)
        for row in ROWS
        for part in ("training", "validation", "test")
        for score in ("accuracy", "cross_entropy")
    }


def test_the_resolved_recipe_runs_again(tmp_path: Path) -> None:
    recipe = Recipe.load("smoke", ["layers=9", "seed=4"])
    with RunLogger.create(tmp_path, recipe) as recorder:
        assert Recipe.load(str(recorder.path / "recipe.toml")) == recipe


def test_a_run_reopened_has_the_rows_up_to_its_checkpoint_and_goes_on_from_there(tmp_path: Path) -> None:
    path = record(tmp_path)
    (path / "seconds").write_text("700.0\n")
    with RunLogger.resume(path, 50) as recorder:
        assert recorder.rows == ROWS[:1]
        assert 700 <= recorder.seconds < 760
        recorder.log(ROWS[1])
        recorder.finish(SUMMARY)
    assert run_log.read(path).rows == tuple(ROWS)
    assert float((path / "seconds").read_text()) >= 700
    (path / "history.csv").unlink()
    with pytest.raises(RunError, match=str(path)):
        RunLogger.resume(path, 50)


def test_runs_of_the_same_second_have_directories_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "strftime", lambda _: "20260101-000000")
    paths = [record(tmp_path) for _ in range(3)]
    names = ["20260101-000000-quick", "20260101-000000-quick-2", "20260101-000000-quick-3"]
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
def test_a_damaged_run_is_refused_with_its_name(file: str, content: str, tmp_path: Path) -> None:
    path = record(tmp_path)
    assert len(run_log.read(path).rows) == 2
    (path / file).write_text(content)
    with pytest.raises(RunError, match=str(path)):
        run_log.read(path)
