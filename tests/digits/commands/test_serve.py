"""`digits serve`: the command that replaces the process, and what is said without the service."""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from digits.commands import serve
from digits.commands.group import main
from tests.conftest import REPOSITORY


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The arguments of os.execve, which would replace the process."""
    arguments: list[Any] = []
    monkeypatch.setattr("os.execve", lambda *given: arguments.extend(given))
    for name in ("HOST", "PORT", "WORKERS", "MODEL_DIR"):
        monkeypatch.delenv(f"DIGITS_{name}", raising=False)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    return arguments


def run(*arguments: str) -> object:
    with pytest.raises(SystemExit) as ended:
        main(["serve", *arguments])
    return ended.value.code


def test_options_become_settings(started: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIGITS_PORT", "1")
    monkeypatch.setenv("DIGITS_MAX_PICTURES", "5")
    run("--port", "8001", "--host", "::1", "--workers", "3", "--model-dir", str(tmp_path))
    path, command, environment = started
    assert (path, command[0]) == (sys.executable, sys.executable)
    assert command[1:] == ["-P", "-m", "gunicorn", "--config", str(REPOSITORY / "service" / "gunicorn.conf.py")]
    names = ("PORT", "HOST", "WORKERS", "MODEL_DIR", "MAX_PICTURES")
    assert environment["PYTHONPATH"] == f"{REPOSITORY}:{Path.cwd()}"
    assert [environment[f"DIGITS_{name}"] for name in names] == ["8001", "::1", "3", str(tmp_path), "5"]


def test_the_version_is_the_packaged_one_unless_a_directory_is_set(
    started: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run()
    assert started[2]["DIGITS_MODEL_DIR"] == str(REPOSITORY / "models" / "digits")
    monkeypatch.setattr(serve, "PACKAGED_MODELS", tmp_path)
    run()
    assert started[5]["DIGITS_MODEL_DIR"] == str(tmp_path)
    monkeypatch.setenv("DIGITS_MODEL_DIR", "elsewhere")
    run()
    assert started[8]["DIGITS_MODEL_DIR"] == "elsewhere"
    assert "DIGITS_PORT" not in started[8]


@pytest.mark.parametrize("missing", ["gunicorn", "flask"])
def test_without_the_extra_one_line_names_it(
    missing: str, started: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(serve, "find_spec", lambda name: None if name == missing else find_spec(name))
    assert run() == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "pip install 'digits[serve]'" in error
    assert started == []
