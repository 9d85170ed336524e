"""The directory of a run, `runs/<time>-<recipe>/`, written during training.

recipe.toml   the resolved recipe: `--recipe THIS_FILE` trains it again
seconds       training time so far, over all resumed stretches
*.npz         the state of each teacher and of the network, for `--resume`
history.csv   one row per evaluation
events...     the same scalars for TensorBoard
run.json      the result: written last, so a run without it is unfinished
"""

import csv
import io
import json
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import tensorflow as tf

from training.atomic_write import atomic_write
from training.errors import TrainingError
from training.read_file import MAX_JSON_BYTES, read_json, read_regular_file
from training.recipe import Recipe
from training.types import EvaluationRow, Scores

MAX_SCORE = 3.5e38  # float32; a run that diverges has infinity or NaN
SPLITS = ("training", "validation", "test")
COLUMNS = ("iteration", *(f"{split}_{score}" for split in SPLITS for score in Scores._fields))


class RunError(TrainingError):
    """A directory is not that of a run, is not that of a finished run, or cannot be written."""


@dataclass(frozen=True)
class Run:
    """A finished run, read from its directory."""

    path: Path
    rows: tuple[EvaluationRow, ...]
    summary: dict[str, Any]

    @property
    def name(self) -> str:
        """The name of the directory."""
        return self.path.resolve().name


@contextmanager
def writing(run: Path, advice: str = "free space, then --resume {run} continues it") -> Iterator[None]:
    """Raise RunError if a file in the directory of a run cannot be written, for example because the disk is full."""
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        reason = error.strerror or error if isinstance(error, OSError) else error.message
        sentence = f"the run {run} cannot be written: {' '.join(str(reason).split())}"
        raise RunError(f"{sentence}; {advice.format(run=run)}") from error


class RunLogger:
    """Writes the directory of a run, row by row. A context manager that closes the files on exit.

    All methods raise RunError if a file cannot be written.
    """

    def __init__(self, path: Path, rows: Sequence[EvaluationRow]) -> None:
        """Write into the existing directory `path`; `rows` are the rows of the history so far."""
        self.path, self.rows = path, list(rows)
        history = io.StringIO(newline="")
        csv.writer(history).writerows([COLUMNS, *map(_cells, rows)])
        with writing(path):
            atomic_write(path / "history.csv", history.getvalue())
            self._events = tf.summary.create_file_writer(str(path))
        self._previous_seconds, self._started_at = _seconds(path) if rows else 0.0, time.monotonic()

    @property
    def seconds(self) -> float:
        """Training time in seconds, without the time lost between a checkpoint and a crash."""
        return round(self._previous_seconds + time.monotonic() - self._started_at, 1)

    @classmethod
    def create(cls, runs: Path, recipe: Recipe) -> Self:
        """Create a directory in `runs` and write the recipe to it."""
        with writing(runs, "use another --runs directory"):
            path = _create_directory(runs, f"{time.strftime('%Y%m%d-%H%M%S')}-{recipe.name}")
        with writing(path, "free space, or use another --runs directory"):
            atomic_write(path / "recipe.toml", recipe.as_toml())
        return cls(path, [])

    @classmethod
    def resume(cls, path: Path, iteration: int) -> Self:
        """Open the directory of a run to continue after `iteration`; later rows are dropped.

        Raises:
            RunError: its history cannot be read.
        """
        try:
            rows = [row for row in _rows(path) if row.iteration <= iteration]
        except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
            raise RunError(f"{path} cannot be resumed ({error})") from None
        return cls(path, rows)

    def log(self, row: EvaluationRow) -> None:
        """Append a row to history.csv and to TensorBoard's events."""
        self.rows.append(row)
        with writing(self.path):
            with (self.path / "history.csv").open("a", newline="") as history:
                csv.writer(history).writerow(_cells(row))
            atomic_write(self.path / "seconds", f"{self.seconds}\n")
            with self._events.as_default(step=row.iteration):
                for split in SPLITS:
                    for score, value in getattr(row, split)._asdict().items():
                        tf.summary.scalar(f"{score}/{split}", value)
                self._events.flush()  # a full disk is an error here, and only logged in TensorFlow's own thread

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with writing(self.path):
            self._events.close()

    def finish(self, summary: dict[str, Any]) -> None:
        """Write run.json, which marks the run as finished."""
        with writing(self.path):
            atomic_write(self.path / "run.json", json.dumps(summary, indent=2) + "\n")


def read(path: Path) -> Run:
    """Read a finished run.

    Raises:
        RunError: the directory has no run.json or no history, or they cannot be read.
    """
    try:
        summary = _checked_summary(read_json(path / "run.json"))
        rows = tuple(_rows(path))
    except (OSError, ValueError, KeyError, TypeError, OverflowError, csv.Error) as error:
        raise RunError(f"{path} is not the directory of a finished run ({error})") from None
    return Run(path, rows, summary)


def _checked_summary(summary: Any) -> dict[str, Any]:
    """The content of a run.json, with its metrics as floats; raises ValueError, KeyError or TypeError for any other."""
    recipe, metrics = summary["recipe"], summary["metrics"]
    if not (isinstance(recipe, dict) and isinstance(metrics, dict)):
        raise TypeError("recipe and metrics have to be objects")
    recipe["name"], metrics["test_accuracy"]
    if wrong := [name for name, value in metrics.items() if not isinstance(value, int | float)]:
        raise TypeError(f"the metric {wrong[0][:40]} is no number")
    seconds = float(summary["seconds"])
    return {**summary, "metrics": {name: float(value) for name, value in metrics.items()}, "seconds": seconds}


def _rows(path: Path) -> list[EvaluationRow]:
    history = read_regular_file(path / "history.csv", MAX_JSON_BYTES).decode()
    return [_parse_row(line) for line in csv.DictReader(io.StringIO(history, newline=""))]


def _seconds(path: Path) -> float:
    try:
        seconds = float(read_regular_file(path / "seconds", 1000))
    except (OSError, ValueError):
        return 0.0
    return seconds if math.isfinite(seconds) and seconds >= 0 else 0.0


def _create_directory(runs: Path, name: str) -> Path:
    for number in range(1, 1000):
        path = runs / (name if number == 1 else f"{name}-{number}")
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        return path
    raise RunError(f"{runs} has 999 runs named {name}; use another --runs directory")


def _cells(row: EvaluationRow) -> Sequence[float]:
    return [row.iteration, *row.training, *row.validation, *row.test]


def _parse_row(line: dict[str, str]) -> EvaluationRow:
    iteration = int(line["iteration"])
    if not 0 < iteration < 2**31:
        raise ValueError(f"history.csv has the iteration {iteration}")

    def scores(split: str) -> Scores:
        values = Scores(*(float(line[f"{split}_{score}"]) for score in Scores._fields))
        if any(math.isfinite(value) and not 0 <= value <= MAX_SCORE for value in values):
            raise ValueError(f"history.csv has a score out of range at iteration {iteration}")
        return values

    return EvaluationRow(iteration, scores("training"), scores("validation"), scores("test"))
