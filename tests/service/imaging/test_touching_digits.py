"""Tests where digits that touch are cut, on drawn ink."""

import cv2
import numpy as np
import pytest

from service.imaging.geometry import Box
from service.imaging.touching_digits import split_touching_digits
from service.types import GreyImage


def draw_zeros(*middles: int, width: int, radius: int = 28) -> GreyImage:
    """Rings of 100 rows, the pen 10 pixels wide, around these columns."""
    ink = np.zeros((100, width), np.uint8)
    for middle in middles:
        cv2.ellipse(ink, (middle, 50), (radius, 44), 0, 0, 360, 220, 10)
    return ink


def boxes(ink: GreyImage, height: float) -> list[Box]:
    return [box for _, box in split_touching_digits(ink, height)]


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("distance", [64, 66], ids=["touching", "just touching"])
def test_each_of_several_zeros_that_touch_is_one_part(count: int, distance: int) -> None:
    middles = [34 + distance * number for number in range(count)]
    found = boxes(draw_zeros(*middles, width=distance * (count - 1) + 68), 100)
    assert len(found) == count
    for box, middle in zip(found, middles, strict=True):
        assert abs(box.middle_column - middle) <= 4


@pytest.mark.parametrize("radius", [20, 28, 40, 55], ids="{} pixels".format)
def test_a_zero_of_any_width_is_not_cut(radius: int) -> None:
    width = 2 * radius + 12
    assert boxes(draw_zeros(width // 2, width=width, radius=radius), 100) == [Box(0, 100, 0, width)]


def test_two_digits_with_faint_ink_between_them_are_parted_however_narrow_they_are() -> None:
    ink = np.zeros((100, 72), np.uint8)
    ink[:, :14] = 220
    ink[:, 14:22] = 40
    ink[:, 22:] = draw_zeros(25, width=50, radius=18)
    (one, one_box), (_, zero_box) = split_touching_digits(ink, 100)
    assert one_box.right < 24
    assert zero_box.left > 12
    assert (one[:, :14] == 220).all()


def test_a_dash_is_not_cut() -> None:
    assert len(boxes(np.full((4, 80), 200, np.uint8), 4)) == 1


def test_each_part_has_its_own_bounding_box_and_all_ink_is_in_one_part() -> None:
    ink = draw_zeros(34, 98, width=132)
    ink[:20, :66] = 0
    parts = split_touching_digits(ink, 100)
    assert len(parts) == 2
    rejoined = np.zeros_like(ink)
    for part, box in parts:
        assert Box.bounding(part) == (0, box.height, 0, box.width)
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
