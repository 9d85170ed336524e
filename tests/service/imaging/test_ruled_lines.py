import numpy as np
import pytest

from service.imaging.ruled_lines import remove_ruled_lines
from service.types import Mask


def page(height: int = 200, width: int = 300) -> Mask:
    return np.zeros((height, width), bool)


def ruled(ink: Mask, rows: list[int], *, thick: int = 2, drop: int = 0) -> Mask:
    """With lines across the whole page that fall by `drop` pixels."""
    ink = ink.copy()
    for column in range(ink.shape[1]):
        for row in rows:
            top = row + round(drop * column / ink.shape[1])
            ink[top : top + thick, column] = True
    return ink


@pytest.mark.parametrize("drop", [-8, 0, 5, 12])
@pytest.mark.parametrize("upright", [False, True])
@pytest.mark.parametrize("thick", [1, 3])
def test_lines_from_border_to_border_go_and_strokes_stay(drop: int, thick: int, *, upright: bool) -> None:
    stroke = page()
    stroke[40:160, 140:155] = True
    stroke[40:55, 100:200] = True
    ink = ruled(stroke, [20, 90, 170], thick=thick, drop=drop)
    left = remove_ruled_lines(ink.T).T if upright else remove_ruled_lines(ink)
    assert not np.any(left & ~stroke)
    assert np.mean(left[stroke]) > 0.95


@pytest.mark.parametrize(("height", "width"), [(180, 4), (4, 270), (150, 6)])
def test_a_thin_stroke_that_ends_before_the_border_stays(height: int, width: int) -> None:
    """A 1 of a hairline, or a dash, is no line of the paper."""
    ink = page()
    ink[(200 - height) // 2 :, (300 - width) // 2 :][:height, :width] = True
    np.testing.assert_array_equal(remove_ruled_lines(ink), ink)


def test_a_thick_bar_across_stays() -> None:
    ink = page()
    ink[80:110] = True
    np.testing.assert_array_equal(remove_ruled_lines(ink), ink)


def test_a_small_picture_has_no_lines() -> None:
    ink = ruled(page(28, 28), [5, 20], thick=1)
    np.testing.assert_array_equal(remove_ruled_lines(ink), ink)


def test_graph_paper_goes_whole() -> None:
    ink = ruled(ruled(page(), list(range(10, 200, 25)), thick=1).T, list(range(10, 300, 25)), thick=1).T
    stroke = page()
    stroke[50:150, 150:165] = True
    left = remove_ruled_lines(ink | stroke)
    assert np.sum(left & ~stroke) < 0.05 * ink.sum()
    assert np.mean(left[stroke]) > 0.95
