"""Pixels of images in JSON: arrays of numbers -> uint8 [28, 28].

Pixels are numbers from 0 to 255; fractions are rounded. If all pixels of all images of the request are from 0 to 1, and
not all of them are whole, white is 1, as in the tutorials of Keras: all are multiplied by 255. The request decides, not
the image, since an image of such a request may have no fraction. Whole numbers stay unchanged, zeros and ones too.
"""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from service.errors import BadRequest
from service.types import IMAGE_PIXELS, IMAGE_SIDE, DigitImage

_EXPECTED_IMAGE = "expected: 28x28 or 784 numbers, or base64"
_EXPECTED_PIXEL = "expected: numbers from 0 to 255, or from 0 to 1"
_SHAPES = ((IMAGE_SIDE, [IMAGE_SIDE]), (1, [IMAGE_PIXELS]), (IMAGE_PIXELS, [1]))

JsonPixels = npt.NDArray[np.uint8] | npt.NDArray[np.float64]
"""uint8 [28, 28], or float64 [28, 28] with a fraction; from 0 to 255."""


def parse_pixels(image: object, *, booleans: bool) -> JsonPixels:
    """Parse 28x28, 784, 28x28x1 or 1x28x28 numbers from 0 to 255: uint8 [28, 28] if all are whole, else float64.

    `booleans`: the document may contain true or false, so each pixel's type is checked, which is slower.

    Raises:
        BadRequest: the values or their arrangement are others.
    """
    if not isinstance(image, list):
        raise BadRequest(f"the image is {describe_json(image)}; {_EXPECTED_IMAGE}")
    rows = _arrange_rows(image)
    flat = None if booleans else _pack_rows(rows)
    if flat is None:
        return _parse_numbers([value for row in rows for value in row], booleans=booleans)
    return np.frombuffer(flat, np.uint8).reshape(IMAGE_SIDE, IMAGE_SIDE)


def _arrange_rows(image: list[Any]) -> list[list[Any]]:
    """The rows of an image: 28 of 28 values, one of 784, or 784 of one.

    Raises:
        BadRequest: the arrangement is another one.
    """
    if len(image) == 1 and isinstance(image[0], list) and image[0] and isinstance(image[0][0], list):
        image = image[0]
    rows = image if image and isinstance(image[0], list) else [image]
    sides = sorted({len(row) if isinstance(row, list) else 0 for row in rows})
    if (len(rows), sides) not in _SHAPES:
        widths = " or ".join(map(str, sides[:3])) + (" or more" if len(sides) > 3 else "")
        raise BadRequest(f"the image has {len(rows)} rows of {widths} numbers, not 28 of 28 or 784")
    if len(rows) == IMAGE_SIDE and isinstance(rows[0][0], list):
        return [[_single_channel(pixel) for pixel in row] for row in rows]
    return rows


def _single_channel(pixel: object) -> object:
    if isinstance(pixel, list) and len(pixel) > 1:
        raise BadRequest(f"a pixel has {len(pixel)} channels; 1 is read; send pictures of colours as PNG in base64")
    return pixel[0] if isinstance(pixel, list) and pixel else pixel


def _pack_rows(rows: Sequence[Any]) -> bytes | None:
    """Rows of integers from 0 to 255 as bytes (true and false become 1 and 0); None for other values."""
    try:
        return b"".join(map(bytes, rows))
    except (TypeError, ValueError):
        return None


def _parse_numbers(values: list[Any], *, booleans: bool) -> JsonPixels:
    """The pixels of 784 values; see `parse_pixels`."""
    if booleans or not all(type(value) in (int, float) for value in values):
        for value in values:
            if type(value) not in (int, float):
                raise BadRequest(f"a pixel is {describe_json(value)}; {_EXPECTED_PIXEL}")
    low, high = min(values), max(values)
    if low < 0 or high > 255:
        raise BadRequest(f"a pixel is {str(low if low < 0 else high)[:50]}; {_EXPECTED_PIXEL}")
    pixels = np.array(values, np.float64).reshape(IMAGE_SIDE, IMAGE_SIDE)
    whole = pixels.astype(np.uint8)
    return whole if np.array_equal(whole, pixels) else pixels


def scale_fractions(entries: Sequence[bytes | JsonPixels]) -> list[bytes | DigitImage]:
    """The pixels of a request as uint8: times 255 if all are from 0 to 1 with a fraction, and rounded.

    Args:
        entries: files of pictures, which are left as they are, and pixels as `parse_pixels` returns them.
    """
    images = [entry for entry in entries if not isinstance(entry, bytes)]
    if all(image.dtype == np.uint8 for image in images):
        return cast("list[bytes | DigitImage]", list(entries))
    factor = 255 if all(image.max() <= 1 for image in images) else 1
    return [
        entry if isinstance(entry, bytes) else np.rint(entry * np.float64(factor)).astype(np.uint8) for entry in entries
    ]


def describe_json(value: object) -> str:
    """Name the type of a JSON value in the terms of RFC 8259; a number is returned as text."""
    names = {dict: "an object", list: "an array", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), str(value)[:50])
