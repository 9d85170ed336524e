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

from service.errors import NoDigitFound
from service.imaging import ink, mnist_format, page_detection, segmentation
from service.imaging.decode import decode
from service.imaging.geometry import Box
from service.imaging.segmentation import DigitInk
from service.settings import Settings
from service.types import IMAGE_SIDE, DigitImage

NORMALISE_MODES = ("auto", "always", "never")
ANALYSIS_SIDE = 1024
"""Digits are looked for on at most this number squared of pixels; a larger picture is reduced."""
MIN_DIGIT_SIDE = 100
"""Pixels along the longer side of a digit: smaller ones on a reduced picture are looked at again, closer."""
MIN_CONTRAST = 32
"""Between the darkest and the lightest pixel of an image; less than this is no pen stroke."""

_BORDER_INDICES = np.flatnonzero(np.pad(np.zeros((IMAGE_SIDE - 2, IMAGE_SIDE - 2)), 1, constant_values=1))


@dataclass(frozen=True)
class NormaliseOptions:
    """How pictures are to be read.

    normalise: "auto" leaves an image that is light on dark as it is and normalises all else, "always" normalises
    that too, "never" refuses all else. split: every digit of a row on its own.
    """

    normalise: str = "auto"
    split: bool = False


DEFAULT_OPTIONS = NormaliseOptions()


class ExtractedDigit(NamedTuple):
    """An image, and where on the picture its digit was: left, top, right, bottom in pixels, the ends not included."""

    image: DigitImage
    box: tuple[int, int, int, int]


FULL_IMAGE_BOX = (0, 0, IMAGE_SIDE, IMAGE_SIDE)


def read_picture(data: bytes, settings: Settings, options: NormaliseOptions) -> list[ExtractedDigit]:
    """The images in the file of a picture: one, or with `split` one of each digit, from left to right.

    Raises:
        Malformed, UnknownType, TooLarge: as `decode` says.
        NoDigit: there is nothing to read on it, or it is no image and must not be normalised.
    """
    decoded = decode(data, settings)
    return _read_decoded(decoded.picture, decoded.scale, options)


def read_image(image: DigitImage, options: NormaliseOptions) -> list[ExtractedDigit]:
    """As `read`, from pixels uint8 [28, 28]."""
    if passes_unchanged(image, options):
        return [ExtractedDigit(image, FULL_IMAGE_BOX)]
    return _read_decoded(Image.fromarray(image), 1.0, options)


def passes_unchanged(image: DigitImage, options: NormaliseOptions = DEFAULT_OPTIONS) -> bool:
    """Whether an image [28, 28] passes as it is: light on dark by its own middle grey.

    Raises:
        NoDigit: it would, but there is too little on it; or it would not, and must not be normalised.
    """
    if options.normalise == "always" or options.split:
        return False
    low, high = int(image.min()), int(image.max())
    if 2 * np.count_nonzero(image.reshape(-1)[_BORDER_INDICES] > (low + high) // 2) > len(_BORDER_INDICES):
        if options.normalise == "never":
            raise NoDigitFound("the picture is dark on light, and is not to be normalised")
        return False
    if high - low < MIN_CONTRAST:
        raise NoDigitFound(
            f"no digit to read: the pixels differ by {high - low} at most; a stroke needs {MIN_CONTRAST}"
        )
    return True


def _read_decoded(picture: Image.Image, factor: float, options: NormaliseOptions) -> list[ExtractedDigit]:
    if picture.size == (IMAGE_SIDE, IMAGE_SIDE):
        grey = picture if picture.mode == "L" else picture.convert("L")
        image = np.frombuffer(grey.tobytes(), np.uint8).reshape(IMAGE_SIDE, IMAGE_SIDE)  # faster than np.asarray
        if passes_unchanged(image, options):
            return [ExtractedDigit(image, FULL_IMAGE_BOX)]
    elif options.normalise == "never":
        width, height = (round(side * factor) for side in picture.size)
        raise NoDigitFound(
            f"the picture has {width}x{height} pixels; {IMAGE_SIDE}x{IMAGE_SIDE} is read without normalising"
        )
    digits = _extract_from_page(picture, split=options.split)
    return [
        ExtractedDigit(mnist_format.to_mnist(digit.ink), _upload_coordinates(digit.box, factor)) for digit in digits
    ]


def _extract_from_page(picture: Image.Image, *, split: bool) -> Sequence[DigitInk]:
    """The digits on the page that the picture shows; on all of the picture if there are none."""
    area = page_detection.find_page(picture)
    if area != (0, picture.height, 0, picture.width):
        with suppress(NoDigitFound):
            return _extract_in_area(picture, area, split=split)
    return _extract_digits(picture, split=split)


def _extract_digits(picture: Image.Image, *, split: bool) -> Sequence[DigitInk]:
    overview, factor = ink.downscale(picture, ANALYSIS_SIDE)
    found = segmentation.find_components(ink.extract_ink(overview))
    digits = segmentation.segment_row(found) if split else [segmentation.extract_single_digit(found)]
    largest = max(max(digit.ink.shape) for digit in digits)
    digits = [DigitInk(digit.ink, _enclosing_box([digit.box.scaled(factor)], 0, picture)) for digit in digits]
    closer = _enclosing_box([digit.box for digit in digits], factor * largest, picture)
    if factor == 1 or largest >= MIN_DIGIT_SIDE or closer.area > picture.width * picture.height / 2:
        return digits
    with suppress(NoDigitFound):
        again = _extract_in_area(picture, closer, split=split)
        return again if len(again) == len(digits) else digits
    return digits


def _extract_in_area(picture: Image.Image, area: Box, *, split: bool) -> Sequence[DigitInk]:
    """The digits in a part of the picture, their boxes in pixels of the whole."""
    part = picture.crop((area.left, area.top, area.right, area.bottom))
    return [
        DigitInk(digit.ink, digit.box.translated(area.top, area.left)) for digit in _extract_digits(part, split=split)
    ]


def _enclosing_box(boxes: Sequence[Box], margin: int, picture: Image.Image) -> Box:
    """What is on the picture of the area around boxes, with a margin."""
    tops, bottoms, lefts, rights = zip(*boxes, strict=True)
    top, left = max(min(tops) - margin, 0), max(min(lefts) - margin, 0)
    return Box(top, min(max(bottoms) + margin, picture.height), left, min(max(rights) + margin, picture.width))


def _upload_coordinates(box: Box, factor: float) -> tuple[int, int, int, int]:
    left, top, right, bottom = (round(factor * edge) for edge in (box.left, box.top, box.right, box.bottom))
    return left, top, right, bottom
