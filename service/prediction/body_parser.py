"""A request body -> a batch uint8 [N, 28, 28], with the source of each image.

This is the general parser: it reads every body and raises every error. fast_path.py reads the common cheap bodies.
body_kind.py decides what a body is, by its first bytes before its content type:

    a picture                            PNG, JPEG, GIF, BMP, WebP, TIFF, AVIF
    an array                             an IDX3 file, a .npy array; N x 784 raw bytes as application/octet-stream
    JSON                                 see json_images.py and json_pixels.py
    multipart/form-data                  file parts, each a picture; without any, fields with base64
    application/x-www-form-urlencoded    fields with base64, see url_encoded.py
    base64 of a picture, a data URL

Pictures are normalised. Images of numbers, in JSON and in arrays, are in MNIST's form by contract: they pass unchanged,
unless the request has normalise=auto, normalise=always or split=digits. Blank ones are rejected in JSON.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from werkzeug.http import parse_options_header

from service.errors import BadRequest, NoDigitFound, PayloadTooLarge, UnsupportedMediaType
from service.imaging import file_limits, reader
from service.imaging.file_signatures import describe_unsupported_file, identify_file
from service.imaging.reader import DEFAULT_OPTIONS, FULL_IMAGE_BOX, MIN_CONTRAST, ExtractedDigit, NormaliseOptions
from service.prediction import array_formats, form_parser
from service.prediction.base64_text import decode_base64, is_base64_file
from service.prediction.body_kind import NPY_TYPE, BodyKind, detect_kind
from service.prediction.client_slips import EMPTY_BODY, check_field, check_slips
from service.prediction.json_images import parse_json_entries, parse_json_entry
from service.prediction.json_pixels import scale_fractions
from service.prediction.numbered import parse_numbered
from service.prediction.url_encoded import PICTURE_FIELDS, decode_field, parse_url_encoded
from service.settings import Settings
from service.types import Batch, DigitImage

ParseEntry = Callable[[Any], list[ExtractedDigit]]

_BELOW_MIN_CONTRAST = bytes(range(MIN_CONTRAST))

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
        raise BadRequest(EMPTY_BODY)
    kind = detect_kind(body, media_type)
    check_slips(body, media_type, kind)
    match kind:
        case BodyKind.PICTURE:
            return read_files([body], settings, options)
        case BodyKind.ARRAY:
            return _parse_array(body, media_type, settings, options)
        case BodyKind.JSON:
            return read_json_entries(parse_json_entries(body, settings), settings, options)
        case BodyKind.FORM:
            return read_files(_parse_form(body, parameters, settings), settings, options)
        case BodyKind.URL_ENCODED:
            return read_files(_decode_fields(parse_url_encoded(body, settings.max_pictures)), settings, options)
        case BodyKind.BASE64:
            return read_files([decode_base64(body.decode("ascii", "replace"), space="+")], settings, options)
        case BodyKind.OTHER_FILE:
            raise UnsupportedMediaType(describe_unsupported_file(identify_file(body) or "unknown"))
        case BodyKind.UNKNOWN:
            found = repr(media_type[:100]) if media_type else "missing"
            raise UnsupportedMediaType(f"the content type is {found}; supported: {SUPPORTED_TYPES}")


def is_plain_bulk(body: bytes, content_type: str, options: NormaliseOptions) -> bool:
    """Whether a body is an array that is not normalised: to parse it takes constant time. JSON is none."""
    if _normalises_bulk(options) or not body:
        return False
    return detect_kind(body, parse_options_header(content_type)[0].lower()) is BodyKind.ARRAY


def read_json_entries(
    entries: Sequence[bytes | DigitImage],
    settings: Settings,
    options: NormaliseOptions,
    check_image: Callable[[DigitImage], None] | None = None,
) -> ParsedBody:
    """Read the images of a JSON document, as `json_images.parse_entries` returns them.

    Args:
        entries: files of pictures, and images.
        settings: the limits.
        options: how pictures are normalised.
        check_image: raises a RequestError for an image that is not read; `check_contrast` by default.

    Raises:
        RequestError: as `parse_body` raises it.
    """
    check = check_image or check_contrast
    _check_pictures(entries, settings)
    return _parse_all(entries, lambda entry: _read_json_entry(entry, settings, options, check), settings)


def _parse_array(body: bytes, media_type: str, settings: Settings, options: NormaliseOptions) -> ParsedBody:
    parse = array_formats.parse_npy if media_type == NPY_TYPE else array_formats.parse_bulk
    return read_batch(parse(body, settings.max_pictures), settings, options)


def read_batch(batch: Batch, settings: Settings, options: NormaliseOptions) -> ParsedBody:
    """A batch as it is, or with each image normalised if the options say so.

    Raises:
        NoDigitFound: an image that is to be normalised has no digit.
    """
    if not _normalises_bulk(options):
        return ParsedBody(batch)
    return _parse_all(list(batch), lambda image: reader.read_image(image, options), settings)


def read_files(files: Sequence[bytes], settings: Settings, options: NormaliseOptions) -> ParsedBody:
    """Read the files of pictures, 1 to `settings.max_pictures`.

    Raises:
        RequestError: a file is malformed, too large or of an unsupported type, or has no digit.
    """
    _check_pictures(files, settings)
    return _parse_all(files, lambda file: reader.read_picture(file, settings, options), settings)


def _decode_fields(fields: Sequence[tuple[str, bytes]]) -> list[bytes]:
    """The files of pictures in fields of a form; an error names the number of the bad one."""
    count = len(fields)
    return [
        parse_numbered(field, number, count, lambda field: decode_field(*field))
        for number, field in enumerate(fields, 1)
    ]


def _normalises_bulk(options: NormaliseOptions) -> bool:
    return options.normalise in ("auto", "always") or options.split


def _parse_form(body: bytes, parameters: dict[str, str], settings: Settings) -> list[bytes]:
    """Return the contents of the file parts of a form (RFC 7578); without files, the pictures in its other fields."""
    boundary, max_parts = _boundary(body, parameters), settings.max_pictures
    files = form_parser.parse_form(body, boundary, max_parts)
    if files:
        return files
    fields = form_parser.parse_fields(body, boundary, max_parts)
    pictures = [(name, text) for name, text in fields if name in PICTURE_FIELDS or is_base64_file(text)]
    if not pictures:
        for name, text in fields:
            check_field(name, text)
        raise BadRequest("the form has 0 file parts; send each picture as one, with curl by -F file=@digit.png")
    return _decode_fields(pictures)


def read_form_field(body: bytes, content_type: str, name: str, settings: Settings) -> bytes:
    """The content of a field of a form that is not a file; b"" without such a field, or if the body is no form.

    Raises:
        BadRequest, PayloadTooLarge: the form is malformed or over a limit.
    """
    media_type, parameters = parse_options_header(content_type)
    if media_type.lower() != "multipart/form-data":
        return b""
    return form_parser.read_field(body, _boundary(body, parameters), name.encode(), settings.max_pictures)


def _boundary(body: bytes, parameters: dict[str, str]) -> bytes:
    boundary = parameters.get("boundary", "")
    inferred = b"" if boundary else form_parser.infer_boundary(body)
    if inferred:
        return inferred
    if not boundary or not boundary.isascii():
        raise BadRequest("the content type multipart/form-data has no boundary parameter in ASCII")
    return boundary.encode()


def parse_json_image(
    image: object, settings: Settings, options: NormaliseOptions = DEFAULT_OPTIONS, *, booleans: bool
) -> list[ExtractedDigit]:
    """Parse one image of a JSON document: base64 of a picture, or pixels, as `parse_pixels` parses them.

    Raises:
        RequestError: it is neither, or no digit is found.
    """
    (entry,) = scale_fractions([parse_json_entry(image, booleans=booleans)])
    return _read_json_entry(entry, settings, options, check_contrast)


def _read_json_entry(
    entry: bytes | DigitImage, settings: Settings, options: NormaliseOptions, check_image: Callable[[DigitImage], None]
) -> list[ExtractedDigit]:
    if isinstance(entry, bytes):
        return reader.read_picture(entry, settings, options)
    if _normalises_bulk(options):
        return reader.read_image(entry, options)
    check_image(entry)
    return [ExtractedDigit(entry, FULL_IMAGE_BOX)]


def check_contrast(image: DigitImage) -> None:
    """Check that an image uint8 [28, 28] may show a stroke.

    Raises:
        NoDigitFound: its pixels differ by less than MIN_CONTRAST.
    """
    if not has_contrast(image.tobytes()):
        low, high = int(image.min()), int(image.max())
        advice = "; white is 255, or 1 if there are fractions" if high == 1 else ""
        contrast = f"the pixels differ by {high - low} at most; a stroke needs {MIN_CONTRAST}{advice}"
        raise NoDigitFound(f"no digit to read: {contrast}")


def has_contrast(pixels: bytes) -> bool:
    """Whether the lightest and the darkest pixel differ by MIN_CONTRAST or more; almost every image has a 0."""
    if 0 in pixels:
        return bool(pixels.translate(None, _BELOW_MIN_CONTRAST))
    return max(pixels) - min(pixels) >= MIN_CONTRAST


def _check_pictures(entries: Sequence[Any], settings: Settings) -> None:
    """Check the files (bytes) among several entries, and their pixels together, before one of them is decoded."""
    count, pixels, limit = len(entries), 0, settings.max_request_pixels
    for number, file in enumerate(entries, 1):
        if count == 1 or not isinstance(file, bytes):
            continue
        pixels += parse_numbered(file, number, count, lambda data: file_limits.check_file(data, settings))
        if pixels > limit:
            found = f"the first {number} of {count} pictures have {pixels} pixels together"
            raise PayloadTooLarge(f"{found}; {limit} are allowed; send them in several requests")


def _parse_all(entries: Sequence[Any], parse_entry: ParseEntry, settings: Settings) -> ParsedBody:
    """Parse every entry; if there are several, an error names the number of the bad one, from 1."""
    digits: list[tuple[int, ExtractedDigit]] = []
    for number, entry in enumerate(entries, 1):
        digits += [(number, digit) for digit in parse_numbered(entry, number, len(entries), parse_entry)]
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
