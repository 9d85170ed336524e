import numpy as np
import numpy.typing as npt
import pytest

from service.errors import NoDigitFound
from service.imaging import segmentation
from service.imaging.geometry import Box
from service.imaging.ink import Ink
from service.imaging.segmentation import Components, extract_single_digit, segment_row

Part = tuple[int, int, int, int]
"""Top, bottom, left, right of a rectangle of ink."""


def found(*parts: Part, height: int = 200, width: int = 300) -> Components:
    """The marks of a page with these rectangles."""
    depth: npt.NDArray[np.float32] = np.zeros((height, width), np.float32)
    for top, bottom, left, right in parts:
        depth[top:bottom, left:right] = 0.8
    return segmentation.find_components(Ink(depth, depth > 0.1, depth > 0.4))


def boxes(digits: list[segmentation.DigitInk]) -> list[Box]:
    return [digit.box for digit in digits]


BAR = (60, 140, 100, 115)


@pytest.mark.parametrize(
    ("others", "box"),
    [
        ([], Box(*BAR)),
        ([(20, 22, 30, 32), (180, 183, 250, 252)], Box(*BAR)),
        ([(58, 68, 120, 160)], Box(58, 140, 100, 160)),
        ([(60, 140, 220, 235)], Box(60, 140, 100, 235)),
        ([(0, 200, 0, 20)], Box(*BAR)),
        ([(60, 68, 130, 138), (60, 68, 150, 158), (60, 68, 170, 178)], Box(60, 140, 100, 178)),
        ([(60, 66, 200, 206)], Box(*BAR)),
    ],
    ids=[
        "alone",
        "specks",
        "a stroke beside",
        "as heavy, far away",
        "cut off by the border",
        "a chain",
        "light and far",
    ],
)
def test_what_belongs_to_a_digit(others: list[Part], box: Box) -> None:
    digit = extract_single_digit(found(BAR, *others))
    assert digit.box == box
    assert digit.ink.shape == (box.height, box.width)
    rows, columns = np.nonzero(digit.ink)
    assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == (0, box.height, 0, box.width)


def test_ink_that_reaches_the_border_is_read_where_there_is_no_other() -> None:
    assert extract_single_digit(found((0, 140, 100, 115))).box == Box(0, 140, 100, 115)


@pytest.mark.parametrize("edge", [5, 40, 55])
def test_a_frame_of_any_size_is_no_digit(edge: int) -> None:
    bottom, right = 200 - edge, 300 - edge
    frame = [
        (edge, edge + 3, edge, right),
        (bottom - 3, bottom, edge, right),
        (edge, bottom, edge, edge + 3),
        (edge, bottom, right - 3, right),
    ]
    assert extract_single_digit(found(BAR, *frame)).box == Box(*BAR)
    assert boxes(segment_row(found(BAR, *frame))) == [Box(*BAR)]


def test_a_zero_with_a_dot_in_it_stays() -> None:
    ring = [(50, 70, 100, 180), (130, 150, 100, 180), (50, 150, 100, 120), (50, 150, 160, 180)]
    assert extract_single_digit(found(*ring, (95, 105, 135, 145))).box == Box(50, 150, 100, 180)


def test_a_stroke_beside_which_another_begins_is_no_frame() -> None:
    """As a 2 whose hook the pen left: the box of the one holds that of the other."""
    long = [(100 + 4 * step, 108 + 4 * step, 180 - 6 * step, 190 - 6 * step) for step in range(12)]
    assert extract_single_digit(found((100, 140, 110, 140), *long)).box.width > 60


def test_a_line_under_a_digit_is_none_of_it() -> None:
    assert extract_single_digit(found(BAR, (150, 154, 80, 160))).box == Box(*BAR)


def test_the_upper_stroke_of_a_broken_5_is() -> None:
    body = (80, 150, 100, 150)
    assert extract_single_digit(found(body, (60, 68, 102, 150))).box == Box(60, 150, 100, 150)


def test_nothing_but_ruled_lines_is_no_digit() -> None:
    with pytest.raises(NoDigitFound, match="ruled lines"):
        found((50, 52, 0, 300), (100, 102, 0, 300))


def test_a_row_is_read_from_left_to_right_each_with_its_strokes() -> None:
    row = found(
        (62, 140, 220, 235),
        (60, 140, 20, 40),
        (60, 68, 46, 60),
        (90, 140, 100, 150),
        (60, 80, 105, 150),
        (150, 153, 170, 173),
    )
    assert boxes(segment_row(row)) == [Box(60, 140, 20, 60), Box(60, 140, 100, 150), Box(62, 140, 220, 235)]


def test_digits_that_touch_are_cut_where_the_ink_is_least() -> None:
    loops = [(60, 140, left + edge, left + edge + 12) for left in (40, 100, 160) for edge in (0, 45)]
    bridges = [
        (128, 140, 40, 97),
        (128, 140, 100, 157),
        (128, 140, 160, 217),
        (134, 137, 97, 100),
        (134, 137, 157, 160),
    ]
    digits = segment_row(found(*loops, *bridges))
    lefts, rights = zip(*((digit.box.left, digit.box.right) for digit in digits), strict=True)
    assert lefts == pytest.approx((40, 98, 158), abs=2)
    assert rights == pytest.approx((98, 158, 217), abs=2)


def test_whole_digits_that_lean_over_each_other_are_two() -> None:
    steps = [(60 + 8 * step, 68 + 8 * step, 140 - 6 * step, 152 - 6 * step) for step in range(10)]
    other = [(top, bottom, left + 30, right + 30) for top, bottom, left, right in steps]
    assert len(segment_row(found(*steps, *other))) == 2


@pytest.mark.parametrize("height", [1, 2, 5])
def test_a_dash_is_not_cut_into_digits(height: int) -> None:
    assert len(segment_row(found((100, 100 + height, 40, 100)))) == 1


def test_a_broad_digit_is_not_cut() -> None:
    assert len(segment_row(found((60, 140, 100, 115), (125, 140, 100, 220)))) == 1


def test_thousands_of_marks_are_looked_at_in_bounds() -> None:
    depth = np.zeros((1024, 1024), np.float32)
    depth[4:-4:4, 4:-4:4] = 1
    stippled = segmentation.find_components(Ink(depth, depth > 0.1, depth > 0.4))
    assert len(stippled.boxes) > 60_000
    assert len(segment_row(stippled)) <= segmentation.MAX_COMPONENTS
    assert extract_single_digit(stippled).ink.size
