"""Fixtures of the training tests: one small published run, and real processes of the command line."""

import contextlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from training.cli import main
from training.data.mnist import Dataset

DATA = Path(os.environ.get("DIGITS_DATA", REPOSITORY / "data" / "mnist"))
SMALL: tuple[str, ...] = (
    "--recipe",
    "smoke",
    "--set",
    "iterations=50",
    "--set",
    "evaluate_every=25",
    "--set",
    "print_every=25",
)
SMALL += ("--baseline", "none")

Process = subprocess.Popen[str]
Start = Callable[..., Process]


@dataclass(frozen=True)
class Trained:
    """What one `train` of the small recipe left."""

    models: Path
    run: Path
    output: str


@pytest.fixture(scope="session")
def trained(mnist: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Version 1 of a small run. Not to be written to."""
    assert len(mnist.test) == 10_000
    directory = tmp_path_factory.mktemp("trained")
    models, runs = directory / "models", directory / "runs"
    with contextlib.redirect_stdout(io.StringIO()) as output:
        code = main(["--models", str(models), "train", *SMALL, "--runs", str(runs), "--data", str(DATA)])
    assert code == 0
    (run,) = runs.iterdir()
    return Trained(models, run, output.getvalue())


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts `python ARGUMENTS` in the repository, with pipes; the test's end kills it and waits."""
    processes: list[Process] = []

    def run(*arguments: object) -> Process:
        words = [sys.executable, *map(str, arguments)]
        inherited = os.environ.keys() - {"PYTHONUNBUFFERED", "TF_CPP_MIN_LOG_LEVEL"}
        environment = {name: os.environ[name] for name in inherited}
        handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a child inherits an ignored SIGINT
        try:
            process = subprocess.Popen(
                words,
                cwd=REPOSITORY,
                env=environment | {"PYTHONPATH": str(REPOSITORY)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        finally:
            signal.signal(signal.SIGINT, handler)
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.communicate()
