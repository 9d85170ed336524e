"""Pictures in a directory whose folders are named after what is on them: DIR/7/photo.jpg, DIR/2024/page.png.

The layout of `keras.utils.image_dataset_from_directory`. Label folders may lie at any depth, and have folders of their
own: DIR/single/7/ann/1.png. A label of several digits is a row, `_` separates the rows of a page: DIR/9216_8388/.
"""

import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from training.errors import DataError
from training.read_file import read_regular_file

MAX_FILE_BYTES = 1 << 28
"""Of a picture; the service's own limit is lower."""
UNKNOWN_KIND = "other"
PILLOW_ERRORS = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)
"""Errors of Pillow for a file that is no picture, or is damaged."""

_LABEL = re.compile(r"[0-9]+(_[0-9]+)*")
_HIDDEN = {"thumbs.db", "desktop.ini"}  # made by Windows, which hides them by an attribute
_KINDS = {"MPO": "JPEG"}  # a JPEG of a phone, with a second picture behind the first


@dataclass(frozen=True)
class LabelledPicture:
    """A file and the numbers on it, one for each row from top to bottom; `folder` and `name` are for people."""

    path: Path
    label: tuple[str, ...]
    folder: str
    name: str

    @property
    def is_row(self) -> bool:
        """Whether the label has several digits."""
        return self.label != (self.label[0][0],)

    def read(self) -> bytes:
        """The content of the file.

        Raises:
            OSError: it cannot be read, is no regular file or has more than 256 MiB.
        """
        return read_regular_file(self.path, MAX_FILE_BYTES)


def find_pictures(directory: Path) -> list[LabelledPicture]:
    """All files in label folders of `directory`, ordered by path; hidden files are left out.

    Raises:
        DataError: there is no such file, or one label folder lies in another.
        OSError: a directory cannot be read.
    """
    if not directory.is_dir():
        raise DataError(f"{directory} is no directory; expected: one with a folder for each label, such as 7 or 2024")
    pictures = [_label(path, directory) for path in _walk(directory)]
    found = sorted((picture for picture in pictures if picture), key=lambda picture: picture.path)
    if not found:
        raise DataError(
            f"{directory} has no file in a folder that is named after a label, such as {directory.name}/7/photo.jpg, "
            f"or {directory.name}/2024/photo.jpg for a row"
        )
    return found


def identify_kind(content: bytes) -> str:
    """The format of a file by its content, as PNG, JPEG, GIF; with `, 28x28` if it has this size; else `other`.

    Warnings of Pillow are the caller's: it warns of large pictures.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            kind = _KINDS.get(image.format or "", image.format or UNKNOWN_KIND)
            return f"{kind}, 28x28" if image.size == (28, 28) else kind
    except PILLOW_ERRORS:
        return UNKNOWN_KIND


def printable(text: str) -> str:
    """The text in one line that can be printed and encoded: other characters are escaped."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def _label(path: Path, directory: Path) -> LabelledPicture | None:
    """The picture at `path`; None if it lies in no label folder."""
    parts = path.relative_to(directory).parts
    labels = [depth for depth, part in enumerate(parts[:-1], 1) if _LABEL.fullmatch(part)]
    if not labels:
        return None
    outer = "/".join(parts[: labels[0]])
    if len(labels) > 1:
        inner = "/".join(parts[: labels[1]])
        raise DataError(f"{directory}: the folder {inner} lies in {outer}, and both are labels; rename one of them")
    return LabelledPicture(path, tuple(parts[labels[0] - 1].split("_")), printable(outer), printable("/".join(parts)))


def _walk(directory: Path, ancestors: tuple[str, ...] = ()) -> Iterator[Path]:
    """All files below a directory that are not hidden; links to directories are followed, unless they form a loop."""
    real = os.path.realpath(directory)
    if real in ancestors:
        return
    for entry in directory.iterdir():
        if entry.name.startswith(".") or entry.name.lower() in _HIDDEN:
            continue
        if entry.is_dir():
            yield from _walk(entry, (*ancestors, real))
        else:
            yield entry
