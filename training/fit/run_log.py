"""A run's directory: `runs/<time>-<recipe>/`, filled while the run goes on.

recipe.toml   the resolved recipe: `--recipe THIS_FILE` runs it again
seconds       how long it has taken so far, over all its stretches
*.npz         the state of each teacher and of the network, for `--resume`
history.csv   one line per evaluation
events...     the same for TensorBoard
run.json      how it ended: written last, so a run without it did not finish
"""

import csv
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import tensorflow as tf

from training.errors import TrainingError
from training.fit.loop import EvaluationRow, Scores
from training.recipe import Recipe

PARTS = ("training", "validation", "test")
COLUMNS = ("iteration", *(f"{part}_{score}" for part in PARTS for score in Scores._fields))


class RunError(TrainingError):
    """A directory is not that of a finished run."""


@dataclass(frozen=True)
class Run:
    """A finished run, as read back from its directory."""

    path: Path
    rows: tuple[EvaluationRow, ...]
    summary: dict[str, Any]

    @property
    def name(self) -> str:
        """The directory's name."""
        return self.path.resolve().name


class RunLogger:
    """Writes a run's directory, row by row. A context manager: the end closes its files, however it comes."""

    def __init__(self, path: Path, rows: Sequence[EvaluationRow]) -> None:
        """Write into `path`, which exists; `rows` are those that the history has already."""
        self.path, self.rows = path, list(rows)
        unfinished = path / "history.csv.part"
        with unfinished.open("w", newline="") as file:
            csv.writer(file).writerows([COLUMNS, *map(_cells, rows)])
        unfinished.replace(path / "history.csv")
        self._history = (path / "history.csv").open("a", newline="", buffering=1)
        self._table = csv.writer(self._history)
        self._events = tf.summary.create_file_writer(str(path))
        self._before, self._began = _seconds(path) if rows else 0.0, time.monotonic()

    @property
    def seconds(self) -> float:
        """How long the run has taken, without what was lost between a checkpoint and a crash."""
        return round(self._before + time.monotonic() - self._began, 1)

    @classmethod
    def create(cls, runs: Path, recipe: Recipe) -> Self:
        """A new directory in `runs`, with the recipe in it."""
        path = _fresh_directory(runs, f"{time.strftime('%Y%m%d-%H%M%S')}-{recipe.name}")
        (path / "recipe.toml").write_text(recipe.as_toml())
        return cls(path, [])

    @classmethod
    def resume(cls, path: Path, iteration: int) -> Self:
        """A run's directory, to go on from an iteration; later rows are dropped.

        Raises:
            RunError: its history cannot be read.
        """
        try:
            return cls(path, [row for row in _rows(path) if row.iteration <= iteration])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path} cannot be resumed ({error})") from None

    def log(self, row: EvaluationRow) -> None:
        """Append one row to the history and to TensorBoard's events."""
        self.rows.append(row)
        self._table.writerow(_cells(row))
        unfinished = self.path / "seconds.part"
        unfinished.write_text(f"{self.seconds}\n")
        unfinished.replace(self.path / "seconds")
        with self._events.as_default(step=row.iteration):
            for part in PARTS:
                for score, value in getattr(row, part)._asdict().items():
                    tf.summary.scalar(f"{score}/{part}", value)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._events.close()
        self._history.close()

    def finish(self, summary: dict[str, Any]) -> None:
        """Write run.json: the run has ended well."""
        (self.path / "run.json").write_text(json.dumps(summary, indent=2) + "\n")


def read(path: Path) -> Run:
    """Read a finished run back.

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
        return [_row(line) for line in csv.DictReader(file)]


def _seconds(path: Path) -> float:
    try:
        return float((path / "seconds").read_text())
    except (OSError, ValueError):
        return 0.0


def _fresh_directory(runs: Path, name: str) -> Path:
    for number in range(1, 1000):
        path = runs / (name if number == 1 else f"{name}-{number}")
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        return path
    raise RunError(f"{runs} has 999 runs named {name}")


def _cells(row: EvaluationRow) -> Sequence[float]:
    return [row.iteration, *row.training, *row.validation, *row.test]


def _row(line: dict[str, str]) -> EvaluationRow:
    def scores(part: str) -> Scores:
        return Scores(*(float(line[f"{part}_{score}"]) for score in Scores._fields))

    return EvaluationRow(int(line["iteration"]), scores("training"), scores("validation"), scores("test"))
