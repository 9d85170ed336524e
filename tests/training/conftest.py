"""Fixtures of the training tests: a small data set, one small published run, and processes of the command line."""

import contextlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import REPOSITORY
from tests.training.idx_files import write_data_set
from training.cli import main
from training.data import mnist as mnist_files
from training.data.mnist import Dataset

DATA = Path(os.environ.get("DIGITS_DATA", REPOSITORY / "data" / "mnist"))
SYSTEM_PATH = os.environ.get("PATH", os.defpath)
SMALL_RECIPE = ("layers=30", "iterations=50", "evaluate_every=25", "print_every=25")
SMALL: tuple[str, ...] = (
    *("--recipe", "smoke", "--baseline", "none", "--skip-checksums"),
    *(word for override in SMALL_RECIPE for word in ("--set", override)),
)
"""Options of a run that takes seconds; `--data` is to be the small data set."""
FAST = (*SMALL, "--set", "layers=", "--set", "optimiser=gradient_descent")
"""Options of a run that compiles in about a second."""

Process = subprocess.Popen[str]
Start = Callable[..., Process]


@dataclass(frozen=True)
class TrainedRun:
    """The model directory, the run directory and the output of one `train` command."""

    models: Path
    run: Path
    output: str


@pytest.fixture(scope="session", autouse=True)
def _failing_apt_get(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Replace apt-get by a script that fails, so that no test downloads OOD sets unless it restores SYSTEM_PATH."""
    directory = tmp_path_factory.mktemp("bin")
    (directory / "apt-get").write_text("#!/bin/sh\necho 'disabled in tests' >&2\nexit 100\n")
    (directory / "apt-get").chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{directory}{os.pathsep}{SYSTEM_PATH}")
        yield


@pytest.fixture(scope="session")
def small_data(mnist: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with 2,000 training, 5,000 validation and 1,000 test images of MNIST."""
    directory = tmp_path_factory.mktemp("small-mnist")
    training, validation, test = mnist.training, mnist.validation, mnist.test
    images = np.concatenate([validation.images, training.images[:2000]])
    labels = np.concatenate([validation.labels, training.labels[:2000]])
    every_tenth = slice(None, None, 10)
    write_data_set(directory, (images, labels), (test.images[every_tenth], test.labels[every_tenth]))
    return directory


@pytest.fixture(scope="session")
def small_mnist(small_data: Path) -> Dataset:
    """The small data set, loaded."""
    return mnist_files.load(small_data, skip_checksums=True)


@pytest.fixture(scope="session")
def trained(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    """Version 1 of a small run. Not to be written to."""
    directory = tmp_path_factory.mktemp("trained")
    models, runs = directory / "models", directory / "runs"
    with contextlib.redirect_stdout(io.StringIO()) as output:
        code = main(["--models", str(models), "train", *SMALL, "--runs", str(runs), "--data", str(small_data)])
    assert code == 0
    (run,) = runs.iterdir()
    return TrainedRun(models, run, output.getvalue())


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts `python ARGUMENTS` in the repository, with pipes; kills the processes at the end of the test."""
    processes: list[Process] = []

    def run(*arguments: object) -> Process:
        command = [sys.executable, *map(str, arguments)]
        inherited = os.environ.keys() - {"PYTHONUNBUFFERED", "TF_CPP_MIN_LOG_LEVEL"}
        environment = {name: os.environ[name] for name in inherited}
        handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a child inherits an ignored SIGINT
        try:
            process = subprocess.Popen(
                command,
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
