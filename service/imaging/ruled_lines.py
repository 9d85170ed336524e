"""Ruled lines: finding the lines of the paper among the ink, so that they are taken for no stroke.

A ruled line is thin, nearly level or upright, and runs from border to border. Where a stroke crosses it the
ink is thicker than the line, and stays.
"""

import numpy as np

from service.types import Mask

MAX_LINE_THICKNESS = 0.03
"""Of the longer side: a line may be that thick."""
MIN_PICTURE_SIDE = 56
"""Pixels: on a smaller picture a line is as thin as a stroke."""
SLOPES = np.linspace(-0.06, 0.06, 25)
MIN_COVERAGE = 0.6
"""Of the way from border to border: the rest may be hidden under strokes."""
BORDER_MARGIN = 0.04
"""Of the side: a line that ends so far from the border still reaches it."""
MAX_LINES = 32  # in one direction


def remove_ruled_lines(ink: Mask) -> Mask:
    """The ink [H, W] without the level lines and the upright ones."""
    if min(ink.shape) < MIN_PICTURE_SIDE:
        return ink
    return _remove_horizontal_lines(_remove_horizontal_lines(ink).T).T


def _remove_horizontal_lines(ink: Mask) -> Mask:
    thickest = max(2, round(MAX_LINE_THICKNESS * max(ink.shape)))
    heights = _vertical_run_lengths(ink)
    rows, columns = np.nonzero((heights > 0) & (heights <= thickest))
    weights = 1 / heights[rows, columns]
    width, left = ink.shape[1], ink.copy()
    for _ in range(MAX_LINES):
        slope, row, covered = _strongest_line(rows, columns, weights, width)
        near = np.abs(rows - slope * columns - row) <= thickest / 2 + 2
        if covered < MIN_COVERAGE * width or not _reaches_both_borders(columns[near], width):
            break
        left[rows[near], columns[near]] = False
        rows, columns, weights = rows[~near], columns[~near], weights[~near]
    return left


def _vertical_run_lengths(ink: Mask) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """How many pixels of ink lie over each other at each pixel [H, W], itself among them; 0 on paper."""
    height = len(ink)
    places = np.arange(1, height + 1)[:, None]
    before = np.maximum.accumulate(np.where(ink, 0, places), axis=0)
    after = np.minimum.accumulate(np.where(ink, height + 1, places)[::-1], axis=0)[::-1]
    return np.where(ink, after - before - 1, 0)


def _strongest_line(
    rows: np.ndarray[tuple[int], np.dtype[np.int64]],
    columns: np.ndarray[tuple[int], np.dtype[np.int64]],
    weights: np.ndarray[tuple[int], np.dtype[np.float64]],
    width: int,
) -> tuple[float, float, float]:
    """The line that covers most columns, as slope, row at column 0, and columns covered: a Hough transform."""
    best = (0.0, 0.0, 0.0)
    for slope in SLOPES.tolist():
        places = np.round(rows - slope * columns).astype(np.int64) + width
        counts = np.convolve(np.bincount(places, weights, minlength=1), np.ones(3), "same")
        place = int(counts.argmax())
        if counts[place] > best[2]:
            best = (slope, float(place - width), float(counts[place]))
    return best


def _reaches_both_borders(columns: np.ndarray[tuple[int], np.dtype[np.int64]], width: int) -> bool:
    margin = max(1, round(BORDER_MARGIN * width))
    return bool(columns.min() < margin and columns.max() >= width - margin)
