"""Writes a file so that readers see the old content or the new, never a part of it."""

import os
import secrets
from pathlib import Path


def atomic_write(path: Path, content: bytes) -> None:
    """Replace the content of a file, or create it.

    The content is written to `.tmp-...` in the same directory, flushed to disk, and renamed. After a crash such a file
    may remain; `path` then has its old content. No such name ends like `path`, so that a glob by suffix skips it.

    Raises:
        OSError: the file cannot be written; `path` has its old content, and no temporary file remains.
    """
    temporary = path.with_name(f".tmp-{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
