"""The metric files of a worker's slot: written by its process only, read by every worker for `/metrics`.

The values are in memory. `SlotFiles.write` copies them into the files, ten times a second, with `pwrite`, which raises
OSError on a full disk. A write to a memory-mapped file, as prometheus_client has it, ends the process with SIGBUS then,
and also after the file was truncated. The blocks of the files are allocated at the start.

A file has prometheus_client's format: the number of bytes in use as int32, padded to 8 bytes, then entries. An entry
is the length of the key as int32, the key in UTF-8, spaces up to a multiple of 8 bytes, and value and timestamp as
float64.
"""

import errno
import logging
import math
import os
import re
import stat
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

KIND_BYTES = {"counter": 1 << 17, "histogram": 1 << 17, "gauge_livesum": 1 << 12, "gauge_livemax": 1 << 16}
"""Bytes that are allocated for each file of a slot, by its kind. All routes with twelve statuses each take 100 KB of
counters and 55 KB of histograms; 64 KiB of gauges are enough for 300 versions."""
SLOT_BYTES = sum(KIND_BYTES.values())
MAX_FILE_BYTES = 1 << 26  # a foreign file may be of any size

_FILE_NAME = re.compile(r"(counter|histogram|gauge_livesum|gauge_livemax)_(\d{1,9})\.db")
_HEADER, _LENGTH, _VALUE = struct.Struct("=ixxxx"), struct.Struct("=i"), struct.Struct("=d")
_NOT_SUPPORTED = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}
_logger = logging.getLogger(__name__)


class DamagedFile(ValueError):
    """A file that is no metric file, or not a complete one."""


class Entry(NamedTuple):
    """A sample of a file: its key, which is JSON, and its value."""

    key: str
    value: float


class SlotFile:
    """The entries of one file. Not thread-safe; `SlotFiles` has the lock."""

    def __init__(self, path: Path, min_bytes: int) -> None:
        """Continue with the entries of an earlier process; a file that cannot be read is replaced.

        Args:
            path: the file; it need not exist.
            min_bytes: bytes to allocate, even if the entries need fewer.
        """
        self.path, self.min_bytes, self.changed = path, min_bytes, True
        self._path = str(path)
        self.buffer = bytearray(_HEADER.size)
        self._positions: dict[str, int] = {}
        self._file, self._identity = -1, (0, 0)
        self._allocated = 0
        self._visible = _HEADER.size  # the bytes of the buffer that the file has room for
        for key, value in _entries_of_an_earlier_process(path):
            _VALUE.pack_into(self.buffer, self.position(key), value)

    def position(self, key: str) -> int:
        """The position of a value in the buffer; a new key begins with 0."""
        if key not in self._positions:
            encoded = key.encode()
            padding = 8 - (len(encoded) + _LENGTH.size) % 8
            self.buffer += _LENGTH.pack(len(encoded)) + encoded + b" " * padding + bytes(2 * _VALUE.size)
            self._positions[key] = len(self.buffer) - 2 * _VALUE.size
            self.changed = True
        return self._positions[key]

    def entries(self) -> list[Entry]:
        """All entries, those too that the file has no room for."""
        return [Entry(key, _VALUE.unpack_from(self.buffer, position)[0]) for key, position in self._positions.items()]

    def prepare(self) -> bytes:
        """Make room in the file, and return what is to be written; empty if nothing has changed.

        Raises:
            OSError: the file cannot be opened or enlarged. What was visible can still be written.
        """
        if not self._is_in_place():
            self._open()
        if self._visible < len(self.buffer):
            self._enlarge()
        return self.visible_content() if self.changed else b""

    def visible_content(self) -> bytes:
        """The header, and the entries that the file has room for."""
        content = self.buffer[: self._visible]
        _HEADER.pack_into(content, 0, self._visible)
        return bytes(content)

    def write(self, content: bytes) -> None:
        """Write the content; the header last, so that no reader finds an entry before it is there."""
        if content and self._file >= 0:
            written = os.pwrite(self._file, content[_HEADER.size :], _HEADER.size)
            if written < len(content) - _HEADER.size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
            os.pwrite(self._file, content[: _HEADER.size], 0)

    def close(self) -> None:
        """Close the file; a later write opens it again."""
        if self._file >= 0:
            os.close(self._file)
        self._file, self._identity = -1, (0, 0)

    def _is_in_place(self) -> bool:
        """Whether the open file is still the one in the directory, and has not been truncated."""
        try:
            status = os.stat(self._path, follow_symlinks=False)  # noqa: PTH116 - ten times a second
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self._identity and status.st_size >= self._allocated

    def _open(self) -> None:
        self.close()
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # it may have been removed
        self._file = _open_regular(self.path, os.O_RDWR | os.O_CREAT)
        status = os.fstat(self._file)
        self._identity = (status.st_dev, status.st_ino)
        self._allocated, self._visible, self.changed = 0, _HEADER.size, True
        self._allocate(max(self.min_bytes, len(self.buffer)))

    def _enlarge(self) -> None:
        """Make the whole buffer visible, or as many entries as there is space for."""
        visible = self._visible
        try:
            if len(self.buffer) > self._allocated:
                self._allocate(max(len(self.buffer), 2 * self._allocated))
            visible = len(self.buffer)
        except OSError:
            ends = [position + 2 * _VALUE.size for position in self._positions.values()]
            visible = max((end for end in ends if end <= self._allocated), default=_HEADER.size)
            raise
        finally:
            self.changed |= visible > self._visible
            self._visible = visible

    def _allocate(self, size: int) -> None:
        allocate(self._file, size)
        self._allocated = size


class SlotFiles:
    """The files of one slot, one for each kind of metric. Every method may be called from several threads at once."""

    def __init__(self, directory: Path, slot: int) -> None:
        """Open or create the files `directory/KIND_SLOT.db`; if that fails, the values stay in memory."""
        self.lock = threading.Lock()
        self._write_lock = threading.Lock()
        self._logged = False
        self._files = {kind: SlotFile(directory / f"{kind}_{slot}.db", size) for kind, size in KIND_BYTES.items()}
        self.write()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()

    def add(self, kind: str, key: str) -> tuple[SlotFile, int]:
        """The file of a kind, and the position in its buffer of the value of this key."""
        with self.lock:
            return self._files[kind], self._files[kind].position(key)

    def entries(self) -> dict[Path, list[Entry]]:
        """The entries of each file, as they are in memory."""
        with self.lock:
            return {file.path: file.entries() for file in self._files.values()}

    def write(self) -> None:
        """Copy changed values into the files; what cannot be written stays in memory, and is tried again."""
        with self._write_lock:
            for file in self._files.values():
                with self.lock:
                    try:
                        content = file.prepare()
                    except OSError as error:
                        self._log_once(file, error)
                        content = file.visible_content()
                    file.changed = False
                try:
                    file.write(content)
                except OSError as error:
                    file.changed = True
                    self._log_once(file, error)

    def _log_once(self, file: SlotFile, error: OSError) -> None:
        if not self._logged:
            self._logged = True
            reason = error.strerror or error
            _logger.warning("%s cannot be written: %s; other workers do not see its samples", file.path, reason)


def create(directory: Path, slots: int) -> None:
    """Remove the metric files of an earlier run, then create and allocate those of the slots 0 to `slots` - 1.

    Raises:
        OSError: a file cannot be removed, created or allocated, for example because the disk is full.
    """
    for path in directory.iterdir():
        if kind_of(path) and not path.is_dir():
            path.unlink()
    for slot in range(slots):
        for kind, size in KIND_BYTES.items():
            file = _open_regular(directory / f"{kind}_{slot}.db", os.O_RDWR | os.O_CREAT)
            try:
                allocate(file, size)
            finally:
                os.close(file)


def check_space(directory: Path, slots: int) -> None:
    """Allocate the space of this many slots, and free it.

    Raises:
        OSError: a file cannot be created in the directory, or the space cannot be allocated.
    """
    path = directory / f".space-{os.getpid()}"
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        allocate(file, slots * SLOT_BYTES)
    finally:
        os.close(file)
        path.unlink()


def clear_live_gauges(directory: Path, slot: int) -> None:
    """Empty the gauges of a slot whose process has ended. The files stay allocated, for the next process."""
    for path in directory.glob(f"gauge_live*_{slot}.db"):
        try:
            file = _open_regular(path, os.O_RDWR)
            try:
                os.pwrite(file, _HEADER.pack(_HEADER.size), 0)
            finally:
                os.close(file)
        except OSError as error:
            _logger.warning("%s has the gauges of a worker that has ended: %s", path, error.strerror or error)


def read(path: Path) -> list[Entry]:
    """The entries of a metric file.

    Raises:
        DamagedFile: it is no metric file, or not a complete one.
        OSError: it cannot be read, or is not a regular file.
    """
    file = _open_regular(path, os.O_RDONLY)
    with os.fdopen(file, "rb") as stream:
        header = stream.read(_HEADER.size)
        if not header.strip(b"\0"):
            return []  # allocated, and not in use yet
        if len(header) < _HEADER.size:
            raise DamagedFile(f"it has {len(header)} bytes; its header has {_HEADER.size}")
        (used,) = _HEADER.unpack(header)
        if not _HEADER.size <= used <= MAX_FILE_BYTES:
            raise DamagedFile(f"its header states {used} bytes; allowed: {_HEADER.size} to {MAX_FILE_BYTES}")
        content = header + stream.read(used - _HEADER.size)
    if len(content) < used:
        raise DamagedFile(f"it has {len(content)} bytes; its header states {used}")
    return list(_parse(content))


def kind_of(path: Path) -> tuple[str, int] | None:
    """Kind and slot of a metric file, by its name; None for any other file."""
    match = _FILE_NAME.fullmatch(path.name)
    return (match[1], int(match[2])) if match else None


def allocate(file: int, size: int) -> None:
    """Allocate the first `size` bytes of an open file, without changing its content.

    Raises:
        OSError: there is no space.
    """
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file, 0, size)
        except OSError as error:
            if error.errno not in _NOT_SUPPORTED:
                raise
        else:
            return
    end = os.fstat(file).st_size  # macOS, and file systems that cannot allocate
    if end < size and os.pwrite(file, bytes(size - end), end) < size - end:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _entries_of_an_earlier_process(path: Path) -> list[Entry]:
    try:
        return read(path)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, DamagedFile) as error:
        _logger.warning("%s is damaged, its counts begin at 0: %s", path, error)
        with suppress(OSError):
            path.unlink()
        return []


def _open_regular(path: Path, flags: int) -> int:
    # Without O_NONBLOCK, a FIFO of that name would block the process.
    file = os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(errno.EINVAL, "Not a regular file", str(path))
    return file


def _parse(content: bytes) -> Iterator[Entry]:
    position = _HEADER.size
    while position < len(content):
        (length,) = _LENGTH.unpack_from(content, position) if position + _LENGTH.size <= len(content) else (-1,)
        padded = _LENGTH.size + length + 8 - (length + _LENGTH.size) % 8
        if length < 0 or position + padded + 2 * _VALUE.size > len(content):
            raise DamagedFile(f"the entry at byte {position} extends past the {len(content)} bytes in use")
        key = content[position + _LENGTH.size : position + _LENGTH.size + length]
        try:
            decoded = key.decode()
        except UnicodeDecodeError:
            raise DamagedFile(f"the key at byte {position} is not UTF-8") from None
        (value,) = _VALUE.unpack_from(content, position + padded)
        if not math.isfinite(value):
            raise DamagedFile(f"the value of the entry at byte {position} is {value}")
        yield Entry(decoded, value)
        position += padded + 2 * _VALUE.size
