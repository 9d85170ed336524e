"""The versions in a model directory, and snapshots of their files: found by names and metadata, without reading a file.

A scan costs a worker little, however many versions there are: all names are listed, 1,000 in a millisecond, but a
snapshot, 0.1 ms for a version of the trainer, is taken only of versions that may have to be loaded.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

MAX_ENTRIES = 1000
"""Maximum number of files and directories of a version; the trainer writes 22."""

_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")
"""64 bits, as in TensorFlow Serving."""

Fingerprint = tuple[tuple[str, *tuple[int, ...]], ...]
"""For each entry its relative path, inode, size in bytes, modification time in ns, mode, owner and group; for a link
the same of the file that it points to after its own; an errno for what cannot be read."""


@dataclass(frozen=True)
class VersionSnapshot:
    """A version's directory at one time: a different fingerprint means that its files have changed."""

    path: Path
    fingerprint: Fingerprint

    @property
    def is_complete(self) -> bool:
        """Whether the fingerprint has all entries: it has MAX_ENTRIES at most."""
        return len(self.fingerprint) <= MAX_ENTRIES


def list_versions(models: Path) -> list[Path]:
    """List the directories of the versions in `models`, newest first; none if the directory is missing.

    An entry whose kind cannot be determined, such as a loop of links, is listed: to load it fails, with the reason.

    Raises:
        OSError: the directory cannot be read.
    """
    return [models / str(number) for number in list_numbers(models)]


def list_numbers(models: Path) -> list[int]:
    """List the numbers of the versions in `models`, as `list_versions` does.

    Raises:
        OSError: the directory cannot be read.
    """
    try:
        with os.scandir(models) as entries:
            numbers = [int(entry.name) for entry in entries if _NUMBER.fullmatch(entry.name) and _may_be_version(entry)]
    except FileNotFoundError:
        return []
    return sorted(numbers, reverse=True)


def _may_be_version(entry: "os.DirEntry[str]") -> bool:
    try:
        if entry.is_dir():
            return True
        return entry.is_symlink() and not os.path.exists(entry.path)  # noqa: PTH110 - pathlib raises for a loop
    except OSError:
        return True


def take_snapshot(path: Path) -> VersionSnapshot:
    """Take a snapshot of a version's directory, without following links to directories; errors are part of it.

    A change of the content is noticed because a write changes the modification time, and a replacement the inode. The
    directory's own modification time would not do: a write to a file does not change it.
    """
    found: list[tuple[str, *tuple[int, ...]]] = []
    pending = [""]
    while pending and len(found) <= MAX_ENTRIES:
        directory = pending.pop()
        try:
            with os.scandir(path / directory) as entries:
                for entry in entries:
                    _add_entry(entry, f"{directory}{entry.name}", found, pending)
                    if len(found) > MAX_ENTRIES:
                        break
        except OSError as error:
            found.append((f"{directory}.", error.errno or 0))
    return VersionSnapshot(path, tuple(sorted(found)))


def _add_entry(
    entry: "os.DirEntry[str]", name: str, found: list[tuple[str, *tuple[int, ...]]], pending: list[str]
) -> None:
    try:
        metadata = _metadata(entry.stat(follow_symlinks=False))
    except FileNotFoundError:
        return  # removed meanwhile: the next snapshot has the rest
    if entry.is_symlink():
        metadata += _target_metadata(entry)
    elif entry.is_dir(follow_symlinks=False):
        pending.append(f"{name}/")
    found.append((name, *metadata))


def _target_metadata(link: "os.DirEntry[str]") -> tuple[int, ...]:
    try:
        return _metadata(link.stat())
    except OSError as error:
        return (error.errno or 0,)


def _metadata(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_mode, status.st_uid, status.st_gid)
