"""What a caller gives as a picture, to the bytes that are sent. NumPy is imported only for arrays."""

import os
import secrets
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

SIGNATURES = {
    b"\x89PNG": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
    b"BM": "image/bmp",
    b"II*\0": "image/tiff",
    b"MM\0*": "image/tiff",
    b"RIFF": "image/webp",
}
UNKNOWN = "image/x-unknown"
"""Media type of a file without one of these signatures: the service then never reads it as pixels."""
ARRAY_SIGNATURES = (b"\x93NUMPY", b"\0\0\x08\x03")
RAW = "application/octet-stream"
MAX_BATCH_PICTURES = 16
MAX_BATCH_BYTES = 60_000
"""Limits of a request with several pictures. The service parses up to 16 plain images in 64 KiB in its event loop;
larger requests are parsed in other processes, which takes longer than several requests."""
MAX_ARRAY_IMAGES = 10_000
"""Maximum images of one request with an array: the service's default limit."""


@runtime_checkable
class SupportsArray(Protocol):
    """An array of NumPy, or an object that becomes one."""

    def __array__(self) -> Any:
        """Return the array."""


@runtime_checkable
class SupportsSave(Protocol):
    """An image of Pillow."""

    @property
    def mode(self) -> str:
        """The pixel format."""

    def save(self, fp: Any, format: str | None = None, **params: Any) -> None:  # noqa: A002 - as in Pillow
        """Write the image in a format."""

    def convert(self, mode: str) -> Any:
        """Return the image with another pixel format."""


PictureSource: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | SupportsArray | SupportsSave
"""A path, the bytes of a file, an array uint8 [28, 28], [H, W] or [H, W, 3], or an image of Pillow."""


class Picture(NamedTuple):
    """The bytes of a picture, and their media type."""

    content: bytes
    content_type: str


def load_picture(source: PictureSource) -> Picture:
    """Load a picture.

    An array [28, 28] is sent as it is: 0 background to 255 ink. Every other array is a picture like a file.

    Raises:
        OSError: the file cannot be read.
        TypeError: the source is of another type.
        ValueError: the array has another shape, or other numbers.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        return from_bytes(bytes(source))
    if isinstance(source, str | os.PathLike):
        return from_bytes(Path(source).read_bytes())
    if isinstance(source, SupportsSave):  # Pillow's images have __array_interface__ as well
        return _from_pillow(source)
    if isinstance(source, SupportsArray):
        return _from_array(source)
    raise TypeError(
        f"the picture is a {type(source).__name__}; expected: a path, bytes, an array or an image of Pillow"
    )


def from_bytes(content: bytes) -> Picture:
    """Name the media type of a file by its first bytes.

    Raises:
        ValueError: the file is an array of many images.
    """
    for signature, content_type in SIGNATURES.items():
        if content.startswith(signature):
            return Picture(content, content_type)
    if content.startswith(ARRAY_SIGNATURES):
        raise ValueError("the file is an array of images, not a picture; load it, and call predict_array")
    return Picture(content, UNKNOWN)


def _from_pillow(image: SupportsSave) -> Picture:
    plain = image if image.mode in {"1", "L", "LA", "P", "RGB", "RGBA", "I;16"} else image.convert("RGB")
    buffer = BytesIO()
    plain.save(buffer, "PNG", compress_level=1)
    return Picture(buffer.getvalue(), "image/png")


def _from_array(source: SupportsArray) -> Picture:
    pixels = to_uint8(source)
    if pixels.shape == (28, 28):
        return Picture(pixels.tobytes(), RAW)
    if pixels.size and (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)):
        return Picture(encode_png(pixels), "image/png")
    raise ValueError(
        f"the array has the shape {pixels.shape}; expected: (28, 28), (height, width) or (height, width, 3)"
    )


def to_uint8(source: Any) -> Any:
    """Convert an array to uint8: integers from 0 to 255 as they are, floats from 0 to 1 times 255.

    Raises:
        ValueError: a number is outside of these ranges, or none.
    """
    import numpy as np  # noqa: PLC0415 - the client runs without NumPy

    array = np.asarray(source)
    if array.dtype == np.uint8 or not array.size:
        return np.ascontiguousarray(array, np.uint8)
    if array.dtype.kind not in "buif":
        raise ValueError(f"the array has the type {array.dtype}; expected: uint8")
    minimum, maximum = float(array.min()), float(array.max())
    limit = 1 if array.dtype.kind in "bf" else 255
    if not 0 <= minimum <= maximum <= limit:
        raise ValueError(
            f"the array has the type {array.dtype} and numbers from {minimum:g} to {maximum:g}; expected: uint8, other "
            "integers from 0 to 255, or floats from 0 to 1"
        )
    scaled = array if limit == 255 else np.rint(array.astype(np.float64) * 255)
    return np.ascontiguousarray(scaled, np.uint8)


def to_images(source: Any) -> Any:
    """Convert an array to images, uint8 [N, 28, 28].

    Raises:
        ValueError: the shape is not (N, 28, 28), (N, 28, 28, 1) or (N, 784) with N of at least 1, or `to_uint8` fails.
    """
    images = to_uint8(source)
    if images.ndim < 2 or images.shape[1:] not in {(28, 28), (28, 28, 1), (784,)} or not len(images):
        raise ValueError(f"the array has the shape {images.shape}; expected: (N, 28, 28) or (N, 784), N from 1")
    return images.reshape(-1, 28, 28)


def encode_png(pixels: Any) -> bytes:
    """Encode uint8 [H, W] or [H, W, 3] as a PNG file (https://www.w3.org/TR/png-3/)."""
    (height, width), colour_type = pixels.shape[:2], 2 if pixels.ndim == 3 else 0
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">2I5B", width, height, 8, colour_type, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def encode_form(pictures: Sequence[Picture]) -> tuple[bytes, str]:
    """Encode pictures as multipart/form-data (RFC 7578); return the body and its media type."""
    boundary = secrets.token_hex(16)
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{number}"; filename="{number}"\r\n'
        f"Content-Type: {picture.content_type}\r\n\r\n".encode()
        + picture.content
        for number, picture in enumerate(pictures, 1)
    ]
    return b"\r\n".join([*parts, f"--{boundary}--\r\n".encode()]), f"multipart/form-data; boundary={boundary}"


def group(sizes: Iterable[int]) -> Iterator[int]:
    """Yield how many of the next pictures go into one request, given the size of each in bytes."""
    count = total = 0
    for size in sizes:
        if count and (count == MAX_BATCH_PICTURES or total + size > MAX_BATCH_BYTES):
            yield count
            count = total = 0
        count += 1
        total += size
    if count:
        yield count


def batches(pictures: Iterable[Picture]) -> Iterator[list[Picture]]:
    """Yield the pictures in groups of one request each; an array [28, 28] is one alone."""
    batch: list[Picture] = []
    total = 0
    for picture in pictures:
        is_full = len(batch) == MAX_BATCH_PICTURES or total + len(picture.content) > MAX_BATCH_BYTES
        if batch and (is_full or RAW in {picture.content_type, batch[0].content_type}):
            yield batch
            batch, total = [], 0
        batch.append(picture)
        total += len(picture.content)
    if batch:
        yield batch
