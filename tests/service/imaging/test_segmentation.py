"""Tests which components make up one digit, or each digit of the lines of writing, on drawn rectangles of ink."""

import math

import pytest

from service.imaging.geometry import Box
from service.imaging.segmentation import DigitInk, extract_single_digit, segment_lines
from tests.service.imaging.drawn_ink import Rectangle, components_of, draw_block, draw_frame


def single_box(*rectangles: Rectangle) -> Box:
    return extract_single_digit(components_of(*rectangles)).box


def row_boxes(*rectangles: Rectangle) -> list[Box]:
    return [digit.box for digit in segment_lines(components_of(*rectangles))]


BAR = (60, 140, 100, 115)
"""80 rows of 15 pixels, 1200 in all."""


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
        "touching the border",
        "a chain",
        "light and far",
    ],
)
def test_a_digit_has_its_strokes_and_nothing_else(others: list[Rectangle], box: Box) -> None:
    digit = extract_single_digit(components_of(BAR, *others))
    assert digit.box == box
    assert digit.ink.shape == (box.height, box.width)
    assert Box.bounding(digit.ink) == (0, box.height, 0, box.width)


@pytest.mark.parametrize(
    ("other", "belongs"),
    [
        ((60, 100, 250, 259), True),
        ((60, 99, 250, 259), False),
        ((60, 77, 120, 121), False),
        ((60, 66, 120, 123), True),
        ((60, 80, 135, 145), True),
        ((60, 80, 136, 146), False),
        ((152, 162, 131, 141), True),
        ((153, 163, 131, 141), False),
        ((36, 46, 76, 86), True),
        ((35, 45, 75, 85), False),
        ((30, 40, 50, 56), False),
    ],
    ids=[
        "30 % of the mass, far",
        "29 % of the mass, far",
        "1.4 % of the mass, near",
        "1.5 % of the mass, near",
        "a quarter of the height to the right",
        "farther to the right",
        "diagonally 20 pixels away",
        "diagonally farther away",
        "diagonally above",
        "diagonally farther above",
        "far",
    ],
)
def test_a_component_belongs_to_the_digit_by_mass_or_distance(other: Rectangle, *, belongs: bool) -> None:
    expected = Box.enclosing([Box(*BAR), Box(*other)]) if belongs else Box(*BAR)
    assert single_box(BAR, other) == expected


@pytest.mark.parametrize(
    ("inner", "is_digit"),
    [((60, 95, 250, 284), False), ((60, 96, 250, 284), True)],
    ids=["14.9 % of the mass", "15.3 % of the mass"],
)
@pytest.mark.parametrize("border", [(0, 200, 60, 100), (0, 160, 60, 110), (40, 200, 60, 110), (60, 160, 0, 80)])
def test_a_component_at_the_border_is_dropped_if_enough_lies_inside(
    inner: Rectangle, border: Rectangle, *, is_digit: bool
) -> None:
    assert single_box(border, inner) == (inner if is_digit else border)


def test_a_component_at_the_right_border_is_dropped_too() -> None:
    assert single_box((60, 160, 220, 300), (60, 140, 40, 60)) == (60, 140, 40, 60)
    assert single_box((60, 160, 219, 299), (60, 140, 40, 60)) == (60, 160, 219, 299)


def test_ink_at_the_border_is_read_if_there_is_no_other() -> None:
    assert single_box((0, 140, 100, 115)) == (0, 140, 100, 115)


@pytest.mark.parametrize("margin", [5, 40, 55])
def test_a_frame_of_any_size_is_not_a_digit(margin: int) -> None:
    frame = draw_frame(margin, 200 - margin, margin, 300 - margin)
    assert single_box(BAR, *frame) == BAR
    assert row_boxes(BAR, *frame) == [BAR]


def test_a_zero_with_a_dot_in_it_stays() -> None:
    assert single_box(*draw_frame(50, 150, 100, 180, pen=20), (95, 105, 135, 145)) == (50, 150, 100, 180)


def test_a_stroke_beside_which_another_begins_is_not_a_frame() -> None:
    """As a 2 whose hook the pen left: the box of the one contains that of the other."""
    long = [(100 + 4 * step, 108 + 4 * step, 180 - 6 * step, 190 - 6 * step) for step in range(12)]
    assert single_box((100, 140, 110, 140), *long).width > 60


@pytest.mark.parametrize(
    ("line", "belongs"),
    [
        ((150, 154, 80, 160), False),
        ((40, 44, 80, 160), False),
        ((150, 162, 80, 152), False),
        ((150, 162, 80, 140), False),
        ((150, 162, 80, 139), True),
        ((140, 144, 80, 160), False),
        ((150, 153, 100, 115), True),
        ((150, 153, 100, 116), False),
        ((56, 60, 80, 160), False),
    ],
    ids=[
        "below",
        "above",
        "6 times as wide as high",
        "5 times as wide as high",
        "less than 5 times",
        "directly below",
        "as wide as the digit",
        "wider than the digit",
        "directly above",
    ],
)
def test_an_underline_is_wide_and_beyond_the_digit(line: Rectangle, *, belongs: bool) -> None:
    digit = {140: (60, 139, 100, 115), 56: (61, 140, 100, 115)}.get(line[0], BAR)  # not connected with the line
    expected = Box.enclosing([Box(*digit), Box(*line)]) if belongs else Box(*digit)
    assert single_box(digit, line) == expected


def test_the_upper_stroke_of_a_broken_5_belongs_to_it() -> None:
    assert single_box((80, 150, 100, 150), (60, 68, 102, 150)) == (60, 150, 100, 150)


def test_a_row_is_read_from_left_to_right_each_digit_with_its_strokes() -> None:
    assert row_boxes(
        (62, 140, 220, 235),
        (60, 140, 20, 40),
        (60, 68, 46, 60),
        (90, 140, 100, 150),
        (60, 80, 105, 150),
        (150, 153, 170, 173),
    ) == [Box(60, 140, 20, 60), Box(60, 140, 100, 150), Box(62, 140, 220, 235)]


@pytest.mark.parametrize(
    ("left", "joined"),
    [(120, True), (124, True), (125, False), (80, True), (76, True), (75, False)],
    ids=["half", "40 %", "37 %", "half to the left", "40 % to the left", "37 % to the left"],
)
def test_two_halves_that_overlap_in_40_percent_of_their_columns_are_one_digit(left: int, *, joined: bool) -> None:
    """Else they are two lines of one digit."""
    lower, upper = (100, 160, 100, 140), (50, 90, left, left + 40)
    expected = [Box.enclosing([Box(*lower), Box(*upper)])] if joined else [Box(*upper), Box(*lower)]
    assert row_boxes(lower, upper) == expected


@pytest.mark.parametrize(
    ("small", "expected"),
    [
        ((60, 92, 250, 262), [(60, 140, 20, 35), (60, 140, 150, 165), (60, 92, 250, 262)]),
        ((60, 91, 250, 262), [(60, 140, 20, 35), (60, 140, 150, 165)]),
        ((60, 91, 185, 195), [(60, 140, 20, 35), (60, 140, 150, 195)]),
        ((60, 91, 186, 196), [(60, 140, 20, 35), (60, 140, 150, 165)]),
        ((60, 91, 37, 47), [(60, 140, 20, 47), (60, 140, 150, 165)]),
    ],
    ids=["40 % of the height", "39 % of the height", "near the second", "too far from the second", "near the first"],
)
def test_a_short_component_joins_the_nearest_digit_of_the_row(small: Rectangle, expected: list[Rectangle]) -> None:
    assert row_boxes((60, 140, 20, 35), (60, 140, 150, 165), small) == expected


def test_digits_that_touch_are_cut_where_they_touch() -> None:
    places = ((40, 60), (100, 68), (160, 55))
    loops = [(top, top + 80, left + edge, left + edge + 12) for left, top in places for edge in (0, 45)]
    ends = [(top + end, top + end + 12, left, left + 57) for left, top in places for end in (0, 68)]
    bridges = [(98, 103, left, left + 3) for left in (97, 157)]
    boxes = row_boxes(*loops, *ends, *bridges)
    assert len(boxes) == 3
    for box, left in zip(boxes, (40, 100, 160), strict=True):
        assert left - 3 <= box.left <= left
        assert left + 57 <= box.right <= left + 60


def test_digits_of_full_height_that_lean_over_each_other_are_two() -> None:
    steps = [(60 + 8 * step, 68 + 8 * step, 140 - 6 * step, 152 - 6 * step) for step in range(10)]
    other = [(top, bottom, left + 30, right + 30) for top, bottom, left, right in steps]
    assert row_boxes(*steps, *other) == [Box(60, 140, 86, 152), Box(60, 140, 116, 182)]


@pytest.mark.parametrize("height", [1, 2, 5])
def test_a_dash_is_not_cut_into_digits(height: int) -> None:
    assert row_boxes((100, 100 + height, 40, 100)) == [Box(100, 100 + height, 40, 100)]


def test_a_broad_digit_is_not_cut() -> None:
    assert row_boxes((60, 140, 100, 115), (125, 140, 100, 220)) == [Box(60, 140, 100, 220)]


def lines_of(*rectangles: Rectangle, height: int = 400, width: int = 600) -> list[list[Box]]:
    digits = segment_lines(components_of(*rectangles, height=height, width=width))
    numbers = [digit.line for digit in digits]
    assert numbers == sorted(numbers)
    return [[digit.box for digit in digits if digit.line == number] for number in sorted(set(numbers))]


@pytest.mark.parametrize("degrees", [-10, 0, 10])
def test_lines_are_numbered_from_the_top_and_each_is_read_from_left_to_right(degrees: float) -> None:
    slope = math.tan(math.radians(degrees))
    lefts = [range(110, 510, 50), range(100, 400, 50), range(150, 500, 45)]
    lines = [
        [draw_block(round(120 + 60 * number + slope * (left - 300)), left) for left in row]
        for number, row in enumerate(lefts)
    ]
    found = lines_of(*(block for line in lines for block in line[::-1]))
    assert found == [[Box(*block) for block in line] for line in lines]


@pytest.mark.parametrize("side", ["left", "right", "top", "bottom"])
def test_a_digit_that_touches_the_edge_is_read(side: str) -> None:
    row = [draw_block(100, left) for left in (60, 160, 260)]
    edge = {"left": (100, 0), "right": (100, 575), "top": (0, 160), "bottom": (360, 160)}[side]
    found = lines_of(*row, draw_block(*edge))
    assert Box(*draw_block(*edge)) in [box for line in found for box in line]
    assert sum(map(len, found)) == 4


@pytest.mark.parametrize(
    "bar",
    [(0, 400, 0, 30), (0, 400, 570, 600), (0, 20, 0, 600), (370, 400, 0, 560)],
    ids=["left", "right", "top", "bottom"],
)
def test_a_bar_along_a_side_is_left_out(bar: Rectangle) -> None:
    row = [draw_block(100, left) for left in (60, 160, 260)]
    assert lines_of(*row, bar) == [[Box(*block) for block in row]]


@pytest.mark.parametrize("sliver", [(104, 114, 590, 600), (90, 250, 580, 600)], ids=["far lower", "far higher"])
def test_ink_at_an_edge_of_another_height_than_the_line_is_left_out_and_the_line_may_be_incomplete(
    sliver: Rectangle,
) -> None:
    rows = [draw_block(top, left) for top in (100, 300) for left in (60, 160, 260)]
    digits = segment_lines(components_of(*rows, sliver, height=400, width=600))
    assert [(digit.line, digit.is_incomplete) for digit in digits] == [(1, True)] * 3 + [(2, False)] * 3


def test_a_page_cropped_to_its_ink_is_read_whole() -> None:
    lines = [[draw_block(top, left) for left in (0, 50, 100, 150, 200)] for top in (0, 60, 120)]
    found = lines_of(*(block for line in lines for block in line), height=160, width=225)
    assert found == [[Box(*block) for block in line] for line in lines]


def test_one_row_cropped_to_its_ink_is_read_whole() -> None:
    row = [(0, 80, left, left + 45) for left in (0, 100, 200, 300)]
    assert lines_of(*row, height=80, width=345) == [[Box(*block) for block in row]]


@pytest.mark.parametrize(("height", "may_be_incomplete"), [(19, True), (20, False)])
def test_a_line_on_a_picture_of_few_rows_may_be_incomplete(height: int, *, may_be_incomplete: bool) -> None:
    digits = segment_lines(components_of((4, 14, 5, 10), (4, 14, 20, 25), height=height, width=40))
    assert [digit.is_incomplete for digit in digits] == [may_be_incomplete] * 2


def test_a_dash_and_an_underline_are_no_digits_of_a_line() -> None:
    row = [draw_block(100, left) for left in (60, 160, 260)]
    assert lines_of(*row, (150, 154, 50, 300), (118, 122, 200, 240)) == [[Box(*block) for block in row]]


def test_a_digit_of_the_only_line_has_the_number_1() -> None:
    assert DigitInk(*extract_single_digit(components_of(BAR))[:2]).line == 1
