"""Ruled lines: finds the lines of the paper among the ink by a Hough transform, and removes them.

A ruled line is thin, nearly horizontal or vertical, and runs from border to border. Where a stroke crosses it, the ink
is thicker than the line, and stays.
"""

import numpy as np

from service.types import Mask

MAX_LINE_THICKNESS = 0.03
"""Fraction of the longer side."""
MIN_PICTURE_SIDE = 56
"""Pixels: on a smaller picture, lines and strokes are equally thin."""
SLOPES = np.linspace(-0.06, 0.06, 25)
MIN_COVERAGE = 0.6
"""Fraction of the way from border to border: strokes may hide the rest."""
BORDER_MARGIN = 0.04
"""Fraction of the side: a line that ends so close to the border reaches it."""
MAX_LINES = 32
"""In each direction."""

Ints = np.ndarray[tuple[int], np.dtype[np.int64]]


def remove_ruled_lines(ink: Mask) -> Mask:
    """The ink bool [H, W] without horizontal and vertical lines."""
    if min(ink.shape) < MIN_PICTURE_SIDE:
        return ink
    return _remove_horizontal_lines(_remove_horizontal_lines(ink).T).T


def _remove_horizontal_lines(ink: Mask) -> Mask:
    max_thickness = max(2, round(MAX_LINE_THICKNESS * max(ink.shape)))
    lengths = _vertical_run_lengths(ink)
    rows, columns = np.nonzero((lengths > 0) & (lengths <= max_thickness))
    weights = 1 / lengths[rows, columns]  # each column of a line counts once, however thick the line is
    width, remaining = ink.shape[1], ink.copy()
    for _ in range(MAX_LINES):
        slope, intercept, coverage = _strongest_line(rows, columns, weights, width)
        is_on_line = np.abs(rows - slope * columns - intercept) <= max_thickness / 2 + 2
        if coverage < MIN_COVERAGE * width or not _reaches_both_borders(columns[is_on_line], width):
            break
        remaining[rows[is_on_line], columns[is_on_line]] = False
        rows, columns, weights = rows[~is_on_line], columns[~is_on_line], weights[~is_on_line]
    return remaining


def _vertical_run_lengths(ink: Mask) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """The length of the vertical run of ink that each pixel of [H, W] is part of; 0 on background."""
    height = len(ink)
    rows = np.arange(1, height + 1)[:, None]
    before = np.maximum.accumulate(np.where(ink, 0, rows), axis=0)
    after = np.minimum.accumulate(np.where(ink, height + 1, rows)[::-1], axis=0)[::-1]
    return np.where(ink, after - before - 1, 0)


def _strongest_line(
    rows: Ints, columns: Ints, weights: np.ndarray[tuple[int], np.dtype[np.float64]], width: int
) -> tuple[float, float, float]:
    """The line that covers most columns: slope, row at column 0, and number of columns."""
    best = (0.0, 0.0, 0.0)
    for slope in SLOPES.tolist():
        intercepts = np.round(rows - slope * columns).astype(np.int64) + width  # not negative, as bins have to be
        votes = np.convolve(np.bincount(intercepts, weights, minlength=1), np.ones(3), "same")
        winner = int(votes.argmax())
        if votes[winner] > best[2]:
            best = (slope, float(winner - width), float(votes[winner]))
    return best


def _reaches_both_borders(columns: Ints, width: int) -> bool:
    margin = max(1, round(BORDER_MARGIN * width))
    return bool(columns.min() < margin and columns.max() >= width - margin)
