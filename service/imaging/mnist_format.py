"""The ink of a digit -> an image uint8 [28, 28], as MNIST's were made.

A box of 20 x 20 that the digit fills along its longer side, grey levels by area; its centre of mass in the
middle of 28 x 28. Bottou and Yadav found the exact rule again ("Cold case: the lost MNIST digits", NeurIPS
2019, https://github.com/facebookresearch/qmnist): the box goes where int(15 - centre) says.
"""

import math

import numpy as np
from PIL import Image

from service.imaging.geometry import Box
from service.types import IMAGE_SIDE, DigitImage, FloatImage

DIGIT_BOX = 20
SUPERSAMPLING = 4
"""Steps a pixel of the image when strokes are made thicker or thinner."""
MIN_STROKE_WIDTH, MAX_STROKE_WIDTH = 1.5, 4.3
"""Pixels of the image: the mean stroke of 98 in 100 of MNIST's digits is between these; others are not of its pen."""
TARGET_MIN_WIDTH, TARGET_MAX_WIDTH = 2.0, 3.5
"""What a stroke that is too thin, or too thick, is brought to."""


def to_mnist(ink: FloatImage) -> DigitImage:
    """The image of a digit.

    Args:
        ink: float32 [H, W], 0 paper to 1 ink, whose border rows and columns are not all paper.
    """
    return _centre_by_mass(_resize_to_box(_crop_to_ink(_normalise_stroke_width(ink))))


def stroke_width(ink: FloatImage) -> float:
    """The mean width of the strokes in pixels: twice the ink by the length of its outline, grey levels and all.

    The outline is counted along rows and columns, which is the same at any whole scale, and is longer than a
    line in any direction by 4 / pi on average.
    """
    padded = np.pad(ink, 1)
    outline = float(np.abs(np.diff(padded, axis=0)).sum() + np.abs(np.diff(padded, axis=1)).sum()) * math.pi / 4
    return 2 * float(ink.sum()) / outline if outline else 0.0


def _normalise_stroke_width(ink: FloatImage) -> FloatImage:
    """The ink with strokes as a pen leaves them in MNIST: a hairline thicker, a felt pen's thinner."""
    to_box = DIGIT_BOX / max(ink.shape)
    if MIN_STROKE_WIDTH <= stroke_width(ink) * to_box <= MAX_STROKE_WIDTH:
        return ink
    fine = _resize(ink / ink.max(), DIGIT_BOX * SUPERSAMPLING, thin=stroke_width(ink) * to_box * SUPERSAMPLING < 2)
    width = stroke_width(fine) / SUPERSAMPLING
    wanted = min(max(width, TARGET_MIN_WIDTH), TARGET_MAX_WIDTH)
    steps = round(abs(wanted - width) * SUPERSAMPLING / 2)
    if wanted > width:
        return _dilate(fine, steps)
    return _erode(fine, steps)


def _dilate(ink: FloatImage, steps: int) -> FloatImage:
    ink = np.pad(ink, steps)
    for step in range(steps):
        ink = _neighbourhood_max(ink, corners=step % 2 == 1)
    return ink


def _erode(ink: FloatImage, steps: int) -> FloatImage:
    """As many steps as leave a stroke."""
    ink = np.pad(ink, 1)
    for step in range(steps):
        smaller = 1 - _neighbourhood_max(1 - ink, corners=step % 2 == 1)
        if smaller.max() < 0.5:
            break
        ink = smaller
    return ink


def _neighbourhood_max(ink: FloatImage, *, corners: bool) -> FloatImage:
    """Each pixel's darkest neighbour; with and without corners by turns, a circle grows to an octagon."""
    padded = np.pad(ink, 1)
    height, width = ink.shape
    offsets = [(1, 1), (0, 1), (2, 1), (1, 0), (1, 2), *([(0, 0), (0, 2), (2, 0), (2, 2)] if corners else [])]
    return np.asarray(np.maximum.reduce([padded[top : top + height, left : left + width] for top, left in offsets]))


def _resize_to_box(ink: FloatImage) -> FloatImage:
    """Resized so that the longer side is 20."""
    return ink if max(ink.shape) == DIGIT_BOX else _resize(ink, DIGIT_BOX)


def _resize(ink: FloatImage, side: int, *, thin: bool = False) -> FloatImage:
    """The ink with its longer side `side`, by area; a small one is enlarged first.

    Args:
        ink: float32 [H, W].
        side: pixels.
        thin: take the darkest of several pixels instead of their mean, so that a hairline stays.
    """
    factor = max(ink.shape) // side
    if thin and factor > 1:
        height, width = (-(-length // factor) * factor for length in ink.shape)
        padded = np.pad(ink, ((0, height - ink.shape[0]), (0, width - ink.shape[1])))
        ink = padded.reshape(height // factor, factor, width // factor, factor).max(axis=(1, 3))
    scale = side / max(ink.shape)
    height, width = (max(1, round(length * scale)) for length in ink.shape)
    picture = Image.fromarray(np.ascontiguousarray(ink, np.float32))
    if scale > 0.5:
        picture = picture.resize((4 * ink.shape[1], 4 * ink.shape[0]), Image.Resampling.BICUBIC)
    return np.asarray(np.clip(np.asarray(picture.resize((width, height), Image.Resampling.BOX)), 0, None))


def _crop_to_ink(ink: FloatImage) -> FloatImage:
    box = Box.bounding(ink)
    return ink[box.top : box.bottom, box.left : box.right]


def _centre_by_mass(box: FloatImage) -> DigitImage:
    """The box in 28 x 28, its darkest pixel at 255."""
    mass, (height, width) = box.sum(), box.shape
    centre_down = box.sum(axis=1) @ (np.arange(height) + 0.5) / mass
    centre_right = box.sum(axis=0) @ (np.arange(width) + 0.5) / mass
    top = min(max(int(15 - centre_down), 0), IMAGE_SIDE - height)
    left = min(max(int(15 - centre_right), 0), IMAGE_SIDE - width)
    image = np.zeros((IMAGE_SIDE, IMAGE_SIDE), np.uint8)
    image[top : top + height, left : left + width] = np.round(box * (255 / box.max()))
    return image
