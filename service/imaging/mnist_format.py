"""MNIST's format: the ink of a digit -> an image uint8 [28, 28], made as MNIST's were.

The digit fills a box of 20 x 20 along its longer side, with grey levels by area. Its centre of mass is in the middle of
28 x 28. Bottou and Yadav reconstructed the exact rule ("Cold case: the lost MNIST digits", NeurIPS 2019,
https://github.com/facebookresearch/qmnist): the box is placed at int(15 - centre).
"""

import math

import cv2
import numpy as np

from service.types import IMAGE_SIDE, DigitImage, FloatImage, GreyImage

DIGIT_BOX = 20
SUPERSAMPLING = 4
"""Steps a pixel of the image in which strokes are measured, dilated and eroded."""
FINE_SIDE = DIGIT_BOX * SUPERSAMPLING
MIN_STROKE_WIDTH, MAX_STROKE_WIDTH = 1.5, 4.3
"""Pixels of the image: the mean stroke width of 98 in 100 of MNIST's digits is between the two."""
TARGET_MIN_WIDTH, TARGET_MAX_WIDTH = 2.0, 3.5
"""Pixels of the image: what a thinner stroke is dilated to, and a thicker one eroded to."""
HAIRLINE = 2.0
"""Fine pixels: a thinner stroke is dilated before it is reduced, since a mean over its surroundings is faint."""

_CROSS, _SQUARE = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)), np.ones((3, 3), np.uint8)


def to_mnist(ink: GreyImage) -> DigitImage:
    """Convert the ink of a digit to an image.

    Args:
        ink: uint8 [H, W], 0 paper to 255 ink; its border rows and columns have ink.
    """
    return _centre_by_mass(_resize(_normalise_stroke_width(_stretch(ink)), DIGIT_BOX))


def stroke_width(ink: GreyImage | FloatImage) -> float:
    """The mean stroke width in pixels: twice the mass by the length of the outline, with grey levels.

    The outline is the total variation along rows and columns. It is independent of an integer scale, and longer than a
    line in any direction by 4 / pi on average.
    """
    padded = cv2.copyMakeBorder(ink, 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    differences = (padded[1:], padded[:-1]), (padded[:, 1:], padded[:, :-1])
    outline = sum(cv2.norm(after, before, cv2.NORM_L1) for after, before in differences) * math.pi / 4
    return 2 * cv2.sumElems(ink)[0] / outline if outline else 0.0


def _stretch(ink: GreyImage) -> GreyImage:
    """Scale the largest intensity to 255."""
    highest = cv2.minMaxLoc(ink)[1]
    return ink if highest in {0, 255} else np.asarray(cv2.convertScaleAbs(ink, alpha=255 / highest), np.uint8)


def _normalise_stroke_width(ink: GreyImage) -> GreyImage:
    """Dilate a hairline, erode the stroke of a felt pen; everything within MNIST's range stays as it is."""
    side = max(ink.shape)
    reduced = _resize(ink, FINE_SIDE) if side > FINE_SIDE else ink
    width = stroke_width(reduced) * DIGIT_BOX / max(reduced.shape)
    if MIN_STROKE_WIDTH <= width <= MAX_STROKE_WIDTH:
        return ink
    if width * SUPERSAMPLING < HAIRLINE:
        ink = _thicken(ink, side // FINE_SIDE // 2)
    fine = _stretch(_resize(ink, FINE_SIDE))
    width = stroke_width(fine) / SUPERSAMPLING
    target = min(max(width, TARGET_MIN_WIDTH), TARGET_MAX_WIDTH)
    steps = round(abs(target - width) * SUPERSAMPLING / 2)
    return _crop_to_ink(_dilate(fine, steps) if target > width else _erode(fine, steps))


def _thicken(ink: GreyImage, radius: int) -> GreyImage:
    """Dilate by a square of 2 radius + 1 pixels a side."""
    padded = cv2.copyMakeBorder(ink, radius, radius, radius, radius, cv2.BORDER_CONSTANT)
    return np.asarray(cv2.dilate(padded, np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)), np.uint8)


def _dilate(ink: GreyImage, steps: int) -> GreyImage:
    """Dilate by a cross and a square in turn, which is an octagon, nearly a disc."""
    result = cv2.copyMakeBorder(ink, steps, steps, steps, steps, cv2.BORDER_CONSTANT)
    for step in range(steps):
        result = cv2.dilate(result, _SQUARE if step % 2 else _CROSS)
    return np.asarray(result, np.uint8)


def _erode(ink: GreyImage, steps: int) -> GreyImage:
    """Erode by so many steps of a cross and a square in turn, or by as many as leave a stroke."""
    result = cv2.copyMakeBorder(ink, 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    for step in range(steps):
        smaller = cv2.erode(result, _SQUARE if step % 2 else _CROSS)
        if cv2.minMaxLoc(smaller)[1] < 128:
            break
        result = smaller
    return np.asarray(result, np.uint8)


def _resize(ink: GreyImage, side: int) -> GreyImage:
    """Resize by area so that the longer side is `side`; ink of less than twice that is enlarged bicubically first."""
    height, width = ink.shape
    if max(height, width) == side:
        return ink
    scale = side / max(height, width)
    source: cv2.typing.MatLike = ink
    if scale > 0.5:
        source = cv2.resize(ink, (4 * width, 4 * height), interpolation=cv2.INTER_CUBIC)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(source, size, interpolation=cv2.INTER_AREA), np.uint8)


def _crop_to_ink(ink: GreyImage) -> GreyImage:
    left, top, width, height = cv2.boundingRect(ink)
    return ink[top : top + height, left : left + width]


def _centre_by_mass(digit: GreyImage) -> DigitImage:
    """Place a digit of at most 20 x 20 on 28 x 28 by its centre of mass, and scale its largest intensity to 255."""
    moments, (height, width) = cv2.moments(digit), digit.shape
    top = int(14.5 - moments["m01"] / moments["m00"])
    left = int(14.5 - moments["m10"] / moments["m00"])
    top, left = min(max(top, 0), IMAGE_SIDE - height), min(max(left, 0), IMAGE_SIDE - width)
    image = np.zeros((IMAGE_SIDE, IMAGE_SIDE), np.uint8)
    image[top : top + height, left : left + width] = _stretch(digit)
    return image
