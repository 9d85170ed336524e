"""Touching digits: cuts ink of several digits along the paths of least ink, from its top to its bottom.

A path moves by at most one column a row, as a seam in seam carving (Avidan and Shamir, "Seam carving for content-aware
image resizing", 2007). Of all paths, those are chosen that cost least together with the widths of the digits between
them. A path that crosses less than half a stroke parts digits that are close; a path through a stroke is worth it only
if the ink is too wide for one digit.
"""

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from service.imaging.geometry import Box
from service.imaging.mnist_format import stroke_width
from service.types import FloatImage, GreyImage, Mask

MIN_ASPECT, DASH_ASPECT = 0.7, 15.0
"""Width by the line's height, and by the ink's: between the two, ink may be of several digits; above, it is a dash."""
PLAN_HEIGHT = 48
"""Rows to which ink is reduced to choose the cuts: a stroke has about 5 of them."""
PAPER = 0.25
"""Ink, as a fraction of a full pixel, below which a pixel is paper."""
THICK_DISCOUNT = 0.8
"""Fraction by which ink costs less where it is two strokes thick: the sides of two digits run into each other there."""
HOLE_COST = 0.5
"""Ink, as a fraction of a full pixel, that a pixel of a hole counts as: a path should not go through a loop."""
MAX_OPENING = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (13, 13))
"""Rows and columns of the reduced ink: a loop with a smaller opening counts as closed."""
STEP_COST = 0.05
"""Ink, as a fraction of a full pixel, that a path rather crosses than moves by a column."""
WEAK_LINK = 0.3
"""Strokes that a path crosses, below which a cut is worth it whatever the width. Measured on 600 digits and 650 pairs
and triples of MNIST's validation images, and made pages: 0.6 cuts more pairs, but also digits whose ink is uneven."""
NARROW_ASPECT, WIDE_GAIN = 1.0, 1.5
"""Width by height above which ink may be of two digits, and strokes more that a path may cross for each unit of it."""
MAX_CUT_COST = 1.8
"""Strokes that a path crosses at most: a loop has two."""
WIDE_ASPECT, WIDE_COST = 1.15, 4.0
"""Width by height above which a digit is unlikely, and strokes that each further unit of it costs. Of MNIST's digits,
95 in 100 are narrower."""
LOW_HEIGHT, LOW_COST = 0.9, 4.0
"""Fraction of the line's height below which a part is unlikely to be a digit, and strokes that each unit costs."""
MIN_PART_HEIGHT, MIN_PART_WIDTH = 0.55, 0.08
"""Fractions of the line's height that a part has at least."""

Path = npt.NDArray[np.intp]


def split_touching_digits(ink: GreyImage, height: float) -> list[tuple[GreyImage, Box]]:
    """Cut the ink uint8 [H, W] of digits that touch, in a line of this height in pixels.

    Returns:
        The ink of each digit in its own bounding box, and this box in `ink`.
    """
    rows, width = ink.shape
    height = min(max(height, 0.7 * rows), rows)
    if not MIN_ASPECT * height < width < DASH_ASPECT * rows:
        return [(ink, Box(0, rows, 0, width))]
    paths = [path.astype(np.intp) for path in _choose_paths(ink, height)]
    if not paths:
        return [(ink, Box(0, rows, 0, width))]
    columns, edges = np.arange(width), [np.zeros(rows, np.intp), *paths, np.full(rows, width)]
    parts = [
        np.where((columns >= left[:, None]) & (columns < right[:, None]), ink, np.uint8(0))
        for left, right in pairwise(edges)
    ]
    boxes = [Box.bounding(part) if part.any() else None for part in parts]
    return [(part[box.slices], box) for part, box in zip(parts, boxes, strict=True) if box]


def _choose_paths(ink: GreyImage, height: float) -> list[npt.NDArray[np.float64]]:
    """The cuts of least cost: the column of each in each row of `ink`."""
    scale = PLAN_HEIGHT / height
    size = max(4, round(ink.shape[1] * scale)), max(4, round(ink.shape[0] * scale))
    small = cv2.resize(ink, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    small = np.minimum(small / max(float(np.percentile(small[small > 0], 80)), 1.0), 1)
    stroke = stroke_width(small)
    depth = cv2.distanceTransform((small >= PAPER).view(np.uint8), cv2.DIST_L2, 3)
    cost = small * (1 - THICK_DISCOUNT * np.minimum(depth / stroke, 1))
    paths, costs = _find_paths(np.where(_find_holes(small), np.maximum(small, HOLE_COST), cost).astype(np.float32))
    keep = [index for index, cost in enumerate(costs) if cost <= MAX_CUT_COST * stroke]
    chosen = _shortest_chain(small, [paths[index] for index in keep], [costs[index] / stroke for index in keep])
    rows = (np.arange(ink.shape[0]) + 0.5) * size[1] / ink.shape[0] - 0.5
    return [np.rint(np.interp(rows, np.arange(size[1]), path) * ink.shape[1] / size[0]) for path in chosen]


def _find_holes(ink: FloatImage) -> Mask:
    """The paper that ink encloses, as in a 0, or nearly encloses, bool [H, W]."""
    closed = cv2.morphologyEx((ink >= PAPER).view(np.uint8), cv2.MORPH_CLOSE, MAX_OPENING)
    paper = np.pad(1 - closed, 1, constant_values=1)
    cv2.floodFill(paper, None, (0, 0), 0)
    return np.asarray(paper[1:-1, 1:-1] > 0)


def _find_paths(ink: FloatImage) -> tuple[list[Path], list[float]]:
    """The paths whose cost is less than that of their neighbours, from left to right, and the ink that each crosses."""
    height, width = ink.shape
    total, steps = ink[0].copy(), np.zeros((height, width), np.int8)
    for row in range(1, height):
        left, right = np.full(width, np.inf, np.float32), np.full(width, np.inf, np.float32)
        left[1:], right[:-1] = total[:-1] + STEP_COST, total[1:] + STEP_COST
        best = np.minimum(np.minimum(left, right), total)
        steps[row] = np.where(best == total, 0, np.where(best == left, -1, 1))
        total = best + ink[row]
    ends = [
        column
        for column in range(1, width - 1)
        if total[column] <= total[column - 1] and total[column] < total[column + 1]
    ]
    paths, costs, starts = [], [], set()
    for end in sorted(ends, key=lambda column: total[column]):
        path = np.empty(height, np.intp)
        path[-1] = end
        for row in range(height - 1, 0, -1):
            path[row - 1] = path[row] + steps[row, path[row]]
        if path.min() > 0 and path.max() < width - 1 and int(path[0]) not in starts:
            starts.add(int(path[0]))
            paths.append(path)
            costs.append(float(ink[np.arange(height), path].sum()))
    order = np.argsort([path.sum() for path in paths])
    return [paths[index] for index in order], [costs[index] for index in order]


def _shortest_chain(ink: FloatImage, paths: Sequence[Path], costs: Sequence[float]) -> list[Path]:
    """The paths of the chain of parts from the left to the right end that costs least, by dynamic programming."""
    height, width = ink.shape
    edges = [np.zeros(height, np.intp), *paths, np.full(height, width)]
    excess = min(max(width / PLAN_HEIGHT - NARROW_ASPECT, 0), 1)
    gain = WEAK_LINK + WIDE_GAIN * excess
    prices = [0.0, *(cost - gain for cost in costs), 0.0]
    best, previous = [0.0], [0]
    for right in range(1, len(edges)):
        options = [best[left] + prices[right] + _part_cost(ink, edges[left], edges[right]) for left in range(right)]
        previous.append(int(np.argmin(options)))
        best.append(min(options))
    chain, index = [], previous[-1]
    while index:
        chain.append(edges[index])
        index = previous[index]
    return chain[::-1]


def _part_cost(ink: FloatImage, left: Path, right: Path) -> float:
    """Strokes that a part between two paths costs: it should be as high as a digit, and not too wide."""
    columns = np.arange(ink.shape[1])
    part = (columns >= left[:, None]) & (columns < right[:, None]) & (ink > 0.3)
    rows, filled = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
    if not len(rows):
        return 100.0
    height, width = (float(found[-1] - found[0] + 1) / PLAN_HEIGHT for found in (rows, filled))
    if height < MIN_PART_HEIGHT or width < MIN_PART_WIDTH:
        return 100.0
    return WIDE_COST * max(width - WIDE_ASPECT, 0) + LOW_COST * max(LOW_HEIGHT - height, 0)
