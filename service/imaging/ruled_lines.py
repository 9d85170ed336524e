"""Ruled lines: removes the lines of ruled and squared paper from the ink, and keeps the strokes that cross them.

A pixel on a line stays if it is clearly darker than the line, or, if the line is as dark as the ink, if the ink is
thicker there than the line.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from service.imaging.ink import Ink
from service.imaging.line_detection import Line, find_lines, may_cross, open_columns
from service.types import GreyImage, Mask

MIN_PICTURE_SIDE = 56
"""Pixels: on a smaller picture, lines and strokes are equally thin."""
MIN_INK_CONTRAST = 1.4
"""Intensity of the ink by that of a line: above, pixels of ink and of the line are told apart by intensity."""
EXTRA_THICKNESS = 2
"""Pixels by which ink is thicker than a line that it crosses."""
ZONE_MARGIN = 2
"""Pixels beside a line that may belong to it: its edges are soft, and it may be bent."""
MAX_REMNANT_PIXELS = 4
"""Pixels outside of the zones of lines: a component with fewer is what is left of a line."""


def remove_ruled_lines(ink: Ink) -> Mask:
    """The pixels above the low threshold, bool [H, W], without lines that run from border to border."""
    if min(ink.low_mask.shape) < MIN_PICTURE_SIDE:
        return ink.low_mask
    horizontal, vertical = _find_lines_of_both_directions(ink)
    if not horizontal and not vertical:
        return ink.low_mask
    height, width = ink.low_mask.shape
    horizontal_zone, vertical_zone = _draw_zone(horizontal, (height, width)), _draw_zone(vertical, (width, height))
    zone = horizontal_zone | vertical_zone.T
    level = float(np.median([line.level for line in (*horizontal, *vertical)]))
    pure = ink.intensity[ink.high_mask & (zone == 0)]
    ink_level = float(np.percentile(pure, 75)) if pure.size else 0.0
    if ink_level >= MIN_INK_CONTRAST * level:
        remaining = ink.low_mask & ((zone == 0) | (ink.intensity > (level + ink_level) / 2))
    else:
        remaining = _remove_thin_runs(ink.low_mask, horizontal, horizontal_zone)
        remaining = np.ascontiguousarray(_remove_thin_runs(remaining.T, vertical, vertical_zone).T)
    return _drop_remnants(_close_gaps(remaining, ink.low_mask, [*horizontal, *vertical]), zone)


def remove_lines(mask: Mask, lines: Sequence[Line]) -> Mask:
    """Remove nearly horizontal lines that are as dark as the ink from [H, W]."""
    remaining = _remove_thin_runs(mask, lines, _draw_zone(lines, mask.shape))
    return _close_gaps(remaining, mask, lines)


def _find_lines_of_both_directions(ink: Ink) -> tuple[list[Line], list[Line]]:
    """The nearly horizontal lines, and the nearly vertical ones as lines of the transposed picture."""
    in_column, in_row = (cv2.reduce(ink.low_mask.view(np.uint8), axis, cv2.REDUCE_MAX).ravel() > 0 for axis in (0, 1))
    horizontal = find_lines(ink.low_mask, ink.intensity) if may_cross(in_column) else []
    if not may_cross(in_row):
        return horizontal, []
    return horizontal, find_lines(np.ascontiguousarray(ink.low_mask.T), np.ascontiguousarray(ink.intensity.T))


def _draw_zone(lines: Sequence[Line], shape: tuple[int, ...]) -> GreyImage:
    zone = np.zeros(shape, np.uint8)
    last = shape[1] - 1
    for line in lines:
        ends = (0, line.row_at(0)), (last, line.row_at(last))
        cv2.line(zone, *ends, 1, line.thickness + 2 * ZONE_MARGIN)
    return zone


def _remove_thin_runs(mask: Mask, lines: Sequence[Line], zone: GreyImage) -> Mask:
    """Remove the pixels in a zone whose vertical run of ink is not longer than a line is thick."""
    if not lines:
        return mask
    thickness = int(np.median([line.thickness for line in lines]))
    ink = np.ascontiguousarray(mask).view(np.uint8)
    thick = open_columns(ink, thickness + EXTRA_THICKNESS + 1)
    return np.asarray(mask & ((zone == 0) | (thick > 0)))


def _close_gaps(remaining: Mask, ink: Mask, lines: Sequence[Line]) -> Mask:
    """Restore the ink between two parts of a stroke that are as far from each other as a line is thick."""
    side = 2 + max(line.thickness for line in lines) | 1
    closed = cv2.morphologyEx(remaining.view(np.uint8), cv2.MORPH_CLOSE, np.ones((side, side), np.uint8))
    return np.asarray(remaining | (ink & (closed > 0)))


def _drop_remnants(mask: Mask, zone: GreyImage) -> Mask:
    """Drop the components that lie in zones nearly as a whole."""
    count, labels = cv2.connectedComponents(mask.view(np.uint8), connectivity=8, ltype=cv2.CV_32S)
    outside = np.bincount(labels[zone == 0], minlength=count)
    return np.asarray(mask & (outside > MAX_REMNANT_PIXELS)[labels])
