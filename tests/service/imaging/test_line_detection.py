"""Tests the detection of lines on lines of known slope, row, thickness and intensity."""

from itertools import groupby

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.imaging.line_detection import find_lines, may_cross, open_columns


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(1, 12))
def test_runs_of_the_given_length_or_more_stay_in_their_place(column: list[bool], length: int) -> None:
    expected: list[bool] = []
    for is_ink, group in groupby(column):
        run = list(group)
        expected += [is_ink and len(run) >= length] * len(run)
    ink = np.array(column, np.uint8)[:, None]
    np.testing.assert_array_equal(open_columns(ink, length)[:, 0], expected)


@pytest.mark.parametrize("slope", [-0.095, -0.03, 0.0, 0.015, 0.06, 0.095])
@pytest.mark.parametrize("thickness", [1, 2, 5])
def test_a_line_has_the_slope_the_row_the_thickness_and_the_level_of_the_drawn_one(
    slope: float, thickness: int
) -> None:
    page = np.zeros((400, 700), np.uint8)
    for column in range(700):
        top = round(200 + slope * column)
        page[top : top + thickness, column] = 120
    (line,) = find_lines(page > 0, page)
    assert line.slope == pytest.approx(slope, abs=0.002)
    assert line.row == pytest.approx(200 + (thickness - 1) / 2, abs=1)
    assert line.thickness == thickness
    assert line.level == 120


def test_parallel_lines_are_found_each_once() -> None:
    page = np.zeros((400, 700), np.uint8)
    for row in range(-60, 400, 12):
        cv2.line(page, (0, row), (699, row + 49), 90, 1)
    lines = find_lines(page > 0, page)
    rows = sorted(line.row for line in lines if 0 < line.row < 340)  # the others leave the picture
    assert len(rows) == 28
    np.testing.assert_allclose(np.diff(rows), 12, atol=1)


def test_a_line_that_leaves_the_picture_at_the_top_is_found() -> None:
    page = np.zeros((400, 700), np.uint8)
    cv2.line(page, (0, 20), (350, -5), 90, 2)
    assert len(find_lines(page > 0, page)) == 1


def test_digits_that_fill_the_width_are_no_lines() -> None:
    page = np.zeros((100, 700), np.uint8)
    for left in range(0, 700, 58):
        cv2.ellipse(page, (left + 25, 50), (20, 40), 0, 0, 360, 200, 6)
    assert find_lines(page > 0, page) == []


@pytest.mark.parametrize(
    ("columns", "expected"),
    [(range(100), True), (range(5, 100), False), (range(95), False), ([*range(30), *range(84, 100)], True)],
    ids=["full", "late", "early", "46 %"],
)
def test_a_line_needs_ink_at_both_borders_and_in_45_percent_of_the_columns(
    columns: list[int], *, expected: bool
) -> None:
    has_ink = np.zeros(100, bool)
    has_ink[list(columns)] = True
    assert may_cross(has_ink) is expected
