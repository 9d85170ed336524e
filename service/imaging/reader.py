"""One uploaded picture -> the image of its digit, or an image of each of its digits.

    decode   bytes -> an upright, opaque picture
    page     what of it is the page, without bars, frames and table
    ink      picture -> how far each pixel is from the paper
    marks    ink -> what belongs to one digit, without specks, ruled lines and boxes
    normal_form   the ink of one digit -> image

An image is uint8 [28, 28], 0 background to 255 ink. A picture that already is one, 28x28 pixels and
light on dark, passes through bit for bit unless it is to be normalised always.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image

from service.errors import NoDigit
from service.imaging import ink, mnist_format, page_detection, segmentation
from service.imaging.decode import decode
from service.imaging.mnist_format import SIDE, Pixels
from service.imaging.segmentation import Box, Digit
from service.settings import Settings

WAYS = ("auto", "always", "never")
OVERVIEW = 1024
"""Digits are looked for on at most this number squared of pixels; a larger picture is reduced."""
CLOSER = 100
"""Pixels along the longer side of a digit: smaller ones on a reduced picture are looked at again, closer."""
LEAST_CONTRAST = 32
"""Between the darkest and the lightest pixel of an image; less than this is no pen stroke."""

_BORDER = np.flatnonzero(np.pad(np.zeros((SIDE - 2, SIDE - 2)), 1, constant_values=1))


@dataclass(frozen=True)
class Reading:
    """How pictures are to be read.

    normalise: "auto" leaves an image that is light on dark as it is and normalises all else, "always" normalises
    that too, "never" refuses all else. split: every digit of a row on its own.
    """

    normalise: str = "auto"
    split: bool = False


AUTO = Reading()


class Found(NamedTuple):
    """An image, and where on the picture its digit was: left, top, right, bottom in pixels, the ends not included."""

    image: Pixels
    box: tuple[int, int, int, int]


WHOLE = (0, 0, SIDE, SIDE)


def read(data: bytes, settings: Settings, reading: Reading) -> list[Found]:
    """The images in the file of a picture: one, or with `split` one of each digit, from left to right.

    Raises:
        Malformed, UnknownType, TooLarge: as `decode` says.
        NoDigit: there is nothing to read on it, or it is no image and must not be normalised.
    """
    decoded = decode(data, settings)
    return _read(decoded.picture, decoded.factor, reading)


def of_image(image: Pixels, reading: Reading) -> list[Found]:
    """As `read`, from pixels uint8 [28, 28]."""
    if stays(image, reading):
        return [Found(image, WHOLE)]
    return _read(Image.fromarray(image), 1.0, reading)


def stays(image: Pixels, reading: Reading = AUTO) -> bool:
    """Whether an image [28, 28] passes as it is: light on dark by its own middle grey.

    Raises:
        NoDigit: it would, but there is too little on it; or it would not, and must not be normalised.
    """
    if reading.normalise == "always" or reading.split:
        return False
    low, high = int(image.min()), int(image.max())
    if 2 * np.count_nonzero(image.reshape(-1)[_BORDER] > (low + high) // 2) > len(_BORDER):
        if reading.normalise == "never":
            raise NoDigit("the picture is dark on light, and is not to be normalised")
        return False
    if high - low < LEAST_CONTRAST:
        raise NoDigit(f"no digit to read: the pixels differ by {high - low} at most; a stroke needs {LEAST_CONTRAST}")
    return True


def _read(picture: Image.Image, factor: float, reading: Reading) -> list[Found]:
    if picture.size == (SIDE, SIDE):
        grey = picture if picture.mode == "L" else picture.convert("L")
        image = np.frombuffer(grey.tobytes(), np.uint8).reshape(SIDE, SIDE)  # faster than np.asarray
        if stays(image, reading):
            return [Found(image, WHOLE)]
    elif reading.normalise == "never":
        width, height = (round(side * factor) for side in picture.size)
        raise NoDigit(f"the picture has {width}x{height} pixels; {SIDE}x{SIDE} is read without normalising")
    digits = _on_page(picture, split=reading.split)
    return [Found(mnist_format.image(digit.ink), _edges(digit.box, factor)) for digit in digits]


def _on_page(picture: Image.Image, *, split: bool) -> Sequence[Digit]:
    """The digits on the page that the picture shows; on all of the picture if there are none."""
    area = page_detection.find(picture)
    if area != (0, picture.height, 0, picture.width):
        with suppress(NoDigit):
            return _digits_in(picture, area, split=split)
    return _digits(picture, split=split)


def _digits(picture: Image.Image, *, split: bool) -> Sequence[Digit]:
    overview, factor = ink.reduced(picture, OVERVIEW)
    found = segmentation.find(ink.of(overview))
    digits = segmentation.each_digit(found) if split else [segmentation.one_digit(found)]
    largest = max(max(digit.ink.shape) for digit in digits)
    digits = [Digit(digit.ink, _around([digit.box.scaled(factor)], 0, picture)) for digit in digits]
    closer = _around([digit.box for digit in digits], factor * largest, picture)
    if factor == 1 or largest >= CLOSER or closer.area > picture.width * picture.height / 2:
        return digits
    with suppress(NoDigit):
        again = _digits_in(picture, closer, split=split)
        return again if len(again) == len(digits) else digits
    return digits


def _digits_in(picture: Image.Image, area: Box, *, split: bool) -> Sequence[Digit]:
    """The digits in a part of the picture, their boxes in pixels of the whole."""
    part = picture.crop((area.left, area.top, area.right, area.bottom))
    return [Digit(digit.ink, digit.box.moved(area.top, area.left)) for digit in _digits(part, split=split)]


def _around(boxes: Sequence[Box], margin: int, picture: Image.Image) -> Box:
    """What is on the picture of the area around boxes, with a margin."""
    tops, bottoms, lefts, rights = zip(*boxes, strict=True)
    top, left = max(min(tops) - margin, 0), max(min(lefts) - margin, 0)
    return Box(top, min(max(bottoms) + margin, picture.height), left, min(max(rights) + margin, picture.width))


def _edges(box: Box, factor: float) -> tuple[int, int, int, int]:
    left, top, right, bottom = (round(factor * edge) for edge in (box.left, box.top, box.right, box.bottom))
    return left, top, right, bottom
