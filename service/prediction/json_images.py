"""JSON bodies -> their images: {"images": [...]}, and the other forms that clients send.

    {"images": X}, {"image": X}, {"instances": X} (of TensorFlow Serving), or X without an object around it

X is one image or an array of images. An image is a text, base64 of a picture or a data URL of it, or {"b64": text};
or pixels: 28x28 or 784 numbers, 28x28x1 as Keras and 1x28x28 as PyTorch arrange them. See json_pixels.py.
"""

from typing import Any

import numpy as np
import orjson

from service.errors import BadRequest, PayloadTooLarge
from service.prediction.base64_text import decode_base64
from service.prediction.json_pixels import JsonPixels, describe_json, parse_pixels, scale_fractions
from service.prediction.numbered import parse_numbered
from service.settings import Settings
from service.types import IMAGE_PIXELS, IMAGE_SIDE, DigitImage

SMALL_JSON_BYTES = 1 << 20
"""A smaller document takes 25 MB at most, which is not worth counting."""
MAX_JSON_ARRAYS = 500_000
"""10,000 images of 28 rows have 290,001. An empty array takes 3 bytes as text, and 72 in memory."""
MAX_JSON_OBJECTS = 1000
MAX_JSON_NEGATIVES = 500_000
"""Minus signs, which no image has: Python keeps the integers from -5 to 256, and allocates 32 bytes for others."""
MAX_JSON_FRACTIONS = 3_000_000
"""Decimal points; each number takes 56 bytes while it is parsed."""

IMAGE_KEYS = ("images", "image", "instances")
EXPECTED_DOCUMENT = '{"images": [...]}'
_ENTRY_KEYS = ("b64", *IMAGE_KEYS)


def parse_json_entries(body: bytes, settings: Settings) -> list[bytes | DigitImage]:
    """Parse a document to its 1 to `settings.max_pictures` images: files of pictures (bytes), and uint8 [28, 28].

    Raises:
        BadRequest: it is no such document, or an image is neither pixels nor base64; of several, the bad one is named.
        PayloadTooLarge: it has too many images, or would take too much memory.
    """
    return parse_entries(parse_json_images(body, settings), booleans=may_have_booleans(body))


def parse_entries(entries: list[Any], *, booleans: bool) -> list[bytes | DigitImage]:
    """Parse the images of a document: files of pictures (bytes), and uint8 [28, 28]. `entries` is overwritten.

    Raises:
        BadRequest: an image is neither pixels nor base64; of several, the bad one is named.
    """
    count = len(entries)
    for number, entry in enumerate(entries, 1):  # in place, so that the numbers of one image are freed
        entries[number - 1] = parse_numbered(
            entry, number, count, lambda entry: parse_json_entry(entry, booleans=booleans)
        )
    return scale_fractions(entries)


def may_have_booleans(body: bytes) -> bool:
    """Whether a document may have the value true or false, which Python takes for 1 and 0."""
    return b"true" in body or b"false" in body


def parse_json_images(body: bytes, settings: Settings) -> list[Any]:
    """Parse a document, and return its 1 to `settings.max_pictures` images as JSON values.

    Raises:
        BadRequest: it is no document of images, or has none.
        PayloadTooLarge: it has too many, or its arrays, objects and strings would take too much memory.
    """
    document = parse_json(body, settings)
    key, value = _find_images(document) if isinstance(document, dict) else ("the JSON", document)
    return list_images(key, value, settings)


def parse_json(body: bytes, settings: Settings) -> Any:
    """Parse a document.

    Raises:
        BadRequest: it is no JSON (RFC 8259).
        PayloadTooLarge: its arrays, objects and strings would take too much memory.
    """
    check_json_structure(body, settings)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the JSON cannot be read: {error}") from None


def list_images(key: str, value: object, settings: Settings) -> list[Any]:
    """The 1 to `settings.max_pictures` images of a value that is one image or an array of images, as JSON values.

    Args:
        key: the name of the value in an error.
        value: what the document has for the key.
        settings: the limits.

    Raises:
        BadRequest: it is neither, or has no image.
        PayloadTooLarge: it has too many.
    """
    if isinstance(value, str | dict):
        return [value]
    if not isinstance(value, list):
        raise BadRequest(f"{key} is {describe_json(value)}; expected: {EXPECTED_DOCUMENT}")
    if not value:
        raise BadRequest(f"{key} has 0 entries")
    if _is_one_image(value):
        return [value]
    if len(value) > settings.max_pictures:
        raise PayloadTooLarge(f"{key} has {len(value)} entries; {settings.max_pictures} are allowed")
    return value


def _find_images(document: dict[str, Any]) -> tuple[str, Any]:
    """The key and the value of the images."""
    if len(document) == 1 or document.keys() == {"instances", "signature_name"}:
        for key in IMAGE_KEYS:
            if key in document:
                return key, document[key]
    if "inputs" in document:
        is_tensor = isinstance(document["inputs"], list) and any(
            isinstance(tensor, dict) and "datatype" in tensor for tensor in document["inputs"][:1]
        )
        if is_tensor:
            raise BadRequest(
                "the JSON is a request of the Open Inference Protocol; its path is /v2/models/digits/infer"
            )
        raise BadRequest('"inputs" is a key of TensorFlow Serving; its path is /v1/models/digits:predict')
    keys = ", ".join(repr(key[:30]) for key in list(document)[:4]) or "none"
    raise BadRequest(f"the JSON has the keys {keys}; expected: {EXPECTED_DOCUMENT} with this one key")


def _is_one_image(value: list[Any]) -> bool:
    """Whether an array is the pixels of one image rather than an array of images."""
    first = value[0]
    if len(value) == IMAGE_PIXELS:
        return isinstance(first, int | float) or (isinstance(first, list) and len(first) == 1)
    if len(value) != IMAGE_SIDE or not isinstance(first, list) or len(first) != IMAGE_SIDE:
        return False
    return not isinstance(first[0], list) or len(first[0]) == 1


def check_json_structure(body: bytes, settings: Settings) -> None:
    """Count on the bytes of a large document what takes far more memory than text."""
    if len(body) <= SMALL_JSON_BYTES:
        return
    characters = np.frombuffer(body, np.uint8)
    for character, limit, what, advice in (
        ("[", max(MAX_JSON_ARRAYS, 32 * settings.max_pictures), "arrays", "; send each image as 784 numbers"),
        ("{", max(MAX_JSON_OBJECTS, 2 * settings.max_pictures + 1), "objects", ""),
        ('"', 8 * settings.max_pictures, "quotes", ""),
        ("-", MAX_JSON_NEGATIVES, "negative numbers", ""),
        (".", MAX_JSON_FRACTIONS, "fractions", "; send integers from 0 to 255, or a .npy array"),
    ):
        count = np.count_nonzero(characters == ord(character))  # a fifth of the time of bytes.count
        if count > limit:
            raise PayloadTooLarge(f"the JSON has {count} {what}; {limit} are allowed{advice}")


def parse_json_entry(entry: object, *, booleans: bool) -> bytes | JsonPixels:
    """Parse one image: the file of a picture from its base64, or pixels as `parse_pixels` parses them.

    Raises:
        BadRequest: it is neither.
    """
    if isinstance(entry, dict):
        entry = _unwrap(entry)
    if isinstance(entry, str):
        return decode_base64(entry)
    return parse_pixels(entry, booleans=booleans)


def _unwrap(entry: dict[str, Any]) -> object:
    """The value in {"b64": text}, {"image": value} or {"image": {"b64": text}}."""
    for key in _ENTRY_KEYS:
        if entry.keys() == {key}:
            value = entry[key]
            return value["b64"] if isinstance(value, dict) and value.keys() == {"b64"} else value
    return entry
