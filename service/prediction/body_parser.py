"""A request body -> a batch uint8 [N, 28, 28], by its content type, with the source of each image.

This is the general parser: it reads every body and raises every error. fast_path.py reads the common cheap bodies.

    multipart/form-data          file parts: pictures
    image/*                      one picture
    application/json             {"images": [28x28 or 784 integers 0 to 255, or base64 of a picture, ...]},
                                 or "instances", the key of TensorFlow Serving's REST API
    application/octet-stream     an IDX3 file, a .npy array, or N x 784 raw bytes
    application/x-npy            a .npy array

Pictures are normalised. Images of numbers, in JSON and in the bulk formats, are in MNIST's form by contract: they pass
unchanged, unless the request has normalise=auto, normalise=always or split=digits. Blank ones are rejected in JSON.
"""

import binascii
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import orjson
from werkzeug.http import parse_options_header

from service.errors import BadRequest, NoDigitFound, PayloadTooLarge, RequestError, UnsupportedMediaType
from service.imaging import file_limits, reader
from service.imaging.reader import DEFAULT_OPTIONS, FULL_IMAGE_BOX, MIN_CONTRAST, ExtractedDigit, NormaliseOptions
from service.prediction import array_formats, form_parser
from service.settings import Settings
from service.types import IMAGE_PIXELS, IMAGE_SIDE, Batch, DigitImage

Parsed = TypeVar("Parsed")
ParseEntry = Callable[[Any], list[ExtractedDigit]]

SMALL_JSON_BYTES = 1 << 20
"""A smaller document takes 25 MB at most, which is not worth counting."""
MAX_JSON_ARRAYS = 500_000
"""10,000 images of 28 rows have 290,001. An empty array takes 3 bytes as text, and 72 in memory."""
MAX_JSON_OBJECTS = 1000
MAX_JSON_NEGATIVES = 500_000
"""Minus signs, which no image has: Python keeps the integers from -5 to 256, and allocates 32 bytes for others."""
MAX_JSON_FRACTIONS = 3_000_000
"""Decimal points; each number takes 56 bytes while it is parsed."""

_BELOW_MIN_CONTRAST = bytes(range(MIN_CONTRAST))
_IMAGE_KEYS = ({"images"}, {"instances"})

SUPPORTED_TYPES = "multipart/form-data, image/*, application/json, application/octet-stream, application/x-npy"


class Source(NamedTuple):
    """Where an image comes from.

    picture: the number of its picture in the body, from 1. line: the number of its line of writing on the picture,
    from 1 at the top. box: left, top, right, bottom in pixels of the picture, the last two exclusive. is_incomplete:
    the line may have lost a digit. digit_count: how many digits the picture shows; over 1 only if it was not split.
    """

    picture: int
    line: int
    box: tuple[int, int, int, int]
    is_incomplete: bool = False
    digit_count: int = 1


class ParsedBody(NamedTuple):
    """The images of a body.

    images: uint8 [N, 28, 28]. sources: of each image, in the order of pictures, lines, and digits from left to right;
    None for a bulk body that was not normalised. envelope: what the protocol of the request needs to encode the
    response, as JSON can represent it; None for a protocol that needs nothing.
    """

    images: Batch
    sources: Sequence[Source] | None = None
    envelope: Mapping[str, Any] | None = None


def check_body_size(length: int, settings: Settings, *, at_least: bool = False) -> None:
    """Check a body's size in bytes; `at_least`: only so much of it was received, so the error states no size.

    Raises:
        PayloadTooLarge: it is over the limit.
    """
    if length > settings.max_body_bytes:
        if at_least:
            raise body_too_large(settings)
        raise PayloadTooLarge(f"the body has {length} bytes; {settings.max_body_bytes} are allowed")


def body_too_large(settings: Settings) -> PayloadTooLarge:
    """The error for a body over the limit whose size is unknown, because it was not received to its end."""
    limit = settings.max_body_bytes
    return PayloadTooLarge(f"the body has more than {limit} bytes; {limit} are allowed")


def parse_body(
    body: bytes, content_type: str, settings: Settings, options: NormaliseOptions = DEFAULT_OPTIONS
) -> ParsedBody:
    """Parse a complete request body: N images, N from 1 to `settings.max_pictures`.

    Args:
        body: the complete body.
        content_type: the value of Content-Type, with its parameters; type and subtype are case-insensitive.
        settings: the limits.
        options: how pictures are normalised.

    Raises:
        RequestError: the body is malformed, too large or of an unsupported type, or a picture has no digit; of
            several pictures, the message names the bad one.
        MemoryError: the process may not allocate what parsing takes.
    """
    media_type, parameters = parse_options_header(content_type)
    media_type = media_type.lower()
    if not body:
        raise BadRequest("the body has 0 bytes")
    if media_type.startswith("image/"):
        return _collect([(1, digit) for digit in reader.read_picture(body, settings, options)], settings)
    if media_type in _BULK_PARSERS:
        batch = _BULK_PARSERS[media_type](body, settings.max_pictures)
        if not _normalises_bulk(options):
            return ParsedBody(batch)
        return _parse_all(list(batch), lambda image: reader.read_image(image, options), settings)
    if media_type == "multipart/form-data":
        files = _parse_form(body, parameters, settings)
        _check_pictures(files, settings)
        return _parse_all(files, lambda file: reader.read_picture(file, settings, options), settings)
    if media_type == "application/json":
        images, booleans = parse_json_images(body, settings), b"true" in body or b"false" in body
        if any(isinstance(image, str) for image in images):
            images = _decode_all_base64(images)
            _check_pictures(images, settings)
        return _parse_all(images, lambda image: parse_json_image(image, settings, options, booleans=booleans), settings)
    found = repr(media_type[:100]) if media_type else "missing"
    raise UnsupportedMediaType(f"the content type is {found}; supported: {SUPPORTED_TYPES}")


def is_plain_bulk(content_type: str, options: NormaliseOptions) -> bool:
    """Whether a body is a bulk format that is not normalised: to parse it takes constant time. JSON is none."""
    return parse_options_header(content_type)[0].lower() in _BULK_PARSERS and not _normalises_bulk(options)


def _normalises_bulk(options: NormaliseOptions) -> bool:
    return options.normalise in ("auto", "always") or options.split


def _parse_form(body: bytes, parameters: dict[str, str], settings: Settings) -> list[bytes]:
    """Return the contents of the file parts of a form (RFC 7578); other fields are ignored."""
    contents = form_parser.parse_form(body, _boundary(parameters), settings.max_pictures)
    if not contents:
        raise BadRequest("the form has 0 file parts; send each picture as one")
    return contents


def read_form_field(body: bytes, content_type: str, name: str, settings: Settings) -> bytes:
    """The content of a field of a form that is not a file; b"" without such a field, or if the body is no form.

    Raises:
        BadRequest, PayloadTooLarge: the form is malformed or over a limit.
    """
    media_type, parameters = parse_options_header(content_type)
    if media_type.lower() != "multipart/form-data":
        return b""
    return form_parser.read_field(body, _boundary(parameters), name.encode(), settings.max_pictures)


def _boundary(parameters: dict[str, str]) -> bytes:
    boundary = parameters.get("boundary", "")
    if not boundary or not boundary.isascii():
        raise BadRequest("the content type multipart/form-data has no boundary parameter in ASCII")
    return boundary.encode()


def parse_json_images(body: bytes, settings: Settings) -> list[Any]:
    """Parse {"images": [...]} or {"instances": [...]}, and return its 1 to `settings.max_pictures` entries.

    Raises:
        BadRequest: it is not such an object, or has no entry.
        PayloadTooLarge: it has too many entries, or its arrays, objects and strings would take too much memory.
    """
    _check_json_structure(body, settings)
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


def _check_json_structure(body: bytes, settings: Settings) -> None:
    """Count on the bytes of a large document what takes far more memory than text."""
    if len(body) <= SMALL_JSON_BYTES:
        return
    characters = np.frombuffer(body, np.uint8)
    for character, limit, what in (
        ("[", max(MAX_JSON_ARRAYS, 32 * settings.max_pictures), "arrays"),
        ("{", MAX_JSON_OBJECTS, "objects"),
        ('"', 8 * settings.max_pictures, "quotes"),
        ("-", MAX_JSON_NEGATIVES, "negative numbers"),
        (".", MAX_JSON_FRACTIONS, "fractions"),
    ):
        count = np.count_nonzero(characters == ord(character))  # a fifth of the time of bytes.count
        if count > limit:
            raise PayloadTooLarge(f"the JSON has {count} {what}; {limit} are allowed")


def parse_json_image(
    image: object, settings: Settings, options: NormaliseOptions = DEFAULT_OPTIONS, *, booleans: bool
) -> list[ExtractedDigit]:
    """Parse one entry of {"images": [...]}: base64 of a picture, or pixels, as `parse_pixels` parses them.

    Raises:
        RequestError: it is neither, or no digit is found.
    """
    if isinstance(image, str):
        image = _decode_base64(image)
    if isinstance(image, bytes):
        return reader.read_picture(image, settings, options)
    pixels = parse_pixels(image, booleans=booleans)
    if _normalises_bulk(options):
        return reader.read_image(pixels, options)
    if not has_contrast(pixels.tobytes()):
        contrast = (
            f"the pixels differ by {int(pixels.max()) - int(pixels.min())} at most; a stroke needs {MIN_CONTRAST}"
        )
        raise NoDigitFound(f"no digit to read: {contrast}")
    return [ExtractedDigit(pixels, FULL_IMAGE_BOX)]


def parse_pixels(image: object, *, booleans: bool) -> DigitImage:
    """Parse 28 rows of 28 integers, or 784 integers, from 0 to 255: uint8 [28, 28].

    Floats with an integral value are accepted. `booleans`: the document may contain true or false, which Python takes
    for 1 and 0, so each pixel's type is checked, which is slower.

    Raises:
        BadRequest: the values or their arrangement are others.
    """
    if not isinstance(image, list):
        raise BadRequest(f"the image is {_describe_json(image)}; expected: 28x28 or 784 integers, or base64")
    rows = image if image and isinstance(image[0], list) else [image]
    sides = sorted({len(row) if isinstance(row, list) else 0 for row in rows})
    if (len(rows), sides) not in ((IMAGE_SIDE, [IMAGE_SIDE]), (1, [IMAGE_PIXELS])):
        widths = " or ".join(map(str, sides[:3])) + (" or more" if len(sides) > 3 else "")
        raise BadRequest(f"the image has {len(rows)} rows of {widths} numbers, not 28 of 28 or 784")
    flat = None if booleans else _pack_rows(rows)
    if flat is None:
        flat = bytes(_parse_pixel(value) for row in rows for value in row)
    return np.frombuffer(flat, np.uint8).reshape(IMAGE_SIDE, IMAGE_SIDE)


def has_contrast(pixels: bytes) -> bool:
    """Whether the lightest and the darkest pixel differ by MIN_CONTRAST or more; almost every image has a 0."""
    if 0 in pixels:
        return bool(pixels.translate(None, _BELOW_MIN_CONTRAST))
    return max(pixels) - min(pixels) >= MIN_CONTRAST


def _pack_rows(rows: Sequence[Any]) -> bytes | None:
    """Rows of integers from 0 to 255 as bytes (true and false become 1 and 0); None for other values."""
    try:
        return b"".join(map(bytes, rows))
    except (TypeError, ValueError):
        return None


def _parse_pixel(value: object) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int:
        raise BadRequest(f"a pixel is {_describe_json(value)}; expected: integers from 0 to 255")
    if not 0 <= value <= 255:
        raise BadRequest(f"a pixel is {str(value)[:50]}; expected: integers from 0 to 255")
    return value


def _decode_base64(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequest(f"the base64 cannot be read: {error}") from None


def _decode_all_base64(images: Sequence[Any]) -> list[Any]:
    """Decode the entries that are strings; an error names the number of the bad one."""
    count = len(images)
    return [
        _parse_one(image, number, count, _decode_base64) if isinstance(image, str) else image
        for number, image in enumerate(images, 1)
    ]


def _check_pictures(entries: Sequence[Any], settings: Settings) -> None:
    """Check the files (bytes) among several entries, and their pixels together, before one of them is decoded."""
    count, pixels, limit = len(entries), 0, settings.max_request_pixels
    for number, file in enumerate(entries, 1):
        if count == 1 or not isinstance(file, bytes):
            continue
        pixels += _parse_one(file, number, count, lambda data: file_limits.check_file(data, settings))
        if pixels > limit:
            found = f"the first {number} of {count} pictures have {pixels} pixels together"
            raise PayloadTooLarge(f"{found}; {limit} are allowed; send them in several requests")


def _parse_all(entries: Sequence[Any], parse_entry: ParseEntry, settings: Settings) -> ParsedBody:
    """Parse every entry; if there are several, an error names the number of the bad one, from 1."""
    digits: list[tuple[int, ExtractedDigit]] = []
    for number, entry in enumerate(entries, 1):
        digits += [(number, digit) for digit in _parse_one(entry, number, len(entries), parse_entry)]
        if len(digits) > settings.max_pictures:
            break
    return _collect(digits, settings)


def _collect(digits: Sequence[tuple[int, ExtractedDigit]], settings: Settings) -> ParsedBody:
    if len(digits) > settings.max_pictures:
        raise PayloadTooLarge(f"the pictures have more than {settings.max_pictures} digits, which is the limit")
    images = np.stack([digit.image for _, digit in digits]) if len(digits) > 1 else digits[0][1].image[None]
    sources = [
        Source(number, digit.line, digit.box, digit.is_incomplete, digit.digit_count) for number, digit in digits
    ]
    return ParsedBody(images, sources)


def _parse_one(entry: Any, number: int, count: int, parse_entry: Callable[[Any], Parsed]) -> Parsed:
    try:
        return parse_entry(entry)
    except RequestError as error:
        if count == 1:
            raise
        raise type(error)(f"picture {number} of {count}: {error}") from None


def _describe_json(value: object) -> str:
    """Name the type of a JSON value in the terms of RFC 8259; a number is returned as text."""
    names = {dict: "an object", list: "an array", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), str(value))


_BULK_PARSERS: dict[str, Callable[[bytes, int], Batch]] = {
    "application/octet-stream": array_formats.parse_bulk,
    "application/x-npy": array_formats.parse_npy,
}
