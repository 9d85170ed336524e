"""Segmentation: which components of the ink make up one digit, or each digit of the lines of writing.

A stroke beside another one, as in a broken 5, belongs to the same digit. Specks belong to none. Ink at the border of
the picture is left out if it is no digit of a line: a bar, a shadow, a sliver of something else.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from service.imaging.components import Component, Components
from service.imaging.geometry import Box
from service.imaging.text_lines import TextLine, find_text_lines
from service.imaging.touching_digits import split_touching_digits
from service.types import GreyImage

MIN_COMPONENT_MASS = 0.015
"""Fraction of the largest mass: a component of less is a speck."""
MAX_STROKE_GAP = 0.25
"""Fraction of the digit's longer side: a component within that distance is a stroke of the digit."""
MIN_PEER_MASS = 0.3
"""Fraction of the largest mass: a component of more belongs to the digit at any distance."""
MIN_INNER_MASS = 0.15
"""Fraction of the largest mass: if a component of more lies inside the border, ink at the border is no digit."""
MIN_COLUMN_OVERLAP = 0.4
"""Fraction of the narrower width: components that overlap by more are one digit."""
FULL_HEIGHT = 0.8
"""Fraction of the line's height: two components above it are two digits, even if their columns overlap."""
UNDERLINE_ASPECT = 5.0
"""Width by height: a wider component, wider than the digit above or below it, is an underline."""
MIN_BAR_LENGTH = 0.9
"""Fraction of a side of the picture: ink along more of it is a bar or a shadow."""
MIN_ROWS = 20
"""Pixels: digits on a lower picture run into each other, and one may be lost."""
MAX_PEER_HEIGHT = 1.4
"""Height by height of the tallest other component, and width by height: ink along a side within both is a digit."""
MIN_DIGIT_HEIGHT = 0.4
"""Fraction of a line's height that a digit of it has at least."""


class DigitInk(NamedTuple):
    """The intensity of one digit, uint8 [H, W], and its box on the picture, of H x W pixels.

    line: the number of its line of writing, from 1 at the top. is_incomplete: the line may have lost a digit.
    digit_count: how many digits the picture shows; over 1 only if it was not split.
    """

    ink: GreyImage
    box: Box
    line: int = 1
    is_incomplete: bool = False
    digit_count: int = 1


def extract_single_digit(components: Components) -> DigitInk:
    """Merge the components of the only digit: the heaviest ones, and, step by step, those close to a chosen one."""
    members = without_border_ink(components)
    heaviest = members[0]
    max_gap = MAX_STROKE_GAP * max(heaviest.box.height, heaviest.box.width)
    strokes = [each for each in _at_least(MIN_COMPONENT_MASS, members) if not _is_underline(each.box, heaviest.box)]
    chosen = [each for each in strokes if each is heaviest or each.mass >= MIN_PEER_MASS * heaviest.mass]
    remaining, latest = [each for each in strokes if each not in chosen], chosen
    while latest:
        latest = [each for each in remaining if any(each.box.distance_to(near.box) <= max_gap for near in latest)]
        chosen, remaining = chosen + latest, [each for each in remaining if each not in latest]
    return DigitInk(*components.crop(chosen))


def segment_lines(components: Components) -> list[DigitInk]:
    """Segment lines of digits: from the top line to the bottom line, each from left to right."""
    candidates = _at_least(MIN_COMPONENT_MASS, _without_bars(components) or components.members)
    candidates = [each for each in candidates if not _is_dash(each.box, candidates)] or candidates
    lines = _without_slivers(find_text_lines(candidates), components)
    used = {member.label for line in lines for member in line.members}
    left_out = [member.box for member in candidates if member.label not in used]
    return [
        digit._replace(line=number)
        for number, line in enumerate(lines, 1)
        for digit in _segment_line(line, components, left_out)
    ]


def _at_least(share: float, members: Sequence[Component]) -> list[Component]:
    """The members with this share of the largest mass; the first has the largest."""
    return [member for member in members if member.mass >= share * members[0].mass]


def _touches_border(box: Box, components: Components) -> bool:
    return box.top == 0 or box.left == 0 or box.bottom == components.height or box.right == components.width


def without_border_ink(components: Components) -> list[Component]:
    """The members that do not touch the border, if one of them is heavy enough."""
    inner = [member for member in components.members if not _touches_border(member.box, components)]
    is_enough = inner and inner[0].mass >= MIN_INNER_MASS * components.members[0].mass
    return inner if is_enough else components.members


def _without_bars(components: Components) -> list[Component]:
    """The members that do not run along a whole side of the picture, unless they are no higher than others."""

    def is_bar(box: Box) -> bool:
        along_rows = (
            box.top == 0 or box.bottom == components.height
        ) and box.width >= MIN_BAR_LENGTH * components.width
        along_columns = box.left == 0 or box.right == components.width
        return along_rows or (along_columns and box.height >= MIN_BAR_LENGTH * components.height)

    others = [member for member in components.members if not is_bar(member.box)]
    tallest = max((member.box.height for member in others), default=components.height)
    return [
        member
        for member in components.members
        if not is_bar(member.box) or (member.box.height <= MAX_PEER_HEIGHT * tallest and _is_upright(member.box))
    ]


def _is_upright(box: Box) -> bool:
    return box.width <= MAX_PEER_HEIGHT * box.height


def _is_dash(box: Box, members: Sequence[Component]) -> bool:
    """Whether a component is an underline or a dash: wide, and far lower than the tallest component."""
    tallest = max(member.box.height for member in members)
    return box.width >= UNDERLINE_ASPECT * box.height and box.height < 0.5 * tallest and box.width > 0.7 * tallest


def _without_slivers(lines: list[TextLine], components: Components) -> list[TextLine]:
    """Leave out lines whose components all touch the border and are of another height than the lines inside."""
    inner = [line for line in lines if not all(_touches_border(body.box, components) for body in line.bodies)]
    if not inner:
        return lines
    heights = [line.height for line in inner]
    low, high = MIN_DIGIT_HEIGHT * min(heights), max(heights) / MIN_DIGIT_HEIGHT
    return [line for line in lines if line in inner or low <= line.height <= high]


def _is_underline(box: Box, digit: Box) -> bool:
    """Whether a component is a line above or below the digit."""
    is_beyond = box.top >= digit.bottom or box.bottom <= digit.top
    return is_beyond and box.width >= UNDERLINE_ASPECT * box.height and box.width > digit.width


def _segment_line(line: TextLine, components: Components, left_out: Iterable[Box]) -> list[DigitInk]:
    """The digits of a line from left to right."""
    height = max(body.box.height for body in line.bodies)
    bodies = [body for body in line.bodies if body.box.height >= MIN_DIGIT_HEIGHT * height]
    pieces = [*line.pieces, *(body for body in line.bodies if body.box.height < MIN_DIGIT_HEIGHT * height)]
    groups = _group_by_column_overlap(bodies, height)
    for piece in pieces:
        gaps = [Box.enclosing(member.box for member in group).distance_to(piece.box) for group in groups]
        if min(gaps) <= MAX_STROKE_GAP * height:
            groups[gaps.index(min(gaps))].append(piece)
    digits = []
    for ink, box in map(components.crop, groups):
        for part, place in split_touching_digits(ink, line.height):
            digits.append(DigitInk(part, place.translated(box.top, box.left)))
    extent = Box.enclosing(body.box for body in bodies)
    is_incomplete = components.height < MIN_ROWS or any(_is_cut_off(box, extent, components) for box in left_out)
    return sorted((digit._replace(is_incomplete=is_incomplete) for digit in digits), key=lambda digit: digit.box.left)


def _is_cut_off(box: Box, line: Box, components: Components) -> bool:
    """Whether ink that was left out touches the left or the right border beside a line."""
    at_side = box.left == 0 or box.right == components.width
    return at_side and box.top < line.bottom and line.top < box.bottom


def _group_by_column_overlap(bodies: Sequence[Component], height: float) -> list[list[Component]]:
    """Group components whose columns overlap, from left to right, unless both have the full height of a digit."""
    groups: list[list[Component]] = []
    for body in bodies:
        last = Box.enclosing(member.box for member in groups[-1]) if groups else None
        both_full = last is not None and min(last.height, body.box.height) >= FULL_HEIGHT * height
        if last and not both_full and last.horizontal_overlap(body.box) >= MIN_COLUMN_OVERLAP:
            groups[-1].append(body)
        else:
            groups.append([body])
    return groups
