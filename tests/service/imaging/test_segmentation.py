"""Tests segmentation on drawn rectangles of ink, and connected components against scipy.ndimage."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import ndimage

from service.errors import NoDigitFound
from service.imaging import segmentation
from service.imaging.geometry import Box
from service.imaging.ink import Ink
from service.imaging.segmentation import (
    Components,
    DigitInk,
    _split_touching_digits,
    extract_single_digit,
    find_components,
    segment_row,
)

Rectangle = tuple[int, int, int, int]
"""Top, bottom, left, right."""


def components_of(*rectangles: Rectangle, height: int = 200, width: int = 300) -> Components:
    """The components of a page with these rectangles of ink."""
    intensity: npt.NDArray[np.float32] = np.zeros((height, width), np.float32)
    for top, bottom, left, right in rectangles:
        intensity[top:bottom, left:right] = 0.8
    return find_components(Ink(intensity, intensity > 0.1, intensity > 0.4))


def single_box(*rectangles: Rectangle) -> Box:
    return extract_single_digit(components_of(*rectangles)).box


def row_boxes(*rectangles: Rectangle) -> list[Box]:
    return [digit.box for digit in segment_row(components_of(*rectangles))]


BAR = (60, 140, 100, 115)
"""80 rows of 15 pixels, 1200 in all."""


@hypothesis_settings(deadline=None)
@given(st.integers(0, 1000))
def test_components_are_those_of_scipy_that_have_a_pixel_above_the_high_threshold(seed: int) -> None:
    random = np.random.default_rng(seed)
    intensity = np.pad(random.uniform(-0.5, 1.5, (30, 50)) * (random.uniform(size=(30, 50)) < 0.3), 2).astype(
        np.float32
    )
    low_mask, high_mask = intensity > 0.2, intensity > 1.4
    expected, count = ndimage.label(low_mask, np.ones((3, 3)))
    numbers = range(1, count + 1)
    has_high = ndimage.maximum(high_mask, expected, numbers) > 0
    if not has_high.any():
        return
    components = find_components(Ink(intensity, low_mask, high_mask))
    labels = [components.labels[expected == number][0] for number in numbers]
    np.testing.assert_array_equal(np.array([0, *labels])[expected], components.labels)
    sums = ndimage.sum(np.clip(intensity, 0, 1), expected, numbers)
    slices = ndimage.find_objects(expected)
    for label, is_ink, mass, (rows, columns) in zip(labels, has_high, sums, slices, strict=True):
        box = components.boxes[label]
        assert box == (rows.start, rows.stop, columns.start, columns.stop)
        is_frame = mass <= 0.3 * box.area and box.height > 2
        assert components.mass[label] == pytest.approx(mass if is_ink else 0) or (
            is_frame and not components.mass[label]
        )


def test_a_crop_has_the_ink_of_the_given_components_between_0_and_1() -> None:
    intensity = np.zeros((60, 60), np.float32)
    intensity[10:20, 10:20], intensity[10:20, 30:40] = 1.3, 0.5
    mask = intensity > 0.1
    mask[10:20, 9] = True
    intensity[10:20, 9] = -0.2
    components = find_components(Ink(intensity, mask, mask))
    crop = components.crop([int(components.labels[10, 10])], Box(8, 20, 8, 40))
    assert crop.dtype == np.float32
    np.testing.assert_array_equal(crop, np.pad(np.ones((10, 10), np.float32), ((2, 0), (2, 20))))


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


def draw_frame(top: int, bottom: int, left: int, right: int, *, pen: int = 3) -> list[Rectangle]:
    return [
        (top, top + pen, left, right),
        (bottom - pen, bottom, left, right),
        (top, bottom, left, left + pen),
        (top, bottom, right - pen, right),
    ]


@pytest.mark.parametrize("margin", [5, 40, 55])
def test_a_frame_of_any_size_is_not_a_digit(margin: int) -> None:
    frame = draw_frame(margin, 200 - margin, margin, 300 - margin)
    assert single_box(BAR, *frame) == BAR
    assert row_boxes(BAR, *frame) == [BAR]


FRAME = (50, 150, 100, 200)


@pytest.mark.parametrize(
    ("pen", "inner", "dropped"),
    [
        (10, (80, 110, 140, 160), True),
        (11, (80, 120, 120, 180), False),
        (3, (80, 110, 140, 150), True),
        (3, (80, 109, 140, 150), False),
        (3, (80, 110, 140, 145), False),
        (3, (80, 110, 140, 146), True),
    ],
    ids=["29 % filled", "31 % filled", "30 % high", "29 % high", "12.9 % of the mass", "15.5 % of the mass"],
)
def test_a_frame_is_thin_around_something_of_some_height_and_mass(pen: int, inner: Rectangle, *, dropped: bool) -> None:
    components = components_of(*draw_frame(*FRAME, pen=pen), inner)
    frame = int(components.labels[50, 100])
    assert components.boxes[frame] == FRAME
    assert bool(components.mass[frame] == 0) is dropped
    assert components.mass[components.labels[inner[0], inner[2]]] > 0


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
        ((139, 143, 80, 160), True),
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
        "connected",
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


def test_ruled_lines_and_faint_ink_are_no_digit() -> None:
    message = r"^no digit to read: all ink is ruled lines, or runs out of the picture$"
    with pytest.raises(NoDigitFound, match=message):
        components_of((50, 52, 0, 300), (100, 102, 0, 300))
    faint = np.zeros((60, 60), np.float32)
    faint[20:40, 20:40] = 0.3
    with pytest.raises(NoDigitFound, match=message):
        find_components(Ink(faint, faint > 0.1, faint > 0.4))


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
def test_components_that_overlap_in_40_percent_of_their_columns_are_one_digit(left: int, *, joined: bool) -> None:
    lower, upper = (100, 160, 100, 140), (50, 90, left, left + 40)
    expected = (
        [Box.enclosing([Box(*lower), Box(*upper)])]
        if joined
        else sorted([Box(*lower), Box(*upper)], key=lambda box: box.left)
    )
    assert row_boxes(lower, upper) == expected


@pytest.mark.parametrize(("height", "joined"), [(39, True), (40, False)], ids=["78 % of the tallest", "80 %"])
def test_two_components_of_full_height_are_two_digits(height: int, *, joined: bool) -> None:
    lower, upper = (100, 150, 100, 140), (50, 50 + height, 105, 145)
    expected = [Box(50, 150, 100, 145)] if joined else [Box(*lower), Box(*upper)]
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


def test_digits_that_touch_are_cut_in_the_columns_of_least_ink() -> None:
    loops = [(60, 140, left + edge, left + edge + 12) for left in (40, 100, 160) for edge in (0, 45)]
    bridges = [
        (128, 140, 40, 97),
        (128, 140, 100, 157),
        (128, 140, 160, 217),
        (134, 137, 97, 100),
        (134, 137, 157, 160),
    ]
    assert row_boxes(*loops, *bridges) == [Box(60, 140, 40, 97), Box(60, 140, 97, 157), Box(60, 140, 157, 217)]


def touching(height: int, width: int, *thin: int) -> DigitInk:
    """A rectangle of ink at row 10 and column 20 that is thin in some columns."""
    ink = np.ones((height, width), np.float32)
    for column in thin:
        ink[:-1, column] = 0
    return DigitInk(ink, Box(10, 10 + height, 20, 20 + width))


@pytest.mark.parametrize(
    ("height", "width", "count"),
    [
        (100, 170, 1),
        (100, 171, 2),
        (100, 187, 2),
        (100, 188, 3),
        (100, 262, 3),
        (100, 263, 4),
        (10, 79, 11),
        (10, 80, 1),
    ],
)
def test_the_number_of_touching_digits_follows_from_the_width(height: int, width: int, count: int) -> None:
    assert len(_split_touching_digits(touching(height, width))) == count


@pytest.mark.parametrize(
    ("thin", "cuts"),
    [
        ((90,), [90]),
        ((63,), [63]),
        ((117,), [117]),
        ((118,), [63]),
        ((62,), [63]),
        ((62, 90), [90]),
        ((118, 90), [90]),
        ((70, 110), [70]),
    ],
)
def test_a_cut_is_within_30_percent_of_the_expected_boundary(thin: tuple[int, ...], cuts: list[int]) -> None:
    """180 columns of height 100 are two digits, whose boundary is expected in column 90 and searched from 63 to 117."""
    left, right = _split_touching_digits(touching(100, 180, *thin))
    assert (left.box, right.box) == ((10, 110, 20, 20 + cuts[0]), (10, 110, 20 + cuts[0], 200))
    assert left.ink.shape == (100, cuts[0])
    assert right.ink.shape == (100, 180 - cuts[0])


def test_a_cut_part_has_its_own_bounding_box() -> None:
    digit = touching(100, 180)
    digit.ink[:30, :90], digit.ink[80:, 90:], digit.ink[:, 90:94] = 0, 0, 0
    left, right = _split_touching_digits(digit)
    assert (left.box, right.box) == ((40, 110, 20, 110), (10, 90, 114, 200))
    np.testing.assert_array_equal(left.ink, 1)
    np.testing.assert_array_equal(right.ink, 1)


def test_digits_of_full_height_that_lean_over_each_other_are_two() -> None:
    steps = [(60 + 8 * step, 68 + 8 * step, 140 - 6 * step, 152 - 6 * step) for step in range(10)]
    other = [(top, bottom, left + 30, right + 30) for top, bottom, left, right in steps]
    assert row_boxes(*steps, *other) == [Box(60, 140, 86, 152), Box(60, 140, 116, 182)]


@pytest.mark.parametrize("height", [1, 2, 5])
def test_a_dash_is_not_cut_into_digits(height: int) -> None:
    assert row_boxes((100, 100 + height, 40, 100)) == [Box(100, 100 + height, 40, 100)]


def test_a_broad_digit_is_not_cut() -> None:
    assert row_boxes((60, 140, 100, 115), (125, 140, 100, 220)) == [Box(60, 140, 100, 220)]


def test_of_thousands_of_components_the_heaviest_256_are_examined() -> None:
    intensity = np.zeros((1024, 1024), np.float32)
    intensity[4:-4:4, 4:-4:4] = 1
    stippled = find_components(Ink(intensity, intensity > 0.1, intensity > 0.4))
    assert len(stippled.boxes) > 60_000
    assert len(segment_row(stippled)) <= segmentation.MAX_COMPONENTS
    assert extract_single_digit(stippled).ink.size
    weights = np.zeros((40, 40), np.float32)
    weights[2:-2:2, 2:-2:2] = np.linspace(0.5, 1, 324).reshape(18, 18)
    uneven = find_components(Ink(weights, weights > 0, weights > 0))
    np.testing.assert_allclose(
        uneven.mass[segmentation._at_least(uneven, 0.1)], np.linspace(1, 0.5, 324)[:256], rtol=1e-6
    )
