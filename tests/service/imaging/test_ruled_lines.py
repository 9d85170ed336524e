"""Tests the removal of ruled lines on drawn pages, and the Hough transform on lines of known slope."""

from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.imaging.ruled_lines import MAX_LINES, _strongest_line, _vertical_run_lengths, remove_ruled_lines
from service.types import Mask


def blank_page(height: int = 200, width: int = 300) -> Mask:
    return np.zeros((height, width), bool)


def draw_lines(ink: Mask, rows: list[int], *, thickness: int = 2, drop: int = 0) -> Mask:
    """Add lines across the whole page that fall by `drop` pixels."""
    ink = ink.copy()
    for column in range(ink.shape[1]):
        for row in rows:
            top = row + round(drop * column / ink.shape[1])
            ink[top : top + thickness, column] = True
    return ink


@pytest.mark.parametrize("drop", [-8, 0, 5, 12])
@pytest.mark.parametrize("vertical", [False, True])
@pytest.mark.parametrize("thickness", [1, 3])
def test_removes_lines_from_border_to_border_and_keeps_strokes(drop: int, thickness: int, *, vertical: bool) -> None:
    stroke = blank_page()
    stroke[40:160, 140:155] = True
    stroke[40:55, 100:200] = True
    ink = draw_lines(stroke, [20, 90, 170], thickness=thickness, drop=drop)
    remaining = remove_ruled_lines(ink.T).T if vertical else remove_ruled_lines(ink)
    assert not np.any(remaining & ~stroke)
    assert np.mean(remaining[stroke]) > 0.95


@pytest.mark.parametrize(("height", "width"), [(180, 4), (4, 270), (150, 6)])
def test_keeps_a_thin_stroke_that_ends_before_the_border(height: int, width: int) -> None:
    """A 1 drawn by a hairline, or a dash, is not a line of the paper."""
    ink = blank_page()
    ink[(200 - height) // 2 :, (300 - width) // 2 :][:height, :width] = True
    np.testing.assert_array_equal(remove_ruled_lines(ink), ink)


def test_keeps_a_thick_bar_across_the_page() -> None:
    ink = blank_page()
    ink[80:110] = True
    np.testing.assert_array_equal(remove_ruled_lines(ink), ink)


@pytest.mark.parametrize(("side", "removed"), [(28, False), (55, False), (56, True)])
def test_only_pictures_of_56_pixels_have_ruled_lines(side: int, *, removed: bool) -> None:
    ink = draw_lines(blank_page(side, side + 20), [5, 20], thickness=1)
    np.testing.assert_array_equal(remove_ruled_lines(ink), ink & (not removed))


def test_removes_all_of_graph_paper() -> None:
    ink = draw_lines(
        draw_lines(blank_page(), list(range(10, 200, 25)), thickness=1).T, list(range(10, 300, 25)), thickness=1
    ).T
    stroke = blank_page()
    stroke[50:150, 150:165] = True
    remaining = remove_ruled_lines(ink | stroke)
    assert np.sum(remaining & ~stroke) < 0.05 * ink.sum()
    assert np.mean(remaining[stroke]) > 0.95


@pytest.mark.parametrize(
    ("begin", "end", "gap", "removed"),
    [
        (0, 300, 119, True),
        (0, 300, 122, False),
        (11, 289, 0, True),
        (12, 300, 0, False),
        (0, 288, 0, False),
    ],
    ids=["60 % visible", "59 % visible", "ends 4 % before the borders", "begins late", "ends early"],
)
def test_a_line_covers_60_percent_and_reaches_both_borders(begin: int, end: int, gap: int, *, removed: bool) -> None:
    ink = blank_page()
    ink[100, begin:end] = True
    ink[100, 100 : 100 + gap] = False
    np.testing.assert_array_equal(remove_ruled_lines(ink), ink & (not removed))


def test_a_line_near_a_thick_stroke_leaves_the_stroke_whole() -> None:
    ink = blank_page()
    ink[80:110, 100:200] = True
    lined = draw_lines(ink, [90], thickness=2)
    np.testing.assert_array_equal(remove_ruled_lines(lined), ink)


def test_removes_a_bounded_number_of_lines() -> None:
    ink = draw_lines(blank_page(560, 60), list(range(0, 560, 14)), thickness=1)
    assert remove_ruled_lines(ink).any(axis=1).sum() == 40 - MAX_LINES == 8


@given(st.lists(st.lists(st.booleans(), min_size=7, max_size=7), min_size=1, max_size=9))
def test_each_pixel_has_the_length_of_its_vertical_run(rows: list[list[bool]]) -> None:
    ink = np.array(rows)
    expected = [
        [
            length
            for is_ink, group in groupby(column)
            for run in [list(group)]
            for length in [len(run) * is_ink] * len(run)
        ]
        for column in ink.T
    ]
    np.testing.assert_array_equal(_vertical_run_lengths(ink), np.array(expected).T)


@pytest.mark.parametrize("slope", [-0.06, -0.03, 0.0, 0.015, 0.06])
def test_the_strongest_line_has_the_slope_and_the_intercept_of_the_drawn_one(slope: float) -> None:
    columns = np.arange(2000)
    rows = np.round(60 + slope * columns).astype(np.int64)
    found, intercept, coverage = _strongest_line(rows, columns, np.ones(2000), 2000)
    assert found == pytest.approx(slope)
    assert intercept == pytest.approx(60, abs=1)
    assert coverage == 2000


def test_the_strongest_line_counts_weights_of_three_rows() -> None:
    rows, columns = np.repeat([50, 51, 52, 53], 10), np.tile(np.arange(10), 4)
    assert _strongest_line(rows, columns, np.full(40, 0.25), 10)[2] == pytest.approx(7.5)
    no_pixels = np.zeros(0, np.int64)
    assert _strongest_line(no_pixels, no_pixels, np.zeros(0), 10) == (0, 0, 0)
