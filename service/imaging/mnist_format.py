"""MNIST's format: the ink of a digit -> an image uint8 [28, 28], made as MNIST's were.

The digit fills a box of 20 x 20 along its longer side, with grey levels by area. Its centre of mass is in the middle of
28 x 28. Bottou and Yadav reconstructed the exact rule ("Cold case: the lost MNIST digits", NeurIPS 2019,
https://github.com/facebookresearch/qmnist): the box is placed at int(15 - centre).
"""

import math

import numpy as np
from PIL import Image

from service.imaging.geometry import Box
from service.types import IMAGE_SIDE, DigitImage, FloatImage, GreyImage

DIGIT_BOX = 20
SUPERSAMPLING = 4
"""Steps a pixel of the image in which strokes are dilated or eroded."""
MIN_STROKE_WIDTH, MAX_STROKE_WIDTH = 1.5, 4.3
"""Pixels of the image: the mean stroke width of 98 in 100 of MNIST's digits is between the two."""
TARGET_MIN_WIDTH, TARGET_MAX_WIDTH = 2.0, 3.5
"""Pixels of the image: what a thinner stroke is dilated to, and a thicker one eroded to."""


def to_mnist(ink: GreyImage) -> DigitImage:
    """Convert the ink of a digit to an image.

    Args:
        ink: uint8 [H, W], 0 paper to 255 ink; its border rows and columns have ink.
    """
    return _centre_by_mass(_resize_to_box(_crop_to_ink(_normalise_stroke_width(ink.astype(np.float32) / 255))))


def stroke_width(ink: FloatImage) -> float:
    """The mean stroke width in pixels: twice the mass by the length of the outline, with grey levels.

    The outline is the total variation along rows and columns. It is independent of an integer scale, and longer than a
    line in any direction by 4 / pi on average.
    """
    padded = np.pad(ink, 1)
    outline = float(np.abs(np.diff(padded, axis=0)).sum() + np.abs(np.diff(padded, axis=1)).sum()) * math.pi / 4
    return 2 * float(ink.sum()) / outline if outline else 0.0


def _normalise_stroke_width(ink: FloatImage) -> FloatImage:
    """Dilate a hairline, erode the stroke of a felt pen; everything within MNIST's range stays as it is."""
    to_box = DIGIT_BOX / max(ink.shape)
    if MIN_STROKE_WIDTH <= stroke_width(ink) * to_box <= MAX_STROKE_WIDTH:
        return ink
    is_hairline = stroke_width(ink) * to_box * SUPERSAMPLING < 2
    fine = _resize(ink / ink.max(), DIGIT_BOX * SUPERSAMPLING, keep_hairlines=is_hairline)
    width = stroke_width(fine) / SUPERSAMPLING
    target = min(max(width, TARGET_MIN_WIDTH), TARGET_MAX_WIDTH)
    steps = round(abs(target - width) * SUPERSAMPLING / 2)
    return _dilate(fine, steps) if target > width else _erode(fine, steps)


def _dilate(ink: FloatImage, steps: int) -> FloatImage:
    ink = np.pad(ink, steps)
    for step in range(steps):
        ink = _neighbourhood_max(ink, with_corners=step % 2 == 1)
    return ink


def _erode(ink: FloatImage, steps: int) -> FloatImage:
    """Erode by so many steps, or by as many as leave a stroke."""
    ink = np.pad(ink, 1)
    for step in range(steps):
        smaller = 1 - _neighbourhood_max(1 - ink, with_corners=step % 2 == 1)
        if smaller.max() < 0.5:
            break
        ink = smaller
    return ink


def _neighbourhood_max(ink: FloatImage, *, with_corners: bool) -> FloatImage:
    """Greyscale dilation by a cross, or by a square: alternating, they dilate by an octagon, which is nearly a disc."""
    padded = np.pad(ink, 1)
    height, width = ink.shape
    offsets = [(1, 1), (0, 1), (2, 1), (1, 0), (1, 2), *([(0, 0), (0, 2), (2, 0), (2, 2)] if with_corners else [])]
    return np.asarray(np.maximum.reduce([padded[top : top + height, left : left + width] for top, left in offsets]))


def _resize_to_box(ink: FloatImage) -> FloatImage:
    """Resize so that the longer side is 20."""
    return ink if max(ink.shape) == DIGIT_BOX else _resize(ink, DIGIT_BOX)


def _resize(ink: FloatImage, side: int, *, keep_hairlines: bool = False) -> FloatImage:
    """Resize by area so that the longer side is `side`; small ink is enlarged bicubically first.

    Args:
        ink: float32 [H, W].
        side: pixels.
        keep_hairlines: take the maximum of several pixels instead of their mean, so that a hairline is kept.
    """
    factor = max(ink.shape) // side
    if keep_hairlines and factor > 1:
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


def _centre_by_mass(digit: FloatImage) -> DigitImage:
    """Place a digit of at most 20 x 20 on 28 x 28 by its centre of mass, and scale its largest intensity to 255."""
    mass, (height, width) = digit.sum(), digit.shape
    centre_row = digit.sum(axis=1) @ (np.arange(height) + 0.5) / mass
    centre_column = digit.sum(axis=0) @ (np.arange(width) + 0.5) / mass
    top = min(max(int(15 - centre_row), 0), IMAGE_SIDE - height)
    left = min(max(int(15 - centre_column), 0), IMAGE_SIDE - width)
    image = np.zeros((IMAGE_SIDE, IMAGE_SIDE), np.uint8)
    image[top : top + height, left : left + width] = np.round(digit * (255 / digit.max()))
    return image
