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
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import tensorflow as tf

from training.atomic_write import atomic_write
from training.errors import TrainingError
from training.recipe import Recipe
from training.types import EvaluationRow, Scores

SPLITS = ("training", "validation", "test")
COLUMNS = ("iteration", *(f"{split}_{score}" for split in SPLITS for score in Scores._fields))


class RunError(TrainingError):
    """A directory is not that of a run, or not that of a finished run."""


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


class RunLogger:
    """Writes the directory of a run, row by row. A context manager that closes the files on exit."""

    def __init__(self, path: Path, rows: Sequence[EvaluationRow]) -> None:
        """Write into the existing directory `path`; `rows` are the rows of the history so far."""
        self.path, self.rows = path, list(rows)
        history = io.StringIO(newline="")
        csv.writer(history).writerows([COLUMNS, *map(_cells, rows)])
        atomic_write(path / "history.csv", history.getvalue())
        self._history = (path / "history.csv").open("a", newline="", buffering=1)
        self._writer = csv.writer(self._history)
        self._events = tf.summary.create_file_writer(str(path))
        self._previous_seconds, self._started_at = _seconds(path) if rows else 0.0, time.monotonic()

    @property
    def seconds(self) -> float:
        """Training time in seconds, without the time lost between a checkpoint and a crash."""
        return round(self._previous_seconds + time.monotonic() - self._started_at, 1)

    @classmethod
    def create(cls, runs: Path, recipe: Recipe) -> Self:
        """Create a directory in `runs` and write the recipe to it."""
        path = _create_directory(runs, f"{time.strftime('%Y%m%d-%H%M%S')}-{recipe.name}")
        (path / "recipe.toml").write_text(recipe.as_toml())
        return cls(path, [])

    @classmethod
    def resume(cls, path: Path, iteration: int) -> Self:
        """Open the directory of a run to continue after `iteration`; later rows are dropped.

        Raises:
            RunError: its history cannot be read.
        """
        try:
            return cls(path, [row for row in _rows(path) if row.iteration <= iteration])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path} cannot be resumed ({error})") from None

    def log(self, row: EvaluationRow) -> None:
        """Append a row to history.csv and to TensorBoard's events."""
        self.rows.append(row)
        self._writer.writerow(_cells(row))
        atomic_write(self.path / "seconds", f"{self.seconds}\n")
        with self._events.as_default(step=row.iteration):
            for split in SPLITS:
                for score, value in getattr(row, split)._asdict().items():
                    tf.summary.scalar(f"{score}/{split}", value)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._events.close()
        self._history.close()

    def finish(self, summary: dict[str, Any]) -> None:
        """Write run.json, which marks the run as finished."""
        atomic_write(self.path / "run.json", json.dumps(summary, indent=2) + "\n")


def read(path: Path) -> Run:
    """Read a finished run.

    Raises:
        RunError: the directory has no run.json or no history, or they cannot be read.
    """
    try:
        summary = json.loads((path / "run.json").read_text())
        summary["recipe"]["name"], summary["metrics"]["test_accuracy"], summary["seconds"]
        rows = tuple(_rows(path))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} is not the directory of a finished run ({error})") from None
    return Run(path, rows, summary)


def _rows(path: Path) -> list[EvaluationRow]:
    with (path / "history.csv").open(newline="") as file:
        return [_parse_row(line) for line in csv.DictReader(file)]


def _seconds(path: Path) -> float:
    try:
        return float((path / "seconds").read_text())
    except (OSError, ValueError):
        return 0.0


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
    def scores(split: str) -> Scores:
        return Scores(*(float(line[f"{split}_{score}"]) for score in Scores._fields))

    return EvaluationRow(int(line["iteration"]), scores("training"), scores("validation"), scores("test"))
