"""Read files that anything may have happened to: bounded in size, never blocking, errors of few kinds."""

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

MAX_JSON_BYTES = 1 << 24


def read_regular_file(path: Path, max_bytes: int) -> bytes:
    """The content of a file.

    Raises:
        OSError: it cannot be read, is larger than `max_bytes`, or is no regular file: a FIFO would block for ever.
    """
    with open(path, "rb", opener=_open_without_waiting) as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "Not a regular file", str(path))
        if status.st_size > max_bytes:
            raise OSError(errno.EFBIG, f"File of {status.st_size} bytes; allowed are {max_bytes}", str(path))
        return stream.read(max_bytes)


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def read_json(path: Path) -> Any:
    """The content of a JSON file of at most 16 MiB.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not JSON in UTF-8, or nested too deeply.
    """
    try:
        return json.loads(read_regular_file(path, MAX_JSON_BYTES).decode())
    except RecursionError:
        raise ValueError("its JSON is nested too deeply") from None
