"""Tests where digits that touch are cut, on drawn ink."""

import numpy as np
import pytest

from service.imaging.geometry import Box
from service.imaging.touching_digits import split_touching_digits
from service.types import GreyImage


def touching(height: int, width: int, *thin: int) -> GreyImage:
    """A rectangle of ink that is thin in some columns."""
    ink = np.full((height, width), 200, np.uint8)
    for column in thin:
        ink[:-1, column] = 0
    return ink


def boxes(ink: GreyImage, height: float) -> list[Box]:
    return [box for _, box in split_touching_digits(ink, height)]


@pytest.mark.parametrize(
    ("height", "width", "count"),
    [(100, 160, 1), (100, 161, 2), (100, 187, 2), (100, 188, 3), (100, 263, 4), (4, 60, 1)],
)
def test_the_number_of_touching_digits_follows_from_the_width(height: int, width: int, count: int) -> None:
    assert len(split_touching_digits(touching(height, width), height)) == count


def test_a_cut_goes_through_the_column_of_least_ink() -> None:
    assert boxes(touching(100, 180, 80), 100) == [Box(0, 100, 0, 80), Box(0, 100, 80, 180)]


def test_each_part_has_its_own_bounding_box_and_all_ink_is_in_one_part() -> None:
    ink = touching(100, 180)
    ink[:30, :90], ink[80:, 90:], ink[:, 88:94] = 0, 0, 0
    parts = split_touching_digits(ink, 100)
    assert [box for _, box in parts] == [Box(30, 100, 0, 88), Box(0, 80, 94, 180)]
    rejoined = np.zeros_like(ink)
    for part, box in parts:
        rejoined[box.slices] += part
    np.testing.assert_array_equal(rejoined, ink)


def test_a_cut_between_slanted_digits_is_slanted() -> None:
    """Two slanted strokes whose columns overlap, with a thin bridge between them."""
    ink = np.zeros((100, 128), np.uint8)
    starts = [(100 - row) // 3 for row in range(100)]
    for row, start in enumerate(starts):
        ink[row, start : 40 + start] = ink[row, 55 + start : 95 + start] = 200
    ink[50, 40:90] = 200
    parts = split_touching_digits(ink, 79)
    assert len(parts) == 2
    for (part, box), left in zip(parts, (0, 55), strict=True):
        whole = np.zeros_like(ink)
        whole[box.slices] = part
        assert all(whole[row, left + start : left + start + 40].all() for row, start in enumerate(starts))
