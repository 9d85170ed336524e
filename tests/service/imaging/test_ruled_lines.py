"""Tests the removal of the lines of ruled and squared paper on drawn pages."""

import math

import cv2
import numpy as np
import pytest

from service.imaging import ruled_lines
from service.imaging.ink import Ink
from service.types import GreyImage, Mask


def remove_ruled_lines(ink: Mask) -> Mask:
    """From ink that is as dark as its lines."""
    return ruled_lines.remove_ruled_lines(Ink(ink * np.uint8(200), ink, ink))


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
        (0, 300, 34, True),
        (0, 300, 44, False),
        (11, 289, 0, True),
        (12, 300, 0, False),
        (0, 288, 0, False),
    ],
    ids=["89 % visible", "85 % visible", "ends 4 % before the borders", "begins late", "ends early"],
)
def test_a_line_covers_88_percent_and_reaches_both_borders(begin: int, end: int, gap: int, *, removed: bool) -> None:
    ink = blank_page()
    ink[100, begin:end] = True
    ink[100, 100 : 100 + gap] = False
    np.testing.assert_array_equal(remove_ruled_lines(ink), ink & (not removed))


def test_a_line_near_a_thick_stroke_leaves_the_stroke_whole() -> None:
    ink = blank_page()
    ink[80:110, 100:200] = True
    lined = draw_lines(ink, [90], thickness=2)
    np.testing.assert_array_equal(remove_ruled_lines(lined), ink)


def draw_grid(page: GreyImage, spacing: int, degrees: float, level: int, thickness: int) -> None:
    """Squared paper: anti-aliased lines in both directions."""
    height, width = page.shape
    reach = 2 * max(height, width)
    for turned in (degrees, degrees + 90):
        along = np.array([math.cos(math.radians(turned)), math.sin(math.radians(turned))])
        across = np.array([-along[1], along[0]])
        for number in range(-reach // spacing, reach // spacing):
            middle = np.array([width / 2 + 3, height / 2 + 3]) + number * spacing * across
            start, end = (np.rint(middle + side * reach * along).astype(int).tolist() for side in (-1, 1))
            cv2.line(page, start, end, level, thickness, cv2.LINE_AA)


@pytest.mark.parametrize("degrees", [-5, -2, 0, 3, 5])
@pytest.mark.parametrize(
    ("level", "thickness", "spacing"), [(70, 1, 40), (130, 3, 40), (220, 1, 40), (220, 2, 60)], ids=str
)
def test_squared_paper_leaves_the_digit_and_nothing_else(
    degrees: float, level: int, thickness: int, spacing: int
) -> None:
    digit = np.zeros((400, 500), np.uint8)
    cv2.ellipse(digit, (250, 200), (60, 90), 10, 30, 330, 220, 12, cv2.LINE_AA)
    page = digit.copy()
    draw_grid(page, spacing, degrees, level, thickness)
    page = np.maximum(page, digit)
    remaining = ruled_lines.remove_ruled_lines(Ink(page, page > 25, page > 60))
    near = cv2.dilate(digit, np.ones((7, 7), np.uint8)) > 0
    assert np.sum(remaining & ~near) < 0.01 * np.sum(digit > 100)
    assert np.mean(remaining[digit > 150]) > 0.97
    assert cv2.connectedComponents((remaining & near).view(np.uint8), connectivity=8)[0] == 2


def test_a_faint_dashed_line_is_removed() -> None:
    ink = blank_page()
    for left in range(0, 300, 12):
        ink[100, left : left + 7] = True
    assert not remove_ruled_lines(ink).any()


def test_the_bars_of_sevens_from_border_to_border_stay() -> None:
    ink = blank_page()
    for left in range(0, 300, 60):
        ink[60:64, left : left + 50] = True
        ink[60:140, left + 44 : left + 50] = True
    np.testing.assert_array_equal(remove_ruled_lines(ink), ink)
