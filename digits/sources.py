"""Pictures as the caller has them, made into bytes to send: a path, bytes, a file, an array or a Pillow image.

NumPy and Pillow are never imported: an array is told by its `__array_interface__`, an image by its methods.
"""

import io
import os
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeAlias, runtime_checkable

from digits.errors import InvalidSource
from digits.png import COLOUR_TYPES, encode_png

SIDE = 28
PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})
"""Pillow's modes that a PNG file can hold; others, CMYK for example, are converted to RGB."""


@runtime_checkable
class Array(Protocol):
    """A NumPy array, or what behaves like one."""

    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102

    @property
    def dtype(self) -> Any: ...  # noqa: D102

    def tobytes(self) -> bytes: ...  # noqa: D102


@runtime_checkable
class Image(Protocol):
    """An image of Pillow."""

    @property
    def mode(self) -> str: ...  # noqa: D102

    def convert(self, mode: str, /) -> Any: ...  # noqa: D102

    def save(self, fp: BinaryIO, /, *, format: str) -> None: ...  # noqa: A002, D102


Source: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Array | Image
"""A picture: the path of a file (str is always a path), the content of a file, an open binary file, an array uint8
[height, width], [height, width, 3] or [height, width, 4], or an image of Pillow."""


def read_source(source: Source) -> bytes:
    """Return the bytes of a picture's file.

    Raises:
        InvalidSource: the file cannot be read, or the source is of another kind, or an array of another form.
    """
    if isinstance(source, bytes):
        return source
    if isinstance(source, (bytearray, memoryview)):
        return bytes(source)
    if isinstance(source, (str, os.PathLike)):
        return _read_file(Path(source))
    if isinstance(source, Array):
        return _encode_array(source)
    if isinstance(source, Image):
        return _encode_image(source)
    if hasattr(source, "read"):
        return _check_bytes(source.read())
    raise InvalidSource(f"a {type(source).__name__} is no picture; expected: a path, bytes, a file, an array, an image")


def describe_source(source: Source, number: int) -> str:
    """Return the name of a picture for a person: its path, or its number in a sequence, from 1."""
    return os.fspath(source) if isinstance(source, (str, os.PathLike)) else f"picture {number}"


def image_bytes(images: Array) -> bytes:
    """Return images in MNIST's form as N x 784 bytes.

    Args:
        images: uint8 [N, 28, 28], [N, 784] or [N, 28, 28, 1], N >= 1; 0 is background, 255 is ink.

    Raises:
        InvalidSource: the array has another shape or type.
    """
    _check_uint8(images)
    shape = images.shape
    if shape[1:] not in ((SIDE, SIDE), (SIDE * SIDE,), (SIDE, SIDE, 1)) or not shape[0]:
        raise InvalidSource(f"the array has the shape {shape}; expected: (N, 28, 28), (N, 784) or (N, 28, 28, 1)")
    return images.tobytes()


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidSource(f"{path} cannot be read: {error.strerror or error}") from None


def _encode_array(array: Array) -> bytes:
    _check_uint8(array)
    height, width, channels = (*array.shape, 1)[:3] if len(array.shape) in (2, 3) else (0, 0, 0)
    if not height or not width or channels not in COLOUR_TYPES:
        raise InvalidSource(
            f"the array has the shape {array.shape}; expected for one picture: (height, width), with 3 or 4 channels "
            "(height, width, 3); predict_images takes many images (N, 28, 28)"
        )
    return encode_png(array.tobytes(), width, height, channels)


def _check_uint8(array: Array) -> None:
    if str(array.dtype) != "uint8":
        raise InvalidSource(
            f"the array has the type {array.dtype}; expected: uint8 from 0 to 255, for values from 0 to 1 "
            "(array * 255).round().astype('uint8')"
        )


def _encode_image(image: Image) -> bytes:
    buffer = io.BytesIO()
    (image if image.mode in PNG_MODES else image.convert("RGB")).save(buffer, format="PNG")
    return buffer.getvalue()


def _check_bytes(content: object) -> bytes:
    if not isinstance(content, bytes):
        raise InvalidSource("the file gives text; open it with mode 'rb'")
    return content
