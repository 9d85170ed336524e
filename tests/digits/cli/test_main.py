"""The command `digits`: version, help, interruption, a reader that leaves."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.digits.cli.conftest import Run


def test_version_and_help(run: Run) -> None:
    assert run("--version")[1].startswith("digits, version ")
    for arguments in (["--help"], ["predict", "-h"], ["serve", "--help"]):
        code, out, err = run(*arguments)
        assert (code, err) == (0, "")
        assert out.startswith("Usage: digits")


def test_no_command_and_an_unknown_one_are_exit_code_2(run: Run) -> None:
    code, out, _ = run()
    assert code == 2
    assert "Commands:" in out
    assert run("predikt") == (2, "", "digits: No such command 'predikt'. Did you mean 'predict'?\n")


def test_ctrl_c_is_one_line_and_a_second_one_ends_the_process(
    run: Run, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handlers: list[tuple[int, object]] = []

    def interrupt(*_arguments: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("digits.cli.predict.run", interrupt)
    monkeypatch.setattr("digits.cli.main.signal.signal", lambda *arguments: handlers.append(arguments))
    code, _, err = run("predict", pictures)
    assert (code, err.strip()) == (1, "digits: interrupted")
    assert handlers == [(signal.SIGINT, signal.SIG_DFL)]


def test_a_reader_that_leaves_is_no_traceback() -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "digits", "predict", "tests/pictures"]
    done = subprocess.run(command, cwd=REPOSITORY, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
