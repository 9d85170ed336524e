"""service/atomic_write.py: the content after success, after an error, and after a crash before each of its lines."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.atomic_write import atomic_write
from tests.conftest import REPOSITORY

OLD, NEW = b"old content", b"new content"

CRASH_BEFORE_STEP = """
import os, sys
from pathlib import Path
from service import atomic_write

crash_at, path, content = int(sys.argv[1]), Path(sys.argv[2]), sys.stdin.buffer.read()
steps = 0

def trace(frame, event, argument):
    global steps
    if frame.f_code.co_filename != atomic_write.__file__:
        return None
    if event == "line":
        steps += 1
        if steps == crash_at:
            os._exit(9)
    return trace

sys.settrace(trace)
atomic_write.atomic_write(path, content)
"""


def test_creates_a_file_and_replaces_it(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    for content in (OLD, NEW, b""):
        atomic_write(path, content)
        assert path.read_bytes() == content
        assert list(tmp_path.iterdir()) == [path]


def test_a_reader_of_the_old_file_keeps_its_content(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(OLD)
    with path.open("rb", buffering=0) as reader:
        atomic_write(path, NEW)
        assert reader.read() == OLD


def test_a_crash_before_any_line_leaves_the_old_content_or_the_new(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    found: list[bytes] = []
    left_behind: set[Path] = set()
    for step in range(1, 30):
        path.write_bytes(OLD)
        command = [sys.executable, "-c", CRASH_BEFORE_STEP, str(step), str(path)]
        result = subprocess.run(command, input=NEW, cwd=REPOSITORY, check=False)
        found.append(path.read_bytes())
        if result.returncode == 0:
            break
        assert result.returncode == 9
        left_behind |= set(tmp_path.iterdir()) - {path}
    assert result.returncode == 0, "the process crashed at every step, so the last step was not reached"
    assert len(found) > 5
    assert found == sorted(found, key=[OLD, NEW].index), "old content first, then new; index() raises for any other"
    assert {found[0], found[-1]} == {OLD, NEW}
    assert left_behind, "no crash came between creating the temporary file and renaming it"
    assert not left_behind & set(tmp_path.glob("*.json")), "a glob by suffix must not find temporary files"


def test_content_is_on_disk_before_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(OLD)
    synced: list[tuple[bytes, bytes]] = []

    def fsync(descriptor: int) -> None:
        synced.append((Path(f"/proc/self/fd/{descriptor}").read_bytes(), path.read_bytes()))

    monkeypatch.setattr(os, "fsync", fsync)
    atomic_write(path, NEW)
    assert synced == [(NEW, OLD)]
    assert path.read_bytes() == NEW


def test_an_error_leaves_the_old_content_and_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(OLD)

    def disk_is_full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", disk_is_full)
    with pytest.raises(OSError, match="No space left on device"):
        atomic_write(path, NEW)
    assert path.read_bytes() == OLD
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        atomic_write(tmp_path / "missing" / "file.json", NEW)
