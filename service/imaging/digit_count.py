"""How many digits a picture shows that is read as one digit: a hint for the client that it means split=digits.

A broken digit has several components too. Only ink that looks like several digits is segmented, which costs as much as
reading the digit: parts that stand apart, parts of full height side by side, or ink that is wider than a digit.

Measured on 796 pictures of one digit and 43 of several: none of the first have a hint, 30 of the others do; most of the
rest are two digits that touch on 28x28 pixels.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from service.imaging.components import Components
from service.imaging.geometry import Box
from service.imaging.segmentation import segment_lines, without_border_ink

MIN_PART_MASS = 0.05
"""Fraction of the largest mass: a component of less is a speck or a dot."""
MIN_GAP = 0.06
"""Fraction of the tallest component's height: parts within that distance may be one digit that is broken."""
MIN_PART_HEIGHT = 0.5
"""Fraction of the tallest part's height that another digit has at least."""
FULL_HEIGHT, MAX_OVERLAP = 0.75, 0.4
"""Fractions of the height of all ink, and of the narrower width: components side by side are two digits."""
MAX_ASPECT = 1.3
"""Width by height: a digit is not wider; a large 2 or 5 reaches 1.25."""
MIN_DIGIT_MASS = 0.1
"""Fraction of the largest mass: less is no digit that counts."""


def count_digits(components: Components) -> int:
    """Count the digits of all lines of writing; 1 if the ink looks like one digit, whole or broken."""
    members = without_border_ink(components)
    boxes = [member.box for member in members if member.mass >= MIN_PART_MASS * members[0].mass]
    if not _may_be_several(boxes):
        return 1
    digits = segment_lines(components)
    masses = [float(digit.ink.sum()) for digit in digits]
    tallest = max(digit.box.height for digit in digits)
    return sum(
        mass >= MIN_DIGIT_MASS * max(masses) and digit.box.height >= MIN_PART_HEIGHT * tallest
        for mass, digit in zip(masses, digits, strict=True)
    )


def _may_be_several(boxes: Sequence[Box]) -> bool:
    if len(boxes) == 1:
        return _is_wide(boxes[0])
    parts = _merge_close(boxes, MIN_GAP * max(box.height for box in boxes))
    tallest = max(part.height for part in parts)
    high = [part for part in parts if part.height >= MIN_PART_HEIGHT * tallest]
    return len(high) > 1 or _is_wide(high[0]) or _has_two_side_by_side(boxes)


def _is_wide(box: Box) -> bool:
    return box.width > MAX_ASPECT * box.height


def _merge_close(boxes: Iterable[Box], max_gap: float) -> list[Box]:
    """The boxes around groups of boxes, each within a distance of another one of its group."""
    groups: list[list[Box]] = []
    for box in boxes:
        near = [group for group in groups if any(box.distance_to(other) <= max_gap for other in group)]
        groups = [group for group in groups if group not in near]
        groups.append([box, *(other for group in near for other in group)])
    return [Box.enclosing(group) for group in groups]


def _has_two_side_by_side(boxes: Sequence[Box]) -> bool:
    height = Box.enclosing(boxes).height
    full = sorted((box for box in boxes if box.height >= FULL_HEIGHT * height), key=lambda box: box.left)
    return any(one.horizontal_overlap(other) < MAX_OVERLAP for one, other in pairwise(full))
