"""atomic_write: content, and what a failure or a crash at each step leaves."""

import os
from pathlib import Path

import pytest

from tests.training.conftest import Start
from tests.training.crash_steps import NEW, OLD
from training.atomic_write import atomic_write


@pytest.mark.parametrize(
    ("content", "expected"), [(b"\0\xff\r\n", b"\0\xff\r\n"), ("é\r\n", b"\xc3\xa9\r\n"), (b"", b"")]
)
def test_writes_bytes_and_text_unchanged_and_leaves_no_other_file(
    content: bytes | str, expected: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "file.json"
    for _ in range(2):
        atomic_write(path, content)
        assert path.read_bytes() == expected
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("old", [None, OLD], ids=["new file", "existing file"])
@pytest.mark.parametrize("failing", ["open", "fsync", "replace"])
def test_a_failure_keeps_the_old_content_and_removes_the_temporary_file(
    failing: str, old: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "file"
    if old:
        path.write_bytes(old)
    with monkeypatch.context() as patch:
        patch.setattr(os if failing == "fsync" else Path, failing, fail)
        with pytest.raises(OSError, match="No space left"):
            atomic_write(path, NEW)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == ([old] if old else [])


def test_flushes_to_disk_before_it_replaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[bytes] = []
    fsync = os.fsync

    def record(descriptor: int) -> None:
        fsync(descriptor)
        flushed.append((tmp_path / "file.part").read_bytes())
        assert not (tmp_path / "file").exists()

    monkeypatch.setattr(os, "fsync", record)
    atomic_write(tmp_path / "file", NEW)
    assert flushed == [NEW]


def test_a_process_killed_at_any_step_leaves_the_old_or_the_new_content(start: Start, tmp_path: Path) -> None:
    process = start("-S", "-m", "tests.training.crash_steps", "atomic_write", tmp_path)
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    contents = [(tmp_path / str(step) / "file").read_bytes() for step in range(1, int(stdout) + 1)]
    assert len(contents) > 8
    assert contents == sorted(contents, key=[OLD, NEW].index), "the new content stays once it is there"
    assert contents[0] == OLD
    assert contents[-1] == NEW
