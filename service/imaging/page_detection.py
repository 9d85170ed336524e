"""Where on a picture the page is: inside of bars, frames and the table that it lies on.

Bars and frames are rows at opposite borders that are even, and unlike what comes after them. A page on a table
is the largest mark on the table: it fills its box, has four straight sides, and something is written on it.
"""

import cc3d
import numpy as np
import numpy.typing as npt
from PIL import Image

from service.errors import NoDigit
from service.imaging import ink
from service.imaging.segmentation import Box

SMALL = 256
"""Pixels a side of what the page is looked for on."""
LEAST_SIDE = 56
"""Pixels: a smaller picture is all page."""
EVEN, UNLIKE = 24, 48
"""Grey levels: between a tenth and nine tenths of an even row at most, and between unlike rows at least."""
LAYERS = 4
"""Even bands one in another, as a frame with a margin around it has."""
SHEET, FILLED, STRAIGHT = 0.25, 0.75, 0.85
"""Of the picture, of its own box, of each side of that: what a sheet covers at least."""
INSET = 2  # pixels of the small picture
EDGE = 0.05
"""Of a sheet along each side, which is left out: it may lie a little askew."""
WRITTEN = 0.003
"""Of a sheet: what is written covers more."""

Grey = npt.NDArray[np.int16]


def find(picture: Image.Image) -> Box:
    """The box of the page, in pixels; that of the picture if there is no page on it."""
    whole = Box(0, picture.height, 0, picture.width)
    if min(picture.size) < LEAST_SIDE:
        return whole
    small, factor = ink.reduced(picture, SMALL)
    grey, bars = np.asarray(small.convert("L"), np.int16), Box(0, small.height, 0, small.width)
    for _ in range(LAYERS):
        inner = _within_bars(grey[bars.top : bars.bottom, bars.left : bars.right]).moved(bars.top, bars.left)
        if inner == bars:
            break
        bars = inner
    sheet = _sheet(small.crop((bars.left, bars.top, bars.right, bars.bottom)))
    inner = _inset(sheet.moved(bars.top, bars.left) if sheet else bars, small.height, small.width).scaled(factor)
    return Box(inner.top, min(inner.bottom, whole.bottom), inner.left, min(inner.right, whole.right))


def _inset(box: Box, height: int, width: int) -> Box:
    """Without the pixels along the sides that were cut: they show a little of what was cut off."""
    top, left = (edge + INSET if edge else 0 for edge in (box.top, box.left))
    bottom = box.bottom - INSET if box.bottom < height else height
    return Box(top, bottom, left, box.right - INSET if box.right < width else width)


def _within_bars(grey: Grey) -> Box:
    top, bottom = _pair(grey)
    left, right = _pair(grey.T)
    return Box(top, len(grey) - bottom, left, grey.shape[1] - right)


def _pair(rows: Grey) -> tuple[int, int]:
    """How many rows at the first and at the last border are bars: some at both, of one colour, or none."""
    first, last = _bar(rows), _bar(rows[::-1])
    alike = abs(float(np.median(rows[0])) - float(np.median(rows[-1]))) < UNLIKE
    return (first, last) if first and last and alike else (0, 0)


def _bar(rows: Grey) -> int:
    """How many rows at the first border are even, and unlike what comes after them."""
    low, middle, high = np.percentile(rows, [10, 50, 90], axis=1)
    uneven, cut = high - low > EVEN, 0
    for _ in range(LAYERS):
        ends = uneven[cut:] | (np.abs(middle[cut:] - middle[cut]) > EVEN)
        after = cut + int(ends.argmax())
        if uneven[cut] or not cut < after < len(rows) / 2 or abs(middle[after] - middle[cut]) < UNLIKE:
            break
        cut = after
    return cut


def _sheet(small: Image.Image) -> Box | None:
    """The box of what is written on within a sheet, if the picture shows one on a table."""
    try:
        weak = ink.of(small).weak
    except NoDigit:
        return None
    labels = cc3d.connected_components(weak, connectivity=8)
    counts = np.bincount(labels.ravel())
    counts[0] = 0
    ours = labels == counts.argmax()
    box = Box.of(ours)
    inside = ours[box.top : box.bottom, box.left : box.right]
    down, across = int(EDGE * box.height), int(EDGE * box.width)
    middle = inside[down : box.height - down, across : box.width - across]
    straight = inside.size >= SHEET * weak.size and inside.mean() >= FILLED and _straight(inside, down, across)
    if not straight or not middle.size or (~middle).mean() < WRITTEN:
        return None
    return Box(box.top + down, box.bottom - down, box.left + across, box.right - across)


def _straight(inside: npt.NDArray[np.bool_], down: int, across: int) -> bool:
    """Whether a mark reaches nearly all along each side of its box."""
    sides = (inside[: down + 1], inside[-down - 1 :], inside[:, : across + 1].T, inside[:, -across - 1 :].T)
    return all(side.any(axis=0).mean() >= STRAIGHT for side in sides)
