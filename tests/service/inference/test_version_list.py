"""Tests the list of versions and their snapshots: what counts as a version, which changes are noticed, odd entries."""

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.inference import version_list
from service.inference.version_list import MAX_ENTRIES, list_versions, take_snapshot


def test_list_versions_is_sorted_by_number_newest_first(models: Path) -> None:
    for name in ("9", "10", "2", "02", "-1", "1.0", "x", ".tmp-3"):
        (models / name).mkdir()
    (models / "11").touch()
    assert list_versions(models) == [models / name for name in ("10", "9", "2")]
    assert list_versions(models / "missing") == []


def test_a_fingerprint_changes_with_every_change_of_a_file(models: Path) -> None:
    version = models / "1"
    (version / "variables").mkdir(parents=True)
    file = version / "variables" / "weights"
    file.write_text("old")
    os.utime(file, ns=(0, 1_000))
    prints = [take_snapshot(version)]
    assert take_snapshot(version) == prints[0]
    status = file.stat()
    assert ("variables/weights", status.st_ino, 3, 1_000) in {tuple(entry)[:4] for entry in prints[0].fingerprint}

    os.utime(file, ns=(0, 2_000))  # modification time alone
    prints.append(take_snapshot(version))
    file.write_text("longer")
    os.utime(file, ns=(0, 2_000))  # size alone
    prints.append(take_snapshot(version))
    copy = version / "copy"
    copy.write_text("longer")
    os.utime(copy, ns=(0, 2_000))
    copy.rename(file)  # inode alone
    os.utime(version / "variables", ns=(0, 2_000))
    prints.append(take_snapshot(version))
    file.rename(version / "variables" / "other")  # name alone
    prints.append(take_snapshot(version))
    assert len(set(prints)) == len(prints)


def test_a_fingerprint_changes_with_permissions_and_owner(models: Path) -> None:
    """The remedy for a file that cannot be read is to change them."""
    (models / "1").mkdir()
    file = models / "1" / "manifest.json"
    file.touch(0o600)
    before = take_snapshot(models / "1")
    file.chmod(0o644)
    assert take_snapshot(models / "1") != before


def test_a_fingerprint_follows_links_to_files_but_not_to_directories(models: Path, tmp_path: Path) -> None:
    version = models / "1"
    version.mkdir()
    target = tmp_path / "target"
    target.write_text("old")
    (version / "file").symlink_to(target)
    (version / "directory").symlink_to(models)
    before = take_snapshot(version)
    assert [entry[0] for entry in before.fingerprint] == ["directory", "file"]
    target.write_text("longer")
    assert take_snapshot(version) != before


def test_a_file_that_disappears_during_the_scan_is_left_out(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (models / "1").mkdir()
    for name in ("a", "b", "c"):
        (models / "1" / name).touch()
    metadata = version_list._metadata
    missing = (models / "1" / "b").stat().st_ino

    def fail_for_b(status: os.stat_result) -> tuple[int, ...]:
        if status.st_ino == missing:
            raise FileNotFoundError
        return metadata(status)

    monkeypatch.setattr(version_list, "_metadata", fail_for_b)
    assert [entry[0] for entry in take_snapshot(models / "1").fingerprint] == ["a", "c"]


def test_numbers_of_more_than_64_bits_are_no_versions(models: Path) -> None:
    for name in ("9" * 18, "9" * 19, "9" * 255, "007", "٧", b"\xff7"):  # noqa: RUF001 - a digit, but no number here
        Path(os.fsdecode(models), os.fsdecode(name)).mkdir()
    assert [path.name for path in list_versions(models)] == ["9" * 18]


def test_a_link_to_a_directory_is_a_version_and_so_is_a_broken_link(models: Path) -> None:
    """A broken link is listed, so that it is rejected with a reason; a link to a file is none, as a file is none."""
    (models / "1").mkdir()
    (models / "2").symlink_to("1")
    (models / "3").symlink_to("3")
    (models / "4").symlink_to("missing")
    (models / "file").touch()
    (models / "5").symlink_to("file")
    os.mkfifo(models / "6")
    assert [path.name for path in list_versions(models)] == ["4", "3", "2", "1"]
    assert take_snapshot(models / "3").fingerprint == ((".", errno.ELOOP),)
    assert take_snapshot(models / "4").fingerprint == ((".", errno.ENOENT),)


def test_a_snapshot_of_entries_of_every_kind_neither_waits_nor_fails(models: Path) -> None:
    version = models / "1"
    version.mkdir()
    (version / "loop").symlink_to("loop")
    (version / "dangling").symlink_to("missing")
    (version / "up").symlink_to("..")
    os.mkfifo(version / "fifo")
    (version / os.fsdecode(b"\xff\xfe")).touch()
    (version / ("x" * 255)).touch()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(version / "socket"))
    snapshot = take_snapshot(version)
    assert len(snapshot.fingerprint) == 7
    assert snapshot == take_snapshot(version)
    assert snapshot.is_complete


def test_an_unreadable_directory_is_part_of_the_snapshot(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (models / "1" / "secret").mkdir(parents=True)
    readable = take_snapshot(models / "1")
    scandir = os.scandir

    def scan_with_permission(path: Path) -> Iterator[os.DirEntry[str]]:
        if path.name == "secret":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan_with_permission)
    snapshot = take_snapshot(models / "1")
    assert ("secret/.", errno.EACCES) in snapshot.fingerprint
    assert snapshot != readable


@pytest.mark.parametrize(("files", "is_complete"), [(MAX_ENTRIES, True), (MAX_ENTRIES + 1, False)])
def test_a_snapshot_has_a_maximum_of_entries(models: Path, files: int, *, is_complete: bool) -> None:
    (models / "1").mkdir()
    for index in range(files):
        (models / "1" / str(index)).touch()
    snapshot = take_snapshot(models / "1")
    assert snapshot.is_complete == is_complete
    assert len(snapshot.fingerprint) == files
