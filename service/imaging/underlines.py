"""Underlines that touch digits: removes them from a component, and keeps the strokes that stand on them.

An underline is a thin line across a whole component, in its lower part. It is under several digits, or ends beyond the
digit on both sides, as the foot of a 2 or a 1 does not.
"""

import numpy as np

from service.imaging.geometry import Box
from service.imaging.line_detection import find_lines, open_columns
from service.imaging.ruled_lines import remove_lines
from service.types import GreyImage, Mask

MAX_THICKNESS = 0.15
"""Fraction of the component's height."""
MIN_LEVEL = 0.65
"""Fraction of the component's height from the top: an underline is below it."""
MIN_ASPECT, MIN_ASPECT_OF_SEVERAL = 0.8, 1.4
"""Width by height of a component that may have an underline, and of one that has several digits."""
MIN_OVERHANG = 0.12
"""Fraction of the component's height by which the underline of a single digit is longer than the digit on each side."""
MIN_COVERAGE = 0.35
"""Fraction of the columns that are thin ink in the lower part: without it there is no need to look for a line."""
MIN_SIDE = 28
"""Pixels: a lower component is too small to tell an underline from a foot."""


def may_have_underline(box: Box) -> bool:
    """Whether a component is large and wide enough."""
    return box.height >= MIN_SIDE and box.width >= MIN_ASPECT * box.height


def remove_underline(component: Mask, intensity: GreyImage) -> Mask | None:
    """Remove the underline from a component bool [H, W]; None if it has none."""
    height, width = component.shape
    level, max_thickness = round(MIN_LEVEL * height), max(2, round(MAX_THICKNESS * height))
    filled = np.flatnonzero(component[:level].any(axis=0))
    overhang = min(filled[0], width - 1 - filled[-1])
    if width < MIN_ASPECT_OF_SEVERAL * height and overhang < MIN_OVERHANG * height:
        return None
    ink = np.ascontiguousarray(component).view(np.uint8)
    thin = (ink - open_columns(ink, max_thickness + 1))[level:]
    if thin.any(axis=0).mean() < MIN_COVERAGE:
        return None
    found = find_lines(component, intensity, max_thickness)
    lines = [line for line in found if line.row_at(width // 2) >= level]
    return remove_lines(component, lines) if lines else None
