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


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "digits", "predict", "tests/pictures"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, cwd=REPOSITORY, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "digits: standard output cannot be written: No space left on device\n")
    limited = ["sh", "-c", 'ulimit -f 0; exec "$@"', "sh", *command, "-o", str(tmp_path / "out.csv")]
    done = subprocess.run(limited, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, f"digits: {tmp_path}/out.csv cannot be written: File too large\n")


def test_a_closed_standard_output_is_no_traceback() -> None:
    command = ["sh", "-c", f"{sys.executable} -m digits predict tests/pictures --url http://127.0.0.1:1 >&-"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("digits: no connection to http://127.0.0.1:1")
