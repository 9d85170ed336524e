"""Reads a picture: the bytes of an upload -> the image of its digit, or an image of each of its digits.

    decode          bytes -> an upright, opaque picture
    page_detection  the sheet of paper on it, without bars, frames and table
    ink             how far each pixel is from the paper
    components      the connected components of the ink, without ruled lines and boxes
    segmentation    which of them make up each digit, line by line, without specks
    digit_count     how many digits there are, if one is read
    mnist_format    the ink of one digit -> image

An image is uint8 [28, 28], 0 background to 255 ink. A picture of 28x28 pixels that has the form of MNIST's images
(normal_form.py) passes unchanged, unless normalisation is requested.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from service.errors import NoDigitFound
from service.imaging.components import Components, find_components
from service.imaging.decode import decode
from service.imaging.digit_count import count_digits
from service.imaging.geometry import Box
from service.imaging.ink import InkModel, extract_ink, fit_ink_model, reduce_picture
from service.imaging.mnist_format import to_mnist
from service.imaging.normal_form import has_normal_form
from service.imaging.page_detection import MIN_PICTURE_SIDE, Paper, find_paper
from service.imaging.segmentation import DigitInk, extract_single_digit, segment_lines
from service.settings import Settings
from service.types import IMAGE_SIDE, DigitImage, Pixels

NORMALISE_MODES = ("auto", "always", "never")
ANALYSIS_SIDE, ROW_ANALYSIS_SIDE = 512, 1024
"""A digit, or a row of digits, is searched for on about this number squared of pixels; a larger picture is reduced."""
THUMBNAIL_SIDE = 96
"""Paper, background, ink colour and illumination are estimated on about this number squared of pixels."""
MIN_DIGIT_SIDE = 80
"""Pixels along the longer side of a digit: the ink of a smaller one on a reduced picture is read in full resolution."""
MIN_EDGE_INTENSITY = 20
"""Intensity, 0 to 255: a fainter pixel of full resolution is paper."""
MIN_CONTRAST = 32
"""Grey levels between the darkest and the lightest pixel of an image; with less there is no stroke."""

_BORDER_INDICES = np.flatnonzero(np.pad(np.zeros((IMAGE_SIDE - 2, IMAGE_SIDE - 2)), 1, constant_values=1))


@dataclass(frozen=True)
class NormaliseOptions:
    """How pictures are read.

    normalise: "auto" passes pictures in the form of MNIST's images unchanged and normalises everything else, "always"
    normalises those too, "never" normalises nothing: what is not 28x28 and light on dark is rejected. None: the request
    has no such parameter; pictures are read as with "auto", and images of a bulk body pass unchanged. split: each digit
    of a row becomes an image.
    """

    normalise: str | None = None
    split: bool = False


DEFAULT_OPTIONS = NormaliseOptions()


class ExtractedDigit(NamedTuple):
    """An image, and where its digit is on the picture.

    box: left, top, right, bottom in pixels, the last two exclusive. line: the number of its line of writing, from 1 at
    the top. is_incomplete: the line may have lost a digit, since ink at the border of the picture was left out.
    digit_count: how many digits the picture shows; over 1 only if it was not split.
    """

    image: DigitImage
    box: tuple[int, int, int, int]
    line: int = 1
    is_incomplete: bool = False
    digit_count: int = 1


FULL_IMAGE_BOX = (0, 0, IMAGE_SIDE, IMAGE_SIDE)


def read_picture(data: bytes, settings: Settings, options: NormaliseOptions) -> list[ExtractedDigit]:
    """Read the file of a picture: one image, or with `split` one for each digit, line by line, from left to right.

    Raises:
        BadRequest, UnsupportedMediaType, PayloadTooLarge: as `decode` raises them.
        NoDigitFound: there is no digit on it, or it is not an image and must not be normalised.
        MemoryError: the process may not allocate the memory that it takes.
    """
    with _opencv_memory_errors():
        decoded = decode(data, settings)
        return _read_decoded(decoded.pixels, decoded.scale, options)


def read_image(image: DigitImage, options: NormaliseOptions) -> list[ExtractedDigit]:
    """As `read_picture`, from pixels uint8 [28, 28]."""
    if passes_unchanged(image, options):
        return [ExtractedDigit(image, FULL_IMAGE_BOX)]
    with _opencv_memory_errors():
        return _read_decoded(image, 1.0, options)


@contextmanager
def _opencv_memory_errors() -> Iterator[None]:
    """Raise OpenCV's error for a failed allocation as the MemoryError that it is."""
    try:
        yield
    except cv2.error as error:
        if error.code == cv2.Error.STS_NO_MEM:
            raise MemoryError from error
        raise


def passes_unchanged(image: DigitImage, options: NormaliseOptions = DEFAULT_OPTIONS) -> bool:
    """Whether an image [28, 28] passes unchanged: it has the form of MNIST's images, or must not be normalised.

    Raises:
        NoDigitFound: it must not be normalised, but is dark on light, or has too little contrast.
    """
    if options.normalise == "always" or options.split:
        return False
    if options.normalise == "never":
        _check_light_on_dark(image)
        return True
    left, top, width, height = cv2.boundingRect(image)
    return has_normal_form(image.tobytes(), (left, top, left + width, top + height))


def _check_light_on_dark(image: DigitImage) -> None:
    """At most half of the border may be lighter than the middle grey."""
    low, high = int(image.min()), int(image.max())
    if 2 * np.count_nonzero(image.reshape(-1)[_BORDER_INDICES] > (low + high) // 2) > len(_BORDER_INDICES):
        raise NoDigitFound("the picture is dark on light, and is not to be normalised")
    if high - low < MIN_CONTRAST:
        contrast = f"the pixels differ by {high - low} at most; a stroke needs {MIN_CONTRAST}"
        raise NoDigitFound(f"no digit to read: {contrast}")


def _read_decoded(pixels: Pixels, scale: float, options: NormaliseOptions) -> list[ExtractedDigit]:
    """Read a decoded picture; one of its pixels stands for `scale` pixels of the upload along each side."""
    height, width = pixels.shape[:2]
    if (height, width) == (IMAGE_SIDE, IMAGE_SIDE):
        image = pixels if pixels.ndim == 2 else np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)
        if passes_unchanged(image, options):
            return [ExtractedDigit(image, FULL_IMAGE_BOX)]
    elif options.normalise == "never":
        size = f"the picture has {round(width * scale)}x{round(height * scale)} pixels"
        raise NoDigitFound(f"{size}; {IMAGE_SIDE}x{IMAGE_SIDE} is read without normalising")
    return [
        ExtractedDigit(
            to_mnist(digit.ink),
            _upload_coordinates(digit.box, scale),
            digit.line,
            digit.is_incomplete,
            digit.digit_count,
        )
        for digit in _extract_digits(pixels, split=options.split)
    ]


def _extract_digits(pixels: Pixels, *, split: bool) -> Sequence[DigitInk]:
    """The digits of a picture; their boxes are in its pixels."""
    small, factor = reduce_picture(pixels, ROW_ANALYSIS_SIDE if split else ANALYSIS_SIDE)
    thumbnail, _ = reduce_picture(small, THUMBNAIL_SIDE)
    model, components = _find_ink(small, thumbnail)
    digits = segment_lines(components) if split else [_extract_counted_digit(components)]
    if factor == 1:
        return digits
    return [_look_closer(digit, pixels, factor, model) for digit in digits]


def _extract_counted_digit(components: Components) -> DigitInk:
    return extract_single_digit(components)._replace(digit_count=count_digits(components))


def _find_ink(small: Pixels, thumbnail: Pixels) -> tuple[InkModel, Components]:
    """The components of the ink on the paper; on the whole picture if there are none on the paper."""
    paper = find_paper(thumbnail) if min(small.shape[:2]) >= MIN_PICTURE_SIDE else None
    if paper is not None:
        model = _fit_model(thumbnail, paper)
        with suppress(NoDigitFound):
            return model, find_components(extract_ink(small, model))
    model = fit_ink_model(thumbnail)
    return model, find_components(extract_ink(small, model))


def _fit_model(thumbnail: Pixels, paper: Paper) -> InkModel:
    surroundings = (~paper.mask).view(np.uint8) * np.uint8(255) if paper.has_surroundings else None
    return fit_ink_model(thumbnail, paper.mask, surroundings)


def _look_closer(digit: DigitInk, pixels: Pixels, factor: int, model: InkModel) -> DigitInk:
    """A digit that was found on a picture reduced by `factor`, in full resolution if it is small.

    An edge that covers little of a reduced pixel is faint there: the pixels around those of the digit may be ink too.
    """
    if max(digit.ink.shape) >= MIN_DIGIT_SIDE:
        return digit._replace(box=digit.box.scaled(factor))
    height, width = pixels.shape[:2]
    box = digit.box.expanded(1, height // factor, width // factor)
    top, left = digit.box.top - box.top, digit.box.left - box.left
    margins = (top, box.bottom - digit.box.bottom), (left, box.right - digit.box.right)
    mask = cv2.dilate(np.pad((digit.ink > 0).view(np.uint8), margins), np.ones((3, 3), np.uint8))
    box = box.scaled(factor)
    area = pixels[box.top : box.bottom, box.left : box.right]
    intensity = model.measure_intensity(model.measure_lightness(area, box, (height, width)))
    mask = cv2.resize(mask, (box.width, box.height), interpolation=cv2.INTER_NEAREST)
    ink = np.where((mask > 0) & (intensity > MIN_EDGE_INTENSITY), intensity, np.uint8(0))
    if not ink.any():
        return digit._replace(box=digit.box.scaled(factor))
    tight = Box.bounding(ink)
    return digit._replace(
        ink=ink[tight.top : tight.bottom, tight.left : tight.right], box=tight.translated(box.top, box.left)
    )


def _upload_coordinates(box: Box, scale: float) -> tuple[int, int, int, int]:
    left, top, right, bottom = (round(scale * edge) for edge in (box.left, box.top, box.right, box.bottom))
    return left, top, right, bottom
