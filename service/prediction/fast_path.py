"""A parser for bodies that are cheap enough for the event loop: a few images that need no normalisation.

Everything else, errors included, is left to the general parser, service.prediction.body_parser, in a thread. For
every body that this module reads, the general parser gives the same images, bit for bit.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from service.errors import RequestError
from service.imaging import minimal_png
from service.imaging.normal_form import has_normal_form
from service.prediction import array_formats, body_kind, body_parser, json_images, json_pixels
from service.prediction.base64_text import decode_base64
from service.prediction.body_kind import BodyKind
from service.settings import Settings

MAX_IMAGES = 16
"""Maximum images of a body on the fast path: more would block the event loop for too long."""
MAX_BODY_BYTES = 1 << 16
"""Maximum bytes of a body on the fast path."""

_FORM_TYPE = re.compile(rb"multipart/form-data; ?boundary=([A-Za-z0-9'()+_,./:=?-]{1,70})")
_NAME = rb'"[^"\\%\x00-\x1f\x7f-\xff]*"'  # names with escapes are left to the general parser
_PART = re.compile(
    rb"Content-Disposition: form-data; name=%b; filename=%b(?:\r\nContent-Type: image/[a-z+.-]+)?" % (_NAME, _NAME)
)


def try_read(body: bytes, content_type: bytes, settings: Settings) -> bytes | None:
    """Parse a body to N x 784 bytes, N from 1 to MAX_IMAGES; None: use the general parser.

    Only for requests whose options have `allows_fast_path`. `content_type` is the raw value of the header.
    """
    if not 0 < len(body) <= MAX_BODY_BYTES:
        return None
    if body.startswith(b"\x89PNG"):  # whatever its type: the first bytes decide
        return _read_image(body)
    if form := _FORM_TYPE.fullmatch(content_type):
        return _read_form(body, b"--" + form[1], settings)
    if read := _READERS.get(content_type):
        try:
            return read(body, settings)
        except RequestError:
            return None  # the general parser raises the error again, with the number of the picture
    return None


def _read_image(file: bytes) -> bytes | None:
    decoded = minimal_png.decode_minimal_png(file)
    return decoded[0] if decoded is not None and has_normal_form(*decoded) else None


def _read_form(body: bytes, boundary: bytes, settings: Settings) -> bytes | None:
    """Parse a form of files whose parts have the headers that curl, browsers and HTTP libraries send."""
    opening, delimiter, closing = boundary + b"\r\n", b"\r\n" + boundary + b"\r\n", b"\r\n" + boundary + b"--\r\n"
    if not body.startswith(opening) or not body.endswith(closing):
        return None
    parts = body[len(opening) : -len(closing)].split(delimiter)
    if len(parts) > min(MAX_IMAGES, settings.max_pictures) or body.count(boundary) != len(parts) + 1:
        return None
    return _join(_read_part(*part.partition(b"\r\n\r\n")) for part in parts)


def _read_part(head: bytes, _: bytes, file: bytes) -> bytes | None:
    return _read_image(file) if _PART.fullmatch(head) else None


def _read_json(body: bytes, settings: Settings) -> bytes | None:
    images = json_images.parse_json_images(body, settings)
    return read_json_images(images, body_parser.has_contrast, booleans=json_images.may_have_booleans(body))


def read_json_images(images: Sequence[Any], is_readable: Callable[[bytes], bool], *, booleans: bool) -> bytes | None:
    """Parse the images of a JSON document to N x 784 bytes, N from 1 to MAX_IMAGES; None: use the general parser.

    Args:
        images: JSON values, each base64 of a picture or pixels.
        is_readable: whether pixels, 784 bytes, are read rather than rejected.
        booleans: whether the document may contain true or false.

    Raises:
        BadRequest: pixels or base64 cannot be read.
    """
    if len(images) > MAX_IMAGES:
        return None
    return _join(_read_json_image(image, is_readable, booleans=booleans) for image in images)


def _read_json_image(image: object, is_readable: Callable[[bytes], bool], *, booleans: bool) -> bytes | None:
    if isinstance(image, str):
        return _read_image(decode_base64(image))
    if not isinstance(image, list):
        return None
    pixels = json_pixels.parse_pixels(image, booleans=booleans)
    if pixels.dtype != np.uint8:  # fractions are scaled by the pixels of the whole request
        return None
    packed = pixels.tobytes()
    return packed if is_readable(packed) else None


def _read_bulk(body: bytes, settings: Settings) -> bytes | None:
    if body_kind.detect_kind(body, "application/octet-stream") is not BodyKind.ARRAY:
        return None
    batch = array_formats.parse_bulk(body, settings.max_pictures)
    return batch.tobytes() if len(batch) <= MAX_IMAGES else None


def _join(images: Iterable[bytes | None]) -> bytes | None:
    """Concatenate the images; None as soon as one of them is None."""
    joined = []
    for image in images:
        if image is None:
            return None
        joined.append(image)
    return b"".join(joined)


_READERS: dict[bytes, Callable[[bytes, Settings], bytes | None]] = {
    b"application/json": _read_json,
    b"application/octet-stream": _read_bulk,
}
