"""Text lines: which components stand in one line of writing, from top to bottom, however much the lines are slanted.

1. A component beside a much taller one is a piece of it, as the bar of a broken 5; all others are bodies.
2. The slope of the lines is the median slope between bodies and their nearest neighbours to the right.
3. From left to right, each body joins the line whose rows, continued with that slope, it shares most of.
4. Each piece joins the line of the nearest body.
"""

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from service.imaging.components import Component
from service.imaging.geometry import Box

MAX_PIECE_HEIGHT, MAX_PIECE_GAP = 0.4, 0.25
"""Fractions of the height of the taller component that a piece of it is high, and away from it, at most."""
MIN_ROW_OVERLAP = 0.5
"""Fraction of the lower height: components of one line share more rows."""
MAX_HEIGHT_RATIO = 2.5
"""Height by height of a body and its line."""
MAX_LINE_SLOPE = 0.35
"""Tangent of 19 degrees: handwriting on a photo rises or falls by 10 degrees."""
MIN_LINE_HEIGHT = 0.25
"""Fraction of the tallest line's height: a lower line is dirt."""
MIN_HALF_OVERLAP = 0.4
"""Fraction of the narrower width: the two halves of a broken digit share more columns."""
MIN_LINE_BODIES = 3
"""Low components among the rows of a taller line are a line of their own if there are so many."""
REFERENCE_MEMBERS = 3
"""A line's rows beside a component are those of the so many bodies that are nearest to it."""


@dataclass
class TextLine:
    """A line of writing: the components of full height from left to right, and the small pieces beside them."""

    bodies: list[Component] = field(default_factory=list)
    pieces: list[Component] = field(default_factory=list)

    @property
    def height(self) -> float:
        """The median height of the bodies, in pixels."""
        return float(median(body.box.height for body in self.bodies))

    @property
    def members(self) -> list[Component]:
        """All components."""
        return [*self.bodies, *self.pieces]

    @property
    def box(self) -> Box:
        """The smallest box around the bodies."""
        return Box.enclosing(body.box for body in self.bodies)


def find_text_lines(components: Sequence[Component]) -> list[TextLine]:
    """Arrange components in lines from top to bottom; pieces far from any body are left out."""
    pieces = [each for each in components if _is_piece(each.box, components)]
    small = {piece.label for piece in pieces}
    bodies = sorted((each for each in components if each.label not in small), key=lambda body: body.box.left)
    slope = _median_slope([body.box for body in bodies])
    lines: list[TextLine] = []
    for body in bodies:
        line = _fitting_line(lines, body.box, slope)
        if line:
            line.bodies.append(body)
        else:
            lines.append(TextLine([body]))
    for piece in pieces:
        line = _fitting_line(lines, piece.box, slope)
        if line:  # a digit of a line of small digits, below a line of large ones
            insort(line.bodies, piece, key=lambda body: body.box.left)
        else:
            _add_to_nearest(lines, piece)
    lines, low = _separate_low_lines(lines, slope)
    for piece in (member for line in low for member in line.members):
        _add_to_nearest(lines, piece)
    lines = _join_halves(lines)
    return sorted(lines, key=lambda line: median(_level(body.box, slope) for body in line.bodies))


def _is_piece(box: Box, components: Sequence[Component]) -> bool:
    return any(
        box.height < MAX_PIECE_HEIGHT * other.box.height
        and box.distance_to(other.box) <= MAX_PIECE_GAP * other.box.height
        for other in components
    )


def _median_slope(boxes: Sequence[Box]) -> float:
    """The median slope from a box to its nearest neighbour to the right; 0 if there are less than two neighbours."""
    slopes = []
    for box in boxes:
        right = [other for other in boxes if other.left > box.middle_column and _similar(box, other)]
        if right:
            other = min(right, key=box.distance_to)
            slopes.append((other.middle_row - box.middle_row) / (other.middle_column - box.middle_column))
    slope = median(slopes) if len(slopes) > 1 else 0.0
    return max(-MAX_LINE_SLOPE, min(MAX_LINE_SLOPE, slope))


def _similar(one: Box, other: Box) -> bool:
    """Whether two boxes are of similar height, and the other is to the right rather than below or above."""
    low, high = sorted((one.height, other.height))
    rows = abs(other.middle_row - one.middle_row)
    return 2 * low >= high and rows <= 0.5 * (other.middle_column - one.middle_column) and rows < high


def _level(box: Box, slope: float) -> float:
    """The row of its middle, continued to column 0."""
    return box.middle_row - slope * box.middle_column


def _fitting_line(lines: Sequence[TextLine], box: Box, slope: float) -> TextLine | None:
    """The line that shares most rows with the box, if it shares enough."""
    overlaps = [_row_overlap(line, box, slope) for line in lines]
    best = max(overlaps, default=0.0)
    return lines[overlaps.index(best)] if best >= MIN_ROW_OVERLAP else None


def _row_overlap(line: TextLine, box: Box, slope: float, *, any_height: bool = False) -> float:
    """The fraction of the lower height that a line, continued to the box, and the box have in common.

    It is 0 if one is far taller than the other, unless they may have any height.
    """
    by_distance = sorted(line.bodies, key=lambda body: abs(body.box.middle_column - box.middle_column))
    nearest = [body.box for body in by_distance[:REFERENCE_MEMBERS]]
    tops = [each.top + slope * (box.middle_column - each.middle_column) for each in nearest]
    bottoms = [each.bottom + slope * (box.middle_column - each.middle_column) for each in nearest]
    top, bottom = median(tops), median(bottoms)
    low, high = sorted((bottom - top, float(box.height)))
    common = min(bottom, box.bottom) - max(top, box.top)
    return max(common, 0) / low if any_height or high <= MAX_HEIGHT_RATIO * low else 0.0


def _separate_low_lines(lines: Sequence[TextLine], slope: float) -> tuple[list[TextLine], list[TextLine]]:
    """Separate the lines that are no writing: far lower than another, or a few low components among its rows."""
    tallest = max(line.height for line in lines)

    def is_low(line: TextLine) -> bool:
        taller = [other for other in lines if line.height < MAX_PIECE_HEIGHT * other.height]
        is_short = len(line.bodies) < MIN_LINE_BODIES
        is_among = any(_row_overlap(other, line.box, slope, any_height=True) >= MIN_ROW_OVERLAP for other in taller)
        return line.height < MIN_LINE_HEIGHT * tallest or (is_short and is_among)

    return [line for line in lines if not is_low(line)], [line for line in lines if is_low(line)]


def _join_halves(lines: list[TextLine]) -> list[TextLine]:
    """Make one line of two if these are one component each, one close above the other: halves of a broken digit."""
    if len(lines) != 2 or any(len(line.bodies) > 1 for line in lines):
        return lines
    one, other = (line.box for line in lines)
    is_close = one.distance_to(other) <= MAX_PIECE_GAP * min(one.height, other.height)
    if not is_close or one.horizontal_overlap(other) < MIN_HALF_OVERLAP:
        return lines
    return [TextLine([*lines[0].bodies, *lines[1].bodies], [*lines[0].pieces, *lines[1].pieces])]


def _add_to_nearest(lines: Sequence[TextLine], piece: Component) -> None:
    """Add a piece to the line of the nearest body, if it is close to it."""

    def gap(line: TextLine) -> float:
        return min(piece.box.distance_to(body.box) / body.box.height for body in line.bodies)

    nearest = min(lines, key=gap)
    if gap(nearest) <= MAX_PIECE_GAP:
        nearest.pieces.append(piece)
