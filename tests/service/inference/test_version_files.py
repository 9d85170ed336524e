"""Tests how files of a version are read: regular files within their limit, and nothing else, without waiting."""

import hashlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from service.inference import version_files
from service.inference.version_files import UnusableFile, hash_file, is_missing, measure_tree, read_file

CONTENT = bytes(range(256)) * 20


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(path))


OTHER_KINDS: dict[str, Callable[[Path], object]] = {
    "a FIFO": os.mkfifo,
    "a directory": Path.mkdir,
    "a socket": make_socket,
    "a character device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("chunk", [1 << 20, 1000])
def test_reads_and_hashes_a_file_and_a_link_to_it(tmp_path: Path, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version_files, "CHUNK_BYTES", chunk)
    (tmp_path / "file").write_bytes(CONTENT)
    (tmp_path / "link").symlink_to("file")
    for name in ("file", "link"):
        assert read_file(tmp_path / name, len(CONTENT)) == CONTENT
        assert hash_file(tmp_path / name) == hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_rejects_what_is_no_regular_file(kind: str, tmp_path: Path) -> None:
    OTHER_KINDS[kind](tmp_path / "file")
    for read in (read_file, hash_file):
        with pytest.raises(UnusableFile, match=f"^is {kind}, not a regular file$"):
            read(tmp_path / "file")


def test_rejects_a_fifo_that_replaces_the_file_before_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.touch()
    status = file.stat()
    file.unlink()
    os.mkfifo(file)
    monkeypatch.setattr(Path, "stat", lambda _: status)
    with pytest.raises(UnusableFile, match=r"^is a FIFO, not a regular file$"):
        read_file(file)


def test_rejects_a_file_over_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(CONTENT)
    with pytest.raises(UnusableFile, match=r"^has 5120 bytes; 5119 are allowed$"):
        read_file(tmp_path / "file", 5119)
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UnusableFile, match=f"^has {1 << 40} bytes; {1 << 30} are allowed$"):
        hash_file(tmp_path / "sparse")
    monkeypatch.setattr(version_files, "_check", lambda *_: None)  # the file grows after it was measured
    with pytest.raises(UnusableFile, match=r"^has 5120 bytes; 5119 are allowed$"):
        read_file(tmp_path / "file", 5119)


def test_a_missing_file_is_told_from_one_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    for name, missing in (("none", True), ("file/x", True), ("a" * 300, True), ("loop", False)):
        with pytest.raises(OSError, match=r".") as caught:
            read_file(tmp_path / name)
        assert is_missing(caught.value) == missing


def test_measures_a_tree_with_its_links(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "variables").mkdir(parents=True)
    (tree / "variables" / "data").write_bytes(bytes(100))
    (tmp_path / "file").write_bytes(bytes(20))
    (tree / "link").symlink_to(tmp_path / "file")
    assert measure_tree(tree, 3, 120) == 120
    with pytest.raises(UnusableFile, match=r"^has more than 2 files and directories$"):
        measure_tree(tree, 2, 120)
    with pytest.raises(UnusableFile, match=r"^has 120 bytes; 119 are allowed$"):
        measure_tree(tree, 3, 119)


@pytest.mark.parametrize("kind", sorted(OTHER_KINDS.keys() - {"a directory"}))
def test_a_tree_with_another_kind_of_file_is_rejected(kind: str, tmp_path: Path) -> None:
    (tmp_path / "tree" / "variables").mkdir(parents=True)
    OTHER_KINDS[kind](tmp_path / "tree" / "variables" / "data")
    with pytest.raises(UnusableFile, match=f"^has 'data', which is {kind}, not a regular file$"):
        measure_tree(tmp_path / "tree", 10, 10)


def test_a_tree_with_a_link_to_its_own_parent_is_over_the_limit(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "up").symlink_to("..")
    with pytest.raises((UnusableFile, OSError)):
        measure_tree(tmp_path / "tree", 1000, 10)
