"""Replace a file atomically: after a crash it has its old content or its new content, never a part of either."""

import os
from pathlib import Path


def atomic_write(path: Path, content: bytes | str) -> None:
    """Write `content` (a string as UTF-8) to a temporary file in the same directory and rename it to `path`.

    Raises:
        OSError: the file could not be written; `path` is unchanged and the temporary file is removed.
    """
    temporary = path.with_name(f"{path.name}.part")
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
