"""Where on a picture the page is: inside of bars, frames and the table that it lies on.

Bars and frames are rows at opposite borders that are even, and unlike what comes after them. A page on a table
is the largest mark on the table: it fills its box, has four straight sides, and something is written on it.
"""

import cc3d
import numpy as np
import numpy.typing as npt
from PIL import Image

from service.errors import NoDigitFound
from service.imaging import ink
from service.imaging.geometry import Box

ANALYSIS_SIDE = 256
"""Pixels a side of what the page is looked for on."""
MIN_PICTURE_SIDE = 56
"""Pixels: a smaller picture is all page."""
MAX_BAR_RANGE, MIN_BAR_CONTRAST = 24, 48
"""Grey levels: between a tenth and nine tenths of an even row at most, and between unlike rows at least."""
MAX_FRAMES = 4
"""Even bands one in another, as a frame with a margin around it has."""
MIN_SHEET_AREA, MIN_FILL, MIN_SIDE_COVERAGE = 0.25, 0.75, 0.85
"""Of the picture, of its own box, of each side of that: what a sheet covers at least."""
INSET = 2  # pixels of the small picture
SHEET_MARGIN = 0.05
"""Of a sheet along each side, which is left out: it may lie a little askew."""
MIN_INK_SHARE = 0.003
"""Of a sheet: what is written covers more."""

Grey = npt.NDArray[np.int16]


def find_page(picture: Image.Image) -> Box:
    """The box of the page, in pixels; that of the picture if there is no page on it."""
    whole = Box(0, picture.height, 0, picture.width)
    if min(picture.size) < MIN_PICTURE_SIDE:
        return whole
    small, factor = ink.downscale(picture, ANALYSIS_SIDE)
    grey, bars = np.asarray(small.convert("L"), np.int16), Box(0, small.height, 0, small.width)
    for _ in range(MAX_FRAMES):
        inner = _crop_bars(grey[bars.top : bars.bottom, bars.left : bars.right]).translated(bars.top, bars.left)
        if inner == bars:
            break
        bars = inner
    sheet = _find_sheet_on_table(small.crop((bars.left, bars.top, bars.right, bars.bottom)))
    inner = _inset_cut_edges(
        sheet.translated(bars.top, bars.left) if sheet else bars, small.height, small.width
    ).scaled(factor)
    return Box(inner.top, min(inner.bottom, whole.bottom), inner.left, min(inner.right, whole.right))


def _inset_cut_edges(box: Box, height: int, width: int) -> Box:
    """Without the pixels along the sides that were cut: they show a little of what was cut off."""
    top, left = (edge + INSET if edge else 0 for edge in (box.top, box.left))
    bottom = box.bottom - INSET if box.bottom < height else height
    return Box(top, bottom, left, box.right - INSET if box.right < width else width)


def _crop_bars(grey: Grey) -> Box:
    top, bottom = _paired_bar_heights(grey)
    left, right = _paired_bar_heights(grey.T)
    return Box(top, len(grey) - bottom, left, grey.shape[1] - right)


def _paired_bar_heights(rows: Grey) -> tuple[int, int]:
    """How many rows at the first and at the last border are bars: some at both, of one colour, or none."""
    first, last = _bar_height(rows), _bar_height(rows[::-1])
    alike = abs(float(np.median(rows[0])) - float(np.median(rows[-1]))) < MIN_BAR_CONTRAST
    return (first, last) if first and last and alike else (0, 0)


def _bar_height(rows: Grey) -> int:
    """How many rows at the first border are even, and unlike what comes after them."""
    low, middle, high = np.percentile(rows, [10, 50, 90], axis=1)
    uneven, cut = high - low > MAX_BAR_RANGE, 0
    for _ in range(MAX_FRAMES):
        ends = uneven[cut:] | (np.abs(middle[cut:] - middle[cut]) > MAX_BAR_RANGE)
        after = cut + int(ends.argmax())
        if uneven[cut] or not cut < after < len(rows) / 2 or abs(middle[after] - middle[cut]) < MIN_BAR_CONTRAST:
            break
        cut = after
    return cut


def _find_sheet_on_table(small: Image.Image) -> Box | None:
    """The box of what is written on within a sheet, if the picture shows one on a table."""
    try:
        weak = ink.extract_ink(small).low_mask
    except NoDigitFound:
        return None
    labels = cc3d.connected_components(weak, connectivity=8)
    counts = np.bincount(labels.ravel())
    counts[0] = 0
    ours = labels == counts.argmax()
    box = Box.bounding(ours)
    inside = ours[box.top : box.bottom, box.left : box.right]
    down, across = int(SHEET_MARGIN * box.height), int(SHEET_MARGIN * box.width)
    middle = inside[down : box.height - down, across : box.width - across]
    straight = (
        inside.size >= MIN_SHEET_AREA * weak.size
        and inside.mean() >= MIN_FILL
        and _has_straight_sides(inside, down, across)
    )
    if not straight or not middle.size or (~middle).mean() < MIN_INK_SHARE:
        return None
    return Box(box.top + down, box.bottom - down, box.left + across, box.right - across)


def _has_straight_sides(inside: npt.NDArray[np.bool_], down: int, across: int) -> bool:
    """Whether a mark reaches nearly all along each side of its box."""
    sides = (inside[: down + 1], inside[-down - 1 :], inside[:, : across + 1].T, inside[:, -across - 1 :].T)
    return all(side.any(axis=0).mean() >= MIN_SIDE_COVERAGE for side in sides)
