"""Every command on damaged files: exit code 0 or 2, at most one line on standard error, never a traceback."""

import dataclasses
import hashlib
import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.training import damaged_files
from tests.training.conftest import Start
from tests.training.damaged_files import NOT_JSON, OTHER_ENTRIES, damaged_checkpoints, with_each_value
from tests.training.publish.publisher import FILES, publish_small_files
from training import commands
from training.cli import main
from training.data import mnist
from training.data.mnist import Dataset, Split
from training.evaluation import assessment, plots
from training.fit import checkpoint, loop, optimisers
from training.fit.run_log import RunLogger
from training.pipeline import RunResult, TrainingPipeline
from training.publish import registry, saved_model
from training.publish.registry import GateRejected
from training.recipe import Recipe
from training.types import EvaluationRow, Scores

Capture = pytest.CaptureFixture[str]
Check = Callable[..., int]

RECIPE = Recipe.load("smoke", ["layers=", "iterations=50", "evaluate_every=25", "print_every=25"])
SCORES = Scores(0.5, 0.7)
MANIFEST = {
    "name": "digits",
    "version": 1,
    "created_at": "2026-01-01T00:00:00Z",
    "recipe": {"name": "smoke", "layers": [30]},
    "metrics": {"test_accuracy": 0.9, "test_ece": 0.01},
    "temperature": 1.0,
    "thresholds": {"confidence": 0.5},
}


@pytest.fixture
def check(capsys: Capture) -> Check:
    """Runs a command; fails unless it ends with 0, or with 2 and one line. Returns the exit code."""

    def run(case: str, *arguments: object) -> int:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        lines = captured.err.splitlines()
        assert (code, len(lines)) in ((0, 0), (2, 1)), (case, arguments, captured.err)
        assert all(line.isprintable() for line in (*lines, *captured.out.splitlines())), case
        return code

    return run


@pytest.fixture
def _blank_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaces MNIST by ten blank images."""
    blank = Split(np.zeros((10, 28, 28), np.uint8), np.zeros(10, np.uint8))
    monkeypatch.setattr(mnist, "load", lambda *_, **__: Dataset("blank", blank, blank, blank, ()))


@pytest.fixture
def resume(
    tmp_path: Path, check: Check, _blank_data: None, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, Callable[[str], int]]:
    """The directory of an interrupted run, and a function that resumes it up to the first iteration."""

    def stop(_: TrainingPipeline, recipe: Recipe, logger: RunLogger, *, publishing: bool) -> RunResult:
        assert publishing
        loop.load_state(recipe, logger.path / "student.npz")
        return RunResult(logger.path, {}, logger.seconds, rejection=GateRejected(0.0, 1, 1.0))

    monkeypatch.setattr(TrainingPipeline, "_run", stop)
    with RunLogger.create(tmp_path / "runs", RECIPE) as logger:
        logger.log(EvaluationRow(25, SCORES, SCORES, SCORES))
    state = optimisers.initial_state(RECIPE)
    checkpoint.save(logger.path / "student.npz", state._replace(iteration=state.iteration + 25))

    def run(case: str) -> int:
        for events in logger.path.glob("events*"):
            events.unlink()
        return check(case, "--models", tmp_path / "models", "train", "--resume", logger.path)

    assert run("undamaged") == 0
    return logger.path, run


@pytest.mark.slow
def test_a_damaged_checkpoint_is_one_line(resume: tuple[Path, Callable[[str], int]]) -> None:
    run, resumes = resume
    path = run / "student.npz"
    valid = path.read_bytes()
    codes = {0: 0, 2: 0}
    for case, content in damaged_checkpoints(valid, 1400):
        path.write_bytes(content)
        codes[resumes(case)] += 1
    assert codes[2] > 1200, "most kinds of damage are detected"
    assert sum(codes.values()) > 1450
    for case, make in OTHER_ENTRIES.items():
        damaged_files.remove(path)
        make(path)
        resumes(case)


def test_a_damaged_value_in_a_checkpoint_is_detected(resume: tuple[Path, Callable[[str], int]]) -> None:
    run, resumes = resume
    path = run / "student.npz"
    valid = bytearray(path.read_bytes())
    weights = np.asarray(optimisers.initial_state(RECIPE).parameters[0].weights).tobytes()
    valid[valid.index(weights) + 400] ^= 1
    path.write_bytes(valid)
    assert resumes("a bit of a weight") == 2


@pytest.mark.parametrize(("iteration", "code"), [(0, 0), (25, 0), (50, 0), (-25, 2), (75, 2), (30, 2), (2**31 - 1, 2)])
def test_a_checkpoint_of_an_impossible_iteration_is_one_line(
    iteration: int, code: int, resume: tuple[Path, Callable[[str], int]]
) -> None:
    run, resumes = resume
    state = optimisers.initial_state(RECIPE)
    checkpoint.save(run / "student.npz", state._replace(iteration=state.iteration + iteration))
    assert resumes(str(iteration)) == code


@pytest.mark.usefixtures("_blank_data")
def test_a_damaged_manifest_is_one_line_or_a_question_mark(
    models: Path, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = SimpleNamespace(metrics_dict=lambda: {"test_accuracy": 0.5, "test_ece": 0.1}, tables=dict)
    monkeypatch.setattr(assessment, "evaluate_model", lambda *_: report)
    monkeypatch.setattr(saved_model, "load_predictor", lambda _: None)
    monkeypatch.setattr(saved_model, "verify_parity", lambda *_: None)
    publish_small_files(models)
    publish_small_files(models)
    path = models / "2" / "manifest.json"
    manifest = MANIFEST | {"files": {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}}
    evaluated = {0: 0, 2: 0}

    def run_commands(case: str) -> None:
        assert check(case, "--models", models, "list") == 0
        evaluated[check(case, "--models", models, "evaluate", "2", "--baseline", "none")] += 1
        registry.check_gate(models, 1.0)
        assert check(case, "--models", models, "retire", "2") == 0
        (models / ".retired-2").rename(models / "2")

    for case, content in (*with_each_value(manifest), *NOT_JSON.items()):
        path.write_bytes(content)
        run_commands(case)
    for case, make in OTHER_ENTRIES.items():
        damaged_files.remove(path)
        make(path)
        run_commands(case)
    assert evaluated[0] > 200
    assert evaluated[2] > 70, "wrong checksums of files"


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """The directory of a finished run."""
    with RunLogger.create(tmp_path / "runs", RECIPE) as logger:
        for iteration in (25, 50):
            logger.log(EvaluationRow(iteration, SCORES, SCORES, SCORES))
        logger.finish({"recipe": {"name": "smoke", "layers": []}, "seconds": 1.5, "metrics": {"test_accuracy": 0.5}})
    return logger.path


def test_a_damaged_run_json_is_one_line_for_compare(
    finished: Path, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plots, "overlay", lambda *_: None)  # slow, and tested below
    path = finished / "run.json"
    other = finished.parent / "other"
    shutil.copytree(finished, other)
    document = json.loads(path.read_text())
    codes = set()
    for case, content in (*with_each_value(document), *NOT_JSON.items()):
        path.write_bytes(content)
        codes.add(check(case, "compare", finished, other, "--out", finished / "x.png"))
    assert codes == {0, 2}
    for case, make in OTHER_ENTRIES.items():
        damaged_files.remove(path)
        make(path)
        assert check(case, "compare", finished, "--out", finished / "x.png") == 2


HEADER = "iteration,training_accuracy,training_cross_entropy,validation_accuracy,validation_cross_entropy"
HEADER += ",test_accuracy,test_cross_entropy\n"
HISTORIES = {
    "empty": "",
    "header": HEADER,
    "text": "text",
    "a short row": HEADER + "25,1\n",
    "a long row": HEADER + "25,1,1,1,1,1,1,1,1,1\n",
    "NaN": HEADER + "25,nan,nan,nan,nan,nan,nan\n50,inf,inf,inf,inf,inf,inf\n",
    "huge numbers": HEADER + "25,1e308,-1e308,1e308,-1e308,1e308,-1e308\n50,1,1,1,1,1,1\n",
    "a huge iteration": HEADER + f"1{'0' * 400},1,1,1,1,1,1\n",
    "an iteration that Python does not parse": HEADER + f"{'1' * 5000},1,1,1,1,1,1\n",
    "a negative iteration": HEADER + "-25,1,1,1,1,1,1\n",
    "a null character": HEADER + "25,\0,1,1,1,1,1\n",
    "an open quote": HEADER + '25,"1,1,1,1,1,1\n',
    "a huge field": HEADER + f"25,{'1' * 200_000},1,1,1,1,1\n",
    "not UTF-8": HEADER + "25,\udcff,1,1,1,1,1\n",
}


@pytest.mark.parametrize("content", HISTORIES.values(), ids=HISTORIES.keys())
@pytest.mark.filterwarnings("error")
def test_a_damaged_history_is_one_line(
    content: str, finished: Path, check: Check, resume: tuple[Path, Callable[[str], int]]
) -> None:
    run, resumes = resume
    for directory in (run, finished):
        (directory / "history.csv").write_bytes(content.encode(errors="surrogateescape"))
    check("history", "compare", finished, "--out", finished / "x.png")
    resumes("history")


@pytest.mark.parametrize("make", OTHER_ENTRIES.values(), ids=OTHER_ENTRIES.keys())
@pytest.mark.parametrize("name", ["history.csv", "recipe.toml", "seconds"])
def test_another_entry_in_place_of_a_file_of_a_run_is_one_line(
    name: str, make: Callable[[Path], object], resume: tuple[Path, Callable[[str], int]], check: Check
) -> None:
    run, resumes = resume
    damaged_files.remove(run / name)
    make(run / name)
    resumes(name)
    check(name, "compare", run, "--out", run / "x.png")
    if name == "recipe.toml":
        assert check(name, "train", "--recipe", run / name) == 2


RECIPES = {
    "empty": b"",
    "not TOML": b"= =",
    "deep": b"a = " + b"[" * 100_000,
    "not UTF-8": b'name = "\xff"',
    "a huge integer": b"seed = " + b"1" * 5000,
    "a huge hexadecimal integer": b"seed = 0x" + b"f" * 5000,
    "a huge real": b"learning_rate = 1" + b"0" * 400,
    "an impossible date": b"seed = 2026-99-99",
    "a null character": b'name = "a\\u0000b"',
    "a path": b'name = "../../x"',
    "no name": b'name = ""',
    "a name that is no text": b"name = 7",
    "a long name": b'name = "' + b"x" * 300 + b'"',
    "a deep value": b"seed = " + b"[" * 200 + b"]" * 200,
    "a table": b"[seed]\nx = 1",
    "a list of tables": b"[[layers]]\nx = 1",
    "not a number": b"learning_rate = nan",
}


@pytest.mark.parametrize("content", RECIPES.values(), ids=RECIPES.keys())
def test_a_damaged_recipe_is_one_line(content: bytes, tmp_path: Path, check: Check) -> None:
    valid = RECIPE.as_toml().encode()
    key = content.partition(b" ")[0].strip(b"[]").partition(b"]")[0]
    kept = b"".join(line for line in valid.splitlines(keepends=True) if not line.startswith(key + b" ") or not key)
    for number, document in enumerate((content, content + b"\n" + kept, kept + content)):
        path = tmp_path / f"{number}.toml"
        path.write_bytes(document)
        assert check("recipe", "train", "--recipe", path, "--data", tmp_path / "none", "--skip-checksums") == 2


@pytest.mark.parametrize("name", ["😀 recipe", "größe", "a'b\"c"])
def test_a_recipe_with_any_printable_name_can_be_resumed(name: str, tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, name=name)
    with RunLogger.create(tmp_path, recipe) as logger:
        assert Recipe.load(str(logger.path / "recipe.toml")) == recipe


@pytest.mark.parametrize("name", ["_hidden", "a $b^2$ \\frac{", "名前", "a\nb", "x" * 200, os.fsdecode(b"\xff\xfe")])
def test_compare_plots_runs_of_any_name(name: str, finished: Path, check: Check) -> None:
    renamed = finished.rename(finished.with_name(name))
    assert check(name, "compare", renamed, "--out", finished.parent / "x.png") == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["compare", "{run}", "--out", "{tmp}/file/x.png"],
        ["compare", "{run}", "--out", "{tmp}/directory.png"],
        ["compare", "{run}", "--out", "/dev/full/x.png"],
        ["compare", "{tmp}/file"],
        ["compare", "{tmp}/fifo"],
        ["compare", "{tmp}/loop"],
        ["compare", "x" * 5000],
        ["train", "--resume", "{tmp}/file"],
        ["train", "--resume", "x" * 5000],
        ["train", "--recipe", "{tmp}"],
        ["train", "--recipe", "{tmp}/directory.toml"],
        ["train", "--recipe", "{tmp}/fifo.toml"],
        ["train", "--recipe", "x" * 5000],
        ["train", "--set", "seed=" + "1" * 5000],
        ["train", "--set", "learning_rate=1" + "0" * 400],
        ["train", "--data", "{tmp}/file"],
        ["train", "--data", "{tmp}/damaged", "--skip-checksums"],
        ["train", "--data", "{tmp}/fifos", "--skip-checksums"],
        ["--models", "{tmp}/file", "evaluate", "1"],
        ["--models", "{tmp}/loop", "retire", "1"],
        ["evaluate", "9" * 4000],
        ["--models", "{tmp}/models", "retire", "1"],
    ],
)
def test_an_odd_argument_is_one_line(arguments: list[str], finished: Path, tmp_path: Path, check: Check) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "directory.png").mkdir()
    (tmp_path / "directory.toml").mkdir()
    os.mkfifo(tmp_path / "fifo")
    os.mkfifo(tmp_path / "fifo.toml")
    (tmp_path / "loop").symlink_to("loop")
    for name in (
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
    ):
        for directory in ("damaged", "fifos"):
            (tmp_path / directory).mkdir(exist_ok=True)
        (tmp_path / "damaged" / f"{name}.gz").write_bytes(b"\x1f\x8b damaged")
        os.mkfifo(tmp_path / "fifos" / name)
    publish_small_files(tmp_path / "models")
    (tmp_path / "models" / ".retired-1" / "full").mkdir(parents=True)
    paths = {"tmp": tmp_path, "run": finished}
    assert check("", *(argument.format(**paths) for argument in arguments)) == 2


def test_output_that_cannot_be_written_is_one_line(
    models: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    publish_small_files(models)
    copy = os.dup(os.open("/dev/full", os.O_WRONLY))
    with io.TextIOWrapper(os.fdopen(copy, "wb")) as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main(["--models", str(models), "list"]) == 2
        monkeypatch.undo()
    (line,) = capsys.readouterr().err.splitlines()
    assert "No space left on device" in line


def test_an_error_that_cannot_be_printed_has_exit_code_2(models: Path, start: Start) -> None:
    process = start(
        "-c",
        "import os, sys; os.dup2(os.open('/dev/full', 1), 2); from training.cli import main; "
        "sys.exit(main(sys.argv[1:]))",
        "--models",
        models,
        "retire",
        "1",
    )
    assert process.communicate() == ("", "")
    assert process.returncode == 2


def test_a_model_directory_that_cannot_be_read_is_one_line(
    models: Path, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", fail)
    for command in (["list"], ["retire", "1"], ["evaluate", "1"]):
        assert check("", "--models", models, *command) == 2


@pytest.mark.parametrize("error", [MemoryError(), OSError(5, "Input/output error"), BlockingIOError("a\nb\x1b[0m")])
def test_an_error_of_the_machine_is_one_line(error: Exception, check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Any) -> None:
        raise error

    monkeypatch.setitem(commands.COMMANDS, "list", fail)
    assert check("", "list") == 2


def test_a_defect_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Any) -> None:
        raise AttributeError("a defect")

    monkeypatch.setitem(commands.COMMANDS, "list", fail)
    with pytest.raises(AttributeError):
        main(["list"])
