"""`python -m training evaluate N --pictures DIR` with a process of the service, which it ends in any case."""

import os
import re
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

COMMAND = (sys.executable, "-m", "training", "evaluate", "5", "--pictures")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A seven, a row, and a file that is no picture."""
    for source, target in (("seven.png", "7/a.png"), ("2024.jpg", "rows/2024/b.jpg")):
        (tmp_path / "in" / target).parent.mkdir(parents=True)
        shutil.copy(REPOSITORY / "tests" / "pictures" / source, tmp_path / "in" / target)
    (tmp_path / "in" / "7" / "notes.txt").write_text("text")
    return tmp_path / "in"


def test_a_process_of_the_service_reads_the_pictures(pictures: Path, tmp_path: Path) -> None:
    command = [*COMMAND, str(pictures), "--out", str(tmp_path / "out")]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert re.search(r"single digits +2 +1 +50.0% +50.0% +100.0% +1\n", ended.stdout)
    assert re.search(r"rows +1 +1 +100.0% ", ended.stdout)
    assert re.search(r"7/notes.txt +7 +the picture is none of PNG", ended.stdout)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_the_service_too(number: signal.Signals, pictures: Path, tmp_path: Path) -> None:
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a child inherits an ignored SIGINT
    try:
        process = subprocess.Popen(
            [*COMMAND, str(pictures)],
            cwd=REPOSITORY,
            env=os.environ | {"TMPDIR": str(tmp_path)},
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        signal.signal(signal.SIGINT, handler)
    try:
        service = wait_for_child(process)
        descriptor = os.pidfd_open(service)
        process.send_signal(number)
        process.communicate(timeout=60)
        assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[number]
        wait_for_end(descriptor)
    finally:
        process.kill()
        process.communicate()


def wait_for_child(process: "subprocess.Popen[str]") -> int:
    """The process id of the first child, as soon as it exists."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while not (found := children.read_text().split()):
        assert process.poll() is None
    return int(found[0])


def wait_for_end(descriptor: int) -> None:
    """Wait until the process of a pidfd has ended."""
    try:
        ended, _, _ = select.select([descriptor], [], [], 60)
        assert ended
    finally:
        os.close(descriptor)
