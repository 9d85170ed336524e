"""A request body -> a batch uint8 [N, 28, 28], by its content type, and which picture each image is from.

    multipart/form-data          file parts: pictures
    image/*                      one picture
    application/json             {"images": [28x28 or 784 numbers 0 to 255, or base64 of a picture, ...]},
                                 or "instances", as TensorFlow Serving's clients call them
    application/octet-stream     an IDX3 file, a .npy array, or N x 784 bytes as they are
    application/x-npy            a .npy array

Pictures and JSON images are normalised. The bulk forms are images by contract: they pass as they are, unless
they are to be normalised always, or split.
"""

import binascii
from base64 import b64decode
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import IO, Any, NamedTuple

import numpy as np
import orjson
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import MultiPartParser
from werkzeug.http import parse_options_header

from service.errors import BadRequest, PayloadTooLarge, RequestError, UnsupportedMediaType
from service.imaging import reader
from service.imaging.reader import DEFAULT_OPTIONS, ExtractedDigit, NormaliseOptions
from service.prediction import array_formats
from service.settings import Settings
from service.types import IMAGE_PIXELS, IMAGE_SIDE, Batch, DigitImage

ParseEntry = Callable[[Any], list[ExtractedDigit]]

_IMAGE_KEYS = ({"images"}, {"instances"})

SUPPORTED_TYPES = "multipart/form-data, image/*, application/json, application/octet-stream, application/x-npy"


class ParsedBody(NamedTuple):
    """What a body holds.

    images uint8 [N, 28, 28]. places: for each image the number of its picture, from 1, and where on it the digit
    was; None for a bulk body that passed as it is.
    """

    images: Batch
    sources: Sequence[tuple[int, tuple[int, int, int, int]]] | None = None


def check_body_size(length: int, settings: Settings, *, at_least: bool = False) -> None:
    """Let a body of so many bytes pass; `so_far`: it may have more.

    Raises:
        TooLarge: it is over the limit.
    """
    if length > settings.max_body_bytes:
        found = f"more than {settings.max_body_bytes}" if at_least else str(length)
        raise PayloadTooLarge(f"the body has {found} bytes; {settings.max_body_bytes} are allowed")


def body_too_large(settings: Settings) -> PayloadTooLarge:
    """What is wrong with a body that werkzeug stopped reading, so nobody knows how long it is."""
    return PayloadTooLarge(f"the body has more bytes; {settings.max_body_bytes} are allowed")


def parse_body(
    body: bytes, content_type: str, settings: Settings, options: NormaliseOptions = DEFAULT_OPTIONS
) -> ParsedBody:
    """The images in a request body, N from 1 to `settings.max_pictures`.

    Raises:
        RequestError: which of its kinds, and why; of many pictures, it names the bad one.
    """
    kind, parameters = parse_options_header(content_type)
    kind = kind.lower()
    if not body:
        raise BadRequest("the body has 0 bytes")
    if kind.startswith("image/"):
        return _collect([(1, found) for found in reader.read_picture(body, settings, options)], settings)
    if kind in _BULK_PARSERS:
        batch = _BULK_PARSERS[kind](body, settings.max_pictures)
        if options.normalise != "always" and not options.split:
            return ParsedBody(batch)
        return _parse_all(list(batch), lambda image: reader.read_image(image, options), settings)
    if kind == "multipart/form-data":
        uploads = _parse_form(body, parameters, settings)
        return _parse_all(uploads, lambda upload: reader.read_picture(upload, settings, options), settings)
    if kind == "application/json":
        images, booleans = parse_json_images(body, settings), b"true" in body or b"false" in body
        return _parse_all(images, lambda image: parse_json_image(image, settings, options, booleans=booleans), settings)
    raise UnsupportedMediaType(f"the content type is {kind[:100] or 'missing'!r}; read are {SUPPORTED_TYPES}")


def _parse_form(body: bytes, parameters: dict[str, str], settings: Settings) -> list[bytes]:
    """The file parts of a form."""
    boundary = parameters.get("boundary", "")
    if not boundary or not boundary.isascii():
        raise BadRequest("the content type multipart/form-data names no boundary")
    parser = MultiPartParser(_memory_stream, settings.max_body_bytes, max_form_parts=settings.max_pictures)
    try:
        _, files = parser.parse(BytesIO(body), boundary.encode(), len(body))
    except RequestEntityTooLarge:
        raise PayloadTooLarge(f"the form has more than {settings.max_pictures} parts") from None
    except ValueError as error:
        raise BadRequest(f"the form cannot be read: {error}") from None
    uploads = [upload.stream.read() for _, upload in files.items(multi=True)]
    if not uploads:
        raise BadRequest("the form has 0 file parts; each picture is one")
    return uploads


def parse_json_images(body: bytes, settings: Settings) -> list[Any]:
    """The entries of {"images": [...]}, 1 to `settings.max_pictures`.

    Raises:
        Malformed, TooLarge: it is no such object, or has none or too many.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the JSON cannot be read: {error}") from None
    if not isinstance(document, dict) or document.keys() not in _IMAGE_KEYS:
        raise BadRequest('the JSON is not an object {"images": [...]} with this one key')
    ((key, images),) = document.items()
    if not isinstance(images, list):
        raise BadRequest('the JSON is not an object {"images": [...]} with this one key')
    if not images:
        raise BadRequest(f"{key} has 0 entries")
    if len(images) > settings.max_pictures:
        raise PayloadTooLarge(f"{key} has {len(images)} entries; {settings.max_pictures} are allowed")
    return images


def parse_json_image(
    image: object, settings: Settings, options: NormaliseOptions = DEFAULT_OPTIONS, *, booleans: bool
) -> list[ExtractedDigit]:
    """Read one entry of {"images": [...]}: base64 of a picture, or its pixels as `parse_pixels` takes them.

    Raises:
        RequestError: it is neither, or there is no digit on it.
    """
    if isinstance(image, str):
        try:
            data = b64decode(image, validate=True)
        except (binascii.Error, ValueError) as error:
            raise BadRequest(f"the base64 cannot be read: {error}") from None
        return reader.read_picture(data, settings, options)
    return reader.read_image(parse_pixels(image, booleans=booleans), options)


def parse_pixels(image: object, *, booleans: bool) -> DigitImage:
    """28 rows of 28 numbers, or 784 numbers, as uint8 [28, 28]; `booleans`: some may be true or false.

    Raises:
        Malformed: they are others, or otherwise arranged.
    """
    if not isinstance(image, list):
        raise BadRequest(f"it is {_json_type(image)}; 28x28 or 784 numbers, or base64, are read")
    rows = image if image and isinstance(image[0], list) else [image]
    sides = sorted({len(row) if isinstance(row, list) else 0 for row in rows})
    if (len(rows), sides) not in ((IMAGE_SIDE, [IMAGE_SIDE]), (1, [IMAGE_PIXELS])):
        widths = " or ".join(map(str, sides[:3])) + (" or more" if len(sides) > 3 else "")
        raise BadRequest(f"it has {len(rows)} rows of {widths} numbers, not 28 of 28 or 784")
    flat = None if booleans else _pack_rows(rows)
    if flat is None:
        flat = bytes(_parse_pixel(value) for row in rows for value in row)
    return np.frombuffer(flat, np.uint8).reshape(IMAGE_SIDE, IMAGE_SIDE)


def _pack_rows(rows: Sequence[Any]) -> bytes | None:
    """Rows of whole numbers from 0 to 255 (and true and false, which bytes() takes for 1 and 0); None for others."""
    try:
        return b"".join(map(bytes, rows))
    except (TypeError, ValueError):
        return None


def _parse_pixel(value: object) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int:
        raise BadRequest(f"a pixel is {_json_type(value)}; whole numbers from 0 to 255 are read")
    if not 0 <= value <= 255:
        raise BadRequest(f"a pixel is {str(value)[:50]}; whole numbers from 0 to 255 are read")
    return value


def _parse_all(entries: Sequence[Any], read_one: ParseEntry, settings: Settings) -> ParsedBody:
    """Read every entry; of more than one, an error says which (from 1)."""
    found: list[tuple[int, ExtractedDigit]] = []
    for number, entry in enumerate(entries, 1):
        found += [(number, one) for one in _parse_one(entry, number, entries, read_one)]
        if len(found) > settings.max_pictures:
            break
    return _collect(found, settings)


def _collect(found: Sequence[tuple[int, ExtractedDigit]], settings: Settings) -> ParsedBody:
    if len(found) > settings.max_pictures:
        raise PayloadTooLarge(f"the pictures have more than {settings.max_pictures} digits")
    images = np.stack([one.image for _, one in found]) if len(found) > 1 else found[0][1].image[None]
    return ParsedBody(images, [(number, one.box) for number, one in found])


def _parse_one(entry: object, number: int, entries: Sequence[Any], read_one: ParseEntry) -> list[ExtractedDigit]:
    try:
        return read_one(entry)
    except RequestError as error:
        if len(entries) == 1:
            raise
        raise type(error)(f"picture {number} of {len(entries)}: {error}") from None


def _memory_stream(
    total_content_length: int | None,  # noqa: ARG001 - werkzeug passes all four by name
    content_type: str | None,  # noqa: ARG001
    filename: str | None,  # noqa: ARG001
    content_length: int | None = None,  # noqa: ARG001
) -> IO[bytes]:
    return BytesIO()


def _json_type(value: object) -> str:
    """What a JSON value is, in JSON's words."""
    names = {dict: "an object", list: "an array", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), str(value))


_BULK_PARSERS: dict[str, Callable[[bytes, int], Batch]] = {
    "application/octet-stream": array_formats.parse_bulk,
    "application/x-npy": array_formats.parse_npy,
}
