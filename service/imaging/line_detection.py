"""Line detection: straight, thin, nearly horizontal lines that cross a picture, by a Hough transform.

The picture is reduced to at most 64 vertical strips. For each slope, the strips are shifted and added: a line becomes a
peak. The transform of 1024 x 1024 pixels takes some milliseconds, however much ink there is. Vertical lines are those
of the transposed picture.
"""

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from service.types import GreyImage, Mask

MAX_SLOPE = 0.1
"""Tangent of the largest angle to a row, 5.7 degrees."""
SLOPES = np.linspace(-MAX_SLOPE, MAX_SLOPE, 51)
"""Between two of them, the end of a line of 1024 pixels moves by 2 pixels from its middle."""
MAX_STRIPS = 64
MAX_LINE_THICKNESS = 0.02
"""Fraction of the longer side."""
MIN_THIN_COVERAGE = 0.4
"""Fraction of a line that shows as a thin line: strokes may hide the rest."""
MIN_COVERAGE, MIN_DASHED_COVERAGE, MIN_DASHES = 0.88, 0.45, 12
"""Fraction of a line with ink on it: of a continuous line, and of one with so many gaps, as dashed lines have."""
MIN_LENGTH = 0.25
"""Fraction of the width: an inclined line that leaves the picture at the top or at the bottom may be shorter."""
BORDER_MARGIN = 0.04
"""Fraction of the width: a line that ends so close to the border reaches it."""
SAMPLE_STEP, MIN_SAMPLES = 4, 8
"""Columns from one to the next in which a line is measured, and how many of them are enough to fit it."""
MAX_LINES = 256
"""In each direction."""

Pixels = npt.NDArray[np.uint8]


class Line(NamedTuple):
    """A line across a picture: slope, row in column 0, thickness in pixels, and median intensity."""

    slope: float
    row: float
    thickness: int
    level: float

    def row_at(self, column: int) -> int:
        """The row of its middle in a column."""
        return round(self.row + self.slope * column)


def may_cross(has_ink: Mask) -> bool:
    """Whether there is ink enough for a line from border to border, if each column has ink or not: bool [W]."""
    margin = max(1, round(BORDER_MARGIN * len(has_ink)))
    is_at_borders = has_ink[:margin].any() and has_ink[-margin:].any()
    return bool(is_at_borders and has_ink.mean() >= MIN_DASHED_COVERAGE)


def find_lines(mask: Mask, intensity: GreyImage, max_thickness: int = 0) -> list[Line]:
    """Find the nearly horizontal lines of [H, W] that run from border to border.

    max_thickness: in pixels; 0 for MAX_LINE_THICKNESS.
    """
    width = mask.shape[1]
    max_thickness = max_thickness or max(2, round(MAX_LINE_THICKNESS * max(mask.shape)))
    ink = mask.view(np.uint8)
    thin = ink - open_columns(ink, max_thickness + 1)
    votes = _hough_transform(thin)
    near = np.asarray(cv2.dilate(ink, np.ones((5, 1), np.uint8)), np.uint8)
    lines: list[Line] = []
    for _ in range(MAX_LINES):
        slope, row = np.unravel_index(int(votes.argmax()), votes.shape)
        if votes[slope, row] < MIN_THIN_COVERAGE:
            break
        line = _measure(float(SLOPES[slope]), int(row) - _reach(width), thin, near, intensity, max_thickness)
        if line:
            lines.append(line)
            _suppress(votes, int(slope), int(row), width)
        else:
            votes[slope, row - 1 : row + 2] = 0
    return lines


def open_columns(ink: Pixels, length: int) -> Pixels:
    """The vertical runs of this length or more, uint8 [H, W]; none continues beyond the border."""
    kernel = np.ones((length, 1), np.uint8)
    # An opening by morphologyEx shifts the result by a pixel if the length is even.
    ends = cv2.erode(ink, kernel, anchor=(0, 0), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(cv2.dilate(ends, kernel, anchor=(0, length - 1)), np.uint8)


def _hough_transform(thin: Pixels) -> npt.NDArray[np.float32]:
    """The fraction of a line that is thin, by slope and row in the middle column plus `_reach(width)`.

    float32 [S, H + 2 _reach(width)]: the middle of a line that crosses a corner is above or below the picture.
    """
    height, width = thin.shape
    tops = thin.copy()
    tops[1:] &= 1 - thin[:-1]  # one pixel in each column of a line, however thick it is
    count = min(MAX_STRIPS, width // 4)
    strips = cv2.resize(tops.astype(np.float32), (count, height), interpolation=cv2.INTER_AREA).T
    middles = (np.arange(count) + 0.5) * width / count - width / 2
    pad = 2 * _reach(width)
    height += pad
    strips = np.pad(strips, ((0, 0), (pad, pad)))
    inside = np.pad(np.ones(height - pad, np.float32), pad)
    votes = np.empty((len(SLOPES), height), np.float32)
    for index, slope in enumerate(SLOPES.tolist()):
        starts = (pad // 2 + np.rint(slope * middles)).astype(int).tolist()
        total = np.add.reduce([strip[start : start + height] for strip, start in zip(strips, starts, strict=True)])
        length = np.add.reduce([inside[start : start + height] for start in starts])
        blurred = cv2.blur(total[:, None], (1, 3), borderType=cv2.BORDER_CONSTANT)[:, 0] * 3
        votes[index] = np.where(length >= MIN_LENGTH * count, blurred / np.maximum(length, 1), 0)
    return votes


def _reach(width: int) -> int:
    """Rows by which the steepest line rises or falls from the middle column to the border."""
    return int(MAX_SLOPE * width / 2) + 1


def _suppress(votes: npt.NDArray[np.float32], slope: int, row: int, width: int) -> None:
    """Clear the votes of a line: at other slopes, they are spread over the rows that it crosses."""
    for index, other in enumerate(SLOPES):
        reach = 3 + int(abs(other - SLOPES[slope]) * width / 2)
        votes[index, max(row - reach, 0) : row + reach + 1] = 0


def _measure(  # noqa: PLR0913, PLR0917
    slope: float, middle_row: int, thin: Pixels, near: Pixels, intensity: GreyImage, max_thickness: int
) -> Line | None:
    """The line, if there is ink on nearly all of it and it reaches the borders."""
    height, width = thin.shape
    columns = np.arange(width)
    rows = np.rint(middle_row + slope * (columns - width / 2)).astype(int)
    columns, rows = columns[(rows >= 0) & (rows < height)], rows[(rows >= 0) & (rows < height)]
    has_ink = near[rows, columns] > 0
    if not may_cross(has_ink):
        return None
    coverage, dashes = float(has_ink.mean()), int(np.count_nonzero(np.diff(has_ink.view(np.int8)) == 1))
    if coverage < MIN_COVERAGE and dashes < MIN_DASHES:
        return None
    reach = max_thickness + 2
    columns, offsets = columns[::SAMPLE_STEP], np.arange(-reach, reach + 1)
    band = np.clip(rows[::SAMPLE_STEP] + offsets[:, None], 0, height - 1)
    on_line = thin[band, columns] > 0
    thickness = on_line.sum(axis=0)
    shown = thickness > 0
    if np.count_nonzero(shown) < MIN_SAMPLES:
        return None
    middles = (on_line * offsets[:, None]).sum(axis=0)[shown] / thickness[shown]
    on_median = np.abs(middles - np.median(middles)) <= 2  # the others are strokes beside the line
    turn, offset = np.polyfit(columns[shown][on_median], middles[on_median], 1).tolist()
    levels = np.where(on_line, intensity[band, columns], 0).max(axis=0)[shown]
    row = middle_row - slope * width / 2 + offset
    return Line(slope + turn, row, int(np.median(thickness[shown])), float(np.median(levels)))
