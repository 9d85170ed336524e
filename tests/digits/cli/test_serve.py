"""`digits serve`: the command that it becomes, and its environment."""

import sys
from pathlib import Path

import pytest

from digits.cli.serve import ROOT, build_environment, find_model_dir
from tests.conftest import REPOSITORY
from tests.digits.cli.conftest import Run


def test_without_the_service_one_line_says_what_to_install(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("digits.cli.serve.find_spec", lambda name: None if name == "flask" else object())
    expected = "digits: the service is not installed; run: pip install 'digits[serve]'\n"
    assert run("serve") == (2, "", expected)


def test_it_becomes_gunicorn(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, list[str], dict[str, str]]] = []
    monkeypatch.setattr("digits.cli.serve.os.execve", lambda *arguments: calls.append(arguments))
    directories: list[Path] = []
    monkeypatch.setattr("digits.cli.serve.os.chdir", directories.append)
    monkeypatch.setenv("DIGITS_PORT", "1234")
    monkeypatch.setenv("DIGITS_LOG_LEVEL", "error")
    assert run("serve", "--port", 5, "--host", "::1", "--workers", 3, "--model-dir", tmp_path)[0] == 0
    ((program, command, environment),) = calls
    assert directories == [REPOSITORY]
    assert program == command[0] == sys.executable
    assert command[1:4] == ["-P", "-m", "gunicorn"]
    assert command[-1] == str(REPOSITORY / "service" / "gunicorn.conf.py")
    given = {name: value for name, value in environment.items() if name.startswith("DIGITS_")}
    assert given | {"DIGITS_DATA": ""} == {
        "DIGITS_PORT": "5",
        "DIGITS_HOST": "::1",
        "DIGITS_WORKERS": "3",
        "DIGITS_MODEL_DIR": str(tmp_path),
        "DIGITS_LOG_LEVEL": "error",
        "DIGITS_DATA": "",
    }


def test_variables_are_kept_and_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    inherited = {"DIGITS_MODEL_DIR": "own", "DIGITS_FEEDBACK_DIR": "kept", "DIGITS_METRICS_DIR": "", "PATH": "/bin"}
    assert build_environment(inherited, {"PORT": None}, Path("/packaged")) == {
        "DIGITS_MODEL_DIR": str(tmp_path / "own"),
        "DIGITS_FEEDBACK_DIR": str(tmp_path / "kept"),
        "DIGITS_METRICS_DIR": "",
        "PATH": "/bin",
    }


def test_the_version_of_the_package_is_served_and_in_a_clone_its_own(tmp_path: Path) -> None:
    assert find_model_dir() == ROOT / "models" / "digits" == REPOSITORY / "models" / "digits"
    (tmp_path / "digits" / "models").mkdir(parents=True)
    assert find_model_dir(tmp_path) == tmp_path / "digits" / "models"
