"""Touching digits: cuts a component of several digits along the paths of least ink, from its top to its bottom.

A path moves by at most one column a row, as a seam in seam carving (Avidan and Shamir, "Seam carving for content-aware
image resizing", 2007). It is searched near the place where a digit of typical width would end.
"""

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from service.imaging.geometry import Box
from service.types import GreyImage

TOUCHING_ASPECT, DASH_ASPECT = 1.6, 12.0
"""Width by height: between the two, ink is of digits that touch; above, a dash."""
TYPICAL_ASPECT = 0.75
"""Width by height of a digit among digits that touch."""
SEARCH_RANGE = 0.3
"""Fraction of a digit's expected width to either side, in which a path is searched."""
STEP_COST = 0.02
"""Ink, as a fraction of a full pixel, that a path rather crosses than moves by a column."""
MIN_PART_MASS = 0.02
"""Fraction of the ink: a lighter part is no digit."""


def split_touching_digits(ink: GreyImage, height: float) -> list[tuple[GreyImage, Box]]:
    """Cut the ink uint8 [H, W] of digits that touch, in a line of this height in pixels.

    Returns:
        The ink of each digit in its own bounding box, and this box in `ink`.
    """
    height = max(height, 0.7 * ink.shape[0])
    rows, width = ink.shape
    if not TOUCHING_ASPECT * height < width < DASH_ASPECT * rows:
        return [(ink, Box(0, rows, 0, width))]
    count = max(2, round(width / (TYPICAL_ASPECT * height)))
    step = width / count
    columns = np.arange(width)
    paths = [np.zeros(rows, np.intp)]
    for number in range(1, count):
        first, last = round((number - SEARCH_RANGE) * step), round((number + SEARCH_RANGE) * step)
        paths.append(first + _path_of_least_ink(ink[:, first : last + 1]))
    paths.append(np.full(rows, width))
    parts = [
        np.where((columns >= left[:, None]) & (columns < right[:, None]), ink, np.uint8(0))
        for left, right in pairwise(paths)
    ]
    boxes = [Box.bounding(part) if part.any() else None for part in parts]
    return [(part[box.slices], box) for part, box in zip(parts, boxes, strict=True) if box]


def _path_of_least_ink(ink: GreyImage) -> npt.NDArray[np.intp]:
    """The column of the path in each row of [H, W]."""
    cost = ink.astype(np.float32) / 255
    height, width = cost.shape
    steps = np.zeros((height, width), np.intp)
    total = cost[0] + 1e-4 * np.abs(np.arange(width) - width / 2)
    for row in range(1, height):
        padded = np.pad(total, 1, constant_values=np.inf)
        choices = np.stack([padded[1:-1], padded[:-2] + STEP_COST, padded[2:] + STEP_COST])
        choice = choices.argmin(axis=0)
        steps[row] = np.array([0, -1, 1])[choice]
        total = choices.min(axis=0) + cost[row]
    path = np.empty(height, np.intp)
    path[-1] = int(total.argmin())
    for row in range(height - 1, 0, -1):
        path[row - 1] = path[row] + steps[row, path[row]]
    return path
