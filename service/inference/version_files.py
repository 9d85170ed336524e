"""Files of a version, which may be anything: a FIFO, a device, a loop of links, a file that never ends.

Only regular files are read, up to a limit, and without waiting for another process.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

CHUNK_BYTES = 1 << 20
MAX_FILE_BYTES = 1 << 30
"""Maximum size of a file of a version; one of 1 GiB takes about a second to hash."""

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


class UnusableFile(Exception):
    """A file that is not regular or is over its limit; the message is a clause without the file's name."""


def read_file(path: Path, max_bytes: int = MAX_FILE_BYTES) -> bytes:
    """Read a regular file.

    Raises:
        UnusableFile: it is no regular file, or has more than `max_bytes`.
        OSError: it is missing or cannot be read.
    """
    return b"".join(_chunks(path, max_bytes))


def hash_file(path: Path, max_bytes: int = MAX_FILE_BYTES) -> str:
    """Compute the SHA-256 of a regular file, in hexadecimal.

    Raises:
        UnusableFile: it is no regular file, or has more than `max_bytes`.
        OSError: it is missing or cannot be read.
    """
    digest = hashlib.sha256()
    for chunk in _chunks(path, max_bytes):
        digest.update(chunk)
    return digest.hexdigest()


def measure_tree(directory: Path, max_entries: int, max_bytes: int) -> int:
    """The size of all files of a directory in bytes: regular files and directories only, links followed.

    Raises:
        UnusableFile: it has something else, or more.
        OSError: it cannot be read.
    """
    entries = total = 0
    for parent, directories, files in os.walk(directory, followlinks=True, onerror=_raise):
        entries += len(directories) + len(files)
        if entries > max_entries:  # a link to a directory above also ends here
            raise UnusableFile(f"has more than {max_entries} files and directories")
        for name in files:
            status = Path(parent, name).stat()
            if not stat.S_ISREG(status.st_mode):
                raise UnusableFile(f"has {name!a}, which {_describe(status)}")
            total += status.st_size
    if total > max_bytes:
        raise UnusableFile(_too_large(total, max_bytes))
    return total


def _raise(error: OSError) -> None:
    raise error


def _chunks(path: Path, max_bytes: int) -> Iterator[bytes]:
    _check(path.stat(), max_bytes)  # opening a device may already have an effect
    # Without O_NONBLOCK, opening a FIFO that has replaced the file meanwhile waits for a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _check(os.fstat(descriptor), max_bytes)
        received = 0
        while chunk := os.read(descriptor, CHUNK_BYTES):
            received += len(chunk)
            if received > max_bytes:  # it grows while it is read
                raise UnusableFile(_too_large(received, max_bytes))
            yield chunk
    finally:
        os.close(descriptor)


def _check(status: os.stat_result, max_bytes: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UnusableFile(_describe(status))
    if status.st_size > max_bytes:
        raise UnusableFile(_too_large(status.st_size, max_bytes))


def _describe(status: os.stat_result) -> str:
    return f"is {_KINDS.get(stat.S_IFMT(status.st_mode), 'of an unknown kind')}, not a regular file"


def _too_large(size: int, max_bytes: int) -> str:
    return f"has {size} bytes; {max_bytes} are allowed"


def is_missing(error: OSError) -> bool:
    """Whether the error means that there is no such file."""
    return error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG}
