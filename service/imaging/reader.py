"""Reads a picture: the bytes of an upload -> the image of its digit, or an image of each of its digits.

    decode          bytes -> an upright, opaque picture
    page_detection  the sheet of paper on it, without bars, frames and table
    ink             how far each pixel is from the paper
    segmentation    the connected components that make up each digit, without specks, ruled lines and boxes
    mnist_format    the ink of one digit -> image

An image is uint8 [28, 28], 0 background to 255 ink. A picture that already is an image, 28x28 pixels and light on dark,
passes unchanged, unless normalisation is requested.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image

from service.errors import NoDigitFound
from service.imaging.decode import decode
from service.imaging.geometry import Box
from service.imaging.ink import downscale, extract_ink
from service.imaging.mnist_format import to_mnist
from service.imaging.page_detection import find_page
from service.imaging.segmentation import DigitInk, extract_single_digit, find_components, segment_row
from service.settings import Settings
from service.types import IMAGE_SIDE, DigitImage

NORMALISE_MODES = ("auto", "always", "never")
ANALYSIS_SIDE = 1024
"""Digits are searched for on about this number squared of pixels; a larger picture is downscaled."""
MIN_DIGIT_SIDE = 100
"""Pixels along the longer side of a digit: a smaller one on a downscaled picture is read again at full resolution."""
MIN_CONTRAST = 32
"""Grey levels between the darkest and the lightest pixel of an image; with less there is no stroke."""

_BORDER_INDICES = np.flatnonzero(np.pad(np.zeros((IMAGE_SIDE - 2, IMAGE_SIDE - 2)), 1, constant_values=1))


@dataclass(frozen=True)
class NormaliseOptions:
    """How pictures are read.

    normalise: "auto" passes images that are light on dark unchanged and normalises everything else, "always"
    normalises those too, "never" rejects everything else. None: the request has no such parameter; pictures are read
    as with "auto", and images of a bulk body pass unchanged. split: each digit of a row becomes an image.
    """

    normalise: str | None = None
    split: bool = False


DEFAULT_OPTIONS = NormaliseOptions()


class ExtractedDigit(NamedTuple):
    """An image, and where its digit is on the picture.

    box: left, top, right, bottom in pixels, the last two exclusive. line: the number of its line of writing, from 1 at
    the top. is_incomplete: the line may have lost a digit, since ink at the border of the picture was left out.
    """

    image: DigitImage
    box: tuple[int, int, int, int]
    line: int = 1
    is_incomplete: bool = False


FULL_IMAGE_BOX = (0, 0, IMAGE_SIDE, IMAGE_SIDE)


def read_picture(data: bytes, settings: Settings, options: NormaliseOptions) -> list[ExtractedDigit]:
    """Read the file of a picture: one image, or with `split` one for each digit, line by line, from left to right.

    Raises:
        BadRequest, UnsupportedMediaType, PayloadTooLarge: as `decode` raises them.
        NoDigitFound: there is no digit on it, or it is not an image and must not be normalised.
    """
    decoded = decode(data, settings)
    return _read_decoded(decoded.picture, decoded.scale, options)


def read_image(image: DigitImage, options: NormaliseOptions) -> list[ExtractedDigit]:
    """As `read_picture`, from pixels uint8 [28, 28]."""
    if passes_unchanged(image, options):
        return [ExtractedDigit(image, FULL_IMAGE_BOX)]
    return _read_decoded(Image.fromarray(image), 1.0, options)


def passes_unchanged(image: DigitImage, options: NormaliseOptions = DEFAULT_OPTIONS) -> bool:
    """Whether an image [28, 28] passes unchanged: at most half of its border is lighter than its middle grey.

    Raises:
        NoDigitFound: it would pass, but has too little contrast; or it would not, and must not be normalised.
    """
    if options.normalise == "always" or options.split:
        return False
    low, high = int(image.min()), int(image.max())
    if 2 * np.count_nonzero(image.reshape(-1)[_BORDER_INDICES] > (low + high) // 2) > len(_BORDER_INDICES):
        if options.normalise == "never":
            raise NoDigitFound("the picture is dark on light, and is not to be normalised")
        return False
    if high - low < MIN_CONTRAST:
        contrast = f"the pixels differ by {high - low} at most; a stroke needs {MIN_CONTRAST}"
        raise NoDigitFound(f"no digit to read: {contrast}")
    return True


def _read_decoded(picture: Image.Image, scale: float, options: NormaliseOptions) -> list[ExtractedDigit]:
    """Read a decoded picture; one of its pixels stands for `scale` pixels of the upload along each side."""
    if picture.size == (IMAGE_SIDE, IMAGE_SIDE):
        grey = picture if picture.mode == "L" else picture.convert("L")
        image = np.frombuffer(grey.tobytes(), np.uint8).reshape(IMAGE_SIDE, IMAGE_SIDE)  # faster than np.asarray
        if passes_unchanged(image, options):
            return [ExtractedDigit(image, FULL_IMAGE_BOX)]
    elif options.normalise == "never":
        width, height = (round(side * scale) for side in picture.size)
        size = f"the picture has {width}x{height} pixels"
        raise NoDigitFound(f"{size}; {IMAGE_SIDE}x{IMAGE_SIDE} is read without normalising")
    digits = _extract_from_page(picture, split=options.split)
    return [ExtractedDigit(to_mnist(digit.ink), _upload_coordinates(digit.box, scale)) for digit in digits]


def _extract_from_page(picture: Image.Image, *, split: bool) -> Sequence[DigitInk]:
    """The digits on the page; on the whole picture if there are none on the page."""
    page, whole = find_page(picture), Box(0, picture.height, 0, picture.width)
    if page != whole:
        with suppress(NoDigitFound):
            return _extract_digits(picture, page, split=split)
    return _extract_digits(picture, whole, split=split)


def _extract_digits(picture: Image.Image, area: Box, *, split: bool) -> Sequence[DigitInk]:
    """The digits in an area of the picture; their boxes are on the whole picture."""
    small, factor = downscale(picture, ANALYSIS_SIDE, area)
    components = find_components(extract_ink(small))
    digits = segment_row(components) if split else [extract_single_digit(components)]
    largest = max(max(digit.ink.shape) for digit in digits)
    size = area.height, area.width
    boxes = [digit.box.scaled(factor).expanded(0, *size) for digit in digits]
    closer_area = Box.enclosing(boxes).expanded(factor * largest, *size)
    digits = [
        DigitInk(digit.ink, box.translated(area.top, area.left)) for digit, box in zip(digits, boxes, strict=True)
    ]
    if factor == 1 or largest >= MIN_DIGIT_SIDE or closer_area.area > area.area / 2:
        return digits
    with suppress(NoDigitFound):
        closer = _extract_digits(picture, closer_area.translated(area.top, area.left), split=split)
        return closer if len(closer) == len(digits) else digits
    return digits


def _upload_coordinates(box: Box, scale: float) -> tuple[int, int, int, int]:
    left, top, right, bottom = (round(scale * edge) for edge in (box.left, box.top, box.right, box.bottom))
    return left, top, right, bottom
