"""The pictures that the arguments of `digits predict` name."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import click

STDIN = "-"
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".avif", ".heic", ".heif"})
"""Files of a folder that are sent. A file that is named itself is always sent: the service looks at its first bytes."""


def find_pictures(arguments: Iterable[str]) -> list[str]:
    """Return the paths of all pictures, each once: files as they are named, those of a folder sorted by their path.

    Raises:
        UsageError: a path does not exist, or a folder has no picture.
    """
    return list(dict.fromkeys(path for argument in arguments for path in _expand(argument)))


def _expand(argument: str) -> Iterator[str]:
    path = Path(argument)
    if argument == STDIN or path.is_file():
        yield argument
    elif path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        if not found:
            raise click.UsageError(f"the folder {argument} has no pictures ({', '.join(sorted(SUFFIXES))})")
        yield from map(str, found)
    elif path.exists():  # a pipe, or what <(...) of a shell gives
        yield argument
    else:
        raise click.UsageError(f"there is no file or folder {argument}")
