"""Page detection: where on a picture the sheet of paper is, without bars, frames and the table that it lies on.

- Bars and frames are rows at opposite borders that are uniform, and differ from the rows after them.
- A sheet on a table is the largest component of what stands out from the table: it fills its bounding box, has four
  straight sides, and there is ink on it.
"""

import cc3d
import numpy as np
import numpy.typing as npt
from PIL import Image

from service.errors import NoDigitFound
from service.imaging.geometry import Box
from service.imaging.ink import downscale, extract_ink
from service.types import Mask

ANALYSIS_SIDE = 256
"""The page is searched for on about this number squared of pixels."""
MIN_PICTURE_SIDE = 56
"""Pixels: a smaller picture is taken for a page."""
MAX_BAR_RANGE, MIN_BAR_CONTRAST = 24, 48
"""Grey levels: between the 10th and 90th percentile of a uniform row, and between a bar and the row after it."""
MAX_FRAMES = 4
"""Bars inside one another, as a frame with a margin around it has."""
MIN_SHEET_AREA, MIN_FILL, MIN_SIDE_COVERAGE = 0.25, 0.75, 0.85
"""Fractions that a sheet covers: of the picture, of its bounding box, and of each side of that box."""
CUT_INSET = 2
"""Pixels of the downscaled picture: a side that was cut still shows some of what was cut off."""
SHEET_MARGIN = 0.05
"""Fraction of a sheet that is left out along each side, as the sheet may be slightly rotated."""
MIN_INK_SHARE = 0.003
"""Fraction of a sheet that ink covers at least."""

Grey = npt.NDArray[np.int16]


def find_page(picture: Image.Image) -> Box:
    """Find the box of the page in pixels; the whole picture if no page can be told from its surroundings."""
    whole = Box(0, picture.height, 0, picture.width)
    if min(picture.size) < MIN_PICTURE_SIDE:
        return whole
    small, factor = downscale(picture, ANALYSIS_SIDE)
    grey, page = np.asarray(small.convert("L"), np.int16), Box(0, small.height, 0, small.width)
    for _ in range(MAX_FRAMES):
        inner = _crop_bars(grey[page.top : page.bottom, page.left : page.right]).translated(page.top, page.left)
        if inner == page:
            break
        page = inner
    sheet = _find_sheet_on_table(small.crop((page.left, page.top, page.right, page.bottom)))
    if sheet:
        page = sheet.translated(page.top, page.left)
    page = _inset_cut_edges(page, small.height, small.width).scaled(factor)
    return Box(page.top, min(page.bottom, whole.bottom), page.left, min(page.right, whole.right))


def _inset_cut_edges(box: Box, height: int, width: int) -> Box:
    """Move each side that was cut by CUT_INSET; those at the border of the picture stay."""
    top, left = (edge + CUT_INSET if edge else 0 for edge in (box.top, box.left))
    bottom = box.bottom - CUT_INSET if box.bottom < height else height
    return Box(top, bottom, left, box.right - CUT_INSET if box.right < width else width)


def _crop_bars(grey: Grey) -> Box:
    top, bottom = _paired_bar_heights(grey)
    left, right = _paired_bar_heights(grey.T)
    return Box(top, len(grey) - bottom, left, grey.shape[1] - right)


def _paired_bar_heights(rows: Grey) -> tuple[int, int]:
    """The heights of the bars at the first and at the last row; (0, 0) unless there are two, of the same colour."""
    first, last = _bar_height(rows), _bar_height(rows[::-1])
    same_colour = abs(float(np.median(rows[0])) - float(np.median(rows[-1]))) < MIN_BAR_CONTRAST
    return (first, last) if first and last and same_colour else (0, 0)


def _bar_height(rows: Grey) -> int:
    """How many of the first rows are uniform and differ from the row after them, frame by frame."""
    low, middle, high = np.percentile(rows, [10, 50, 90], axis=1)
    is_varied, height = high - low > MAX_BAR_RANGE, 0
    for _ in range(MAX_FRAMES):
        ends = is_varied[height:] | (np.abs(middle[height:] - middle[height]) > MAX_BAR_RANGE)
        next_row = height + int(ends.argmax())
        if is_varied[height] or not height < next_row < len(rows) / 2:
            break
        if abs(middle[next_row] - middle[height]) < MIN_BAR_CONTRAST:
            break
        height = next_row
    return height


def _find_sheet_on_table(small: Image.Image) -> Box | None:
    """The box of a sheet without its margin, if the picture shows one on a table and there is ink on it."""
    try:
        foreground = extract_ink(small).low_mask
    except NoDigitFound:
        return None
    labels = cc3d.connected_components(foreground, connectivity=8)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    largest = labels == sizes.argmax()
    box = Box.bounding(largest)
    sheet = largest[box.top : box.bottom, box.left : box.right]
    rows, columns = int(SHEET_MARGIN * box.height), int(SHEET_MARGIN * box.width)
    inner = sheet[rows : box.height - rows, columns : box.width - columns]
    fills_enough = sheet.size >= MIN_SHEET_AREA * foreground.size and sheet.mean() >= MIN_FILL
    if not fills_enough or not _has_straight_sides(sheet, rows, columns):
        return None
    if not inner.size or (~inner).mean() < MIN_INK_SHARE:
        return None
    return Box(box.top + rows, box.bottom - rows, box.left + columns, box.right - columns)


def _has_straight_sides(sheet: Mask, rows: int, columns: int) -> bool:
    """Whether a component reaches into the margin nearly everywhere along each side of its bounding box."""
    sides = (sheet[: rows + 1], sheet[-rows - 1 :], sheet[:, : columns + 1].T, sheet[:, -columns - 1 :].T)
    return all(side.any(axis=0).mean() >= MIN_SIDE_COVERAGE for side in sides)
