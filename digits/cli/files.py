"""The files that `digits predict` is given."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import click

from digits.pictures import Picture, from_bytes, group

SUFFIXES = {"avif", "bmp", "gif", "jpeg", "jpg", "png", "tif", "tiff", "webp"}
"""Files of a directory that are pictures; a file that is named itself may have any name."""
STDIN = "-"


def find_pictures(arguments: Iterable[str]) -> list[str]:
    """The names of all files, those of directories and their subdirectories in order; each once.

    Raises:
        click.UsageError: there is no such file, or there are no pictures.
    """
    found: dict[str, None] = {}
    for argument in arguments:
        path = Path(argument)
        if not argument:  # Path("") is the working directory
            raise click.UsageError("the name of a file is empty")
        if path.is_dir():
            found |= dict.fromkeys(_walk(path))
        elif argument == STDIN or path.exists():
            found[argument] = None
        else:
            raise click.UsageError(f"there is no file {argument}")
    if not found:
        raise click.UsageError(
            f"no pictures are given; of a directory these are taken: .{', .'.join(sorted(SUFFIXES))}"
        )
    return list(found)


def _walk(directory: Path) -> Iterator[str]:
    for parent, directories, names in os.walk(directory):
        directories[:] = sorted(name for name in directories if not name.startswith("."))
        prefix = str(Path(parent, "-"))[:-1]  # without "./"
        for name in sorted(names):
            is_picture = name.rpartition(".")[2].lower() in SUFFIXES and not name.startswith(".")
            if is_picture and not _is_special(prefix + name):
                yield prefix + name


def _is_special(name: str) -> bool:
    """Whether a file is a pipe, socket or device, which may have no end; a missing one is none."""
    path = Path(name)
    return path.exists() and not path.is_file()


def group_files(names: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield the names in groups of one request each, by the sizes of the files."""
    start = 0
    for count in group(map(_size, names)):
        yield names[start : start + count]
        start += count


def _size(name: str) -> int:
    try:
        return Path(name).stat().st_size if name != STDIN else 0
    except OSError:  # reading it reports the error
        return 0


def read_picture(name: str) -> Picture:
    """Read a file, or standard input.

    Raises:
        OSError: it cannot be read.
        ValueError: it is an array.
    """
    return from_bytes(sys.stdin.buffer.read() if name == STDIN else Path(name).read_bytes())
