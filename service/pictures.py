"""One uploaded picture -> the image of its digit, or an image of each of its digits.

    decode   bytes -> an upright, opaque picture
    ink      picture -> how far each pixel is from the paper
    marks    ink -> what belongs to one digit, without specks, ruled lines and frames
    normal_form   the ink of one digit -> image

An image is uint8 [28, 28], 0 background to 255 ink. A picture that already is one, 28x28 pixels and
light on dark, passes through bit for bit unless it is to be normalised always.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image

from service import ink, marks, normal_form
from service.decode import decode
from service.errors import NoDigit
from service.marks import Box, Digit
from service.normal_form import SIDE, Pixels
from service.settings import Settings

WAYS = ("auto", "always", "never")
OVERVIEW = 1024
"""Pixels along the longer side of what digits are looked for on; a larger picture is reduced to it."""
CLOSER = 100
"""Pixels along the longer side of a digit: a smaller one on a reduced picture is looked at again, closer."""
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
    if _stays(image, reading):
        return [Found(image, WHOLE)]
    return _read(Image.fromarray(image), 1.0, reading)


def _stays(image: Pixels, reading: Reading) -> bool:
    """Whether an image [28, 28] passes as it is.

    Raises:
        NoDigit: it would, but there is too little on it; or it would not, and must not be normalised.
    """
    if reading.normalise == "always" or reading.split:
        return False
    if not _light_on_dark(image):
        if reading.normalise == "never":
            raise NoDigit("the picture is dark on light, and is not to be normalised")
        return False
    contrast = int(image.max()) - int(image.min())
    if contrast < LEAST_CONTRAST:
        raise NoDigit(f"no digit to read: the pixels differ by {contrast} at most; a stroke needs {LEAST_CONTRAST}")
    return True


def _light_on_dark(image: Pixels) -> bool:
    return bool(2 * np.count_nonzero(image.reshape(-1)[_BORDER] > 127) <= len(_BORDER))


def _read(picture: Image.Image, factor: float, reading: Reading) -> list[Found]:
    if picture.size == (SIDE, SIDE):
        grey = picture if picture.mode == "L" else picture.convert("L")
        image = np.frombuffer(grey.tobytes(), np.uint8).reshape(SIDE, SIDE)  # two thirds of np.asarray's time
        if _stays(image, reading):
            return [Found(image, WHOLE)]
    elif reading.normalise == "never":
        width, height = (round(side * factor) for side in picture.size)
        raise NoDigit(f"the picture has {width}x{height} pixels; {SIDE}x{SIDE} is read without normalising")
    digits = _digits(picture, split=reading.split)
    return [Found(normal_form.image(digit.ink), _edges(digit.box, factor)) for digit in digits]


def _digits(picture: Image.Image, *, split: bool) -> Sequence[Digit]:
    overview, factor = ink.reduced(picture, OVERVIEW)
    found = marks.find(ink.of(overview))
    digits = marks.each_digit(found) if split else [marks.one_digit(found)]
    largest = max(max(digit.ink.shape) for digit in digits)
    if factor == 1 or largest >= CLOSER:
        return [Digit(digit.ink, _scaled(digit.box, factor)) for digit in digits]
    left, top, right, bottom = _surroundings([_scaled(digit.box, factor) for digit in digits], largest * factor)
    closer = picture.crop((max(left, 0), max(top, 0), min(right, picture.width), min(bottom, picture.height)))
    return [Digit(digit.ink, _moved(digit.box, max(top, 0), max(left, 0))) for digit in _digits(closer, split=split)]


def _surroundings(boxes: Sequence[Box], margin: int) -> tuple[int, int, int, int]:
    tops, bottoms, lefts, rights = zip(*boxes, strict=True)
    return min(lefts) - margin, min(tops) - margin, max(rights) + margin, max(bottoms) + margin


def _scaled(box: Box, factor: int) -> Box:
    return Box(*(factor * edge for edge in box))


def _moved(box: Box, down: int, right: int) -> Box:
    return Box(box.top + down, box.bottom + down, box.left + right, box.right + right)


def _edges(box: Box, factor: float) -> tuple[int, int, int, int]:
    left, top, right, bottom = (round(factor * edge) for edge in (box.left, box.top, box.right, box.bottom))
    return left, top, right, bottom
