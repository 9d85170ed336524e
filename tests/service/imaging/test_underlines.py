"""Tests the removal of underlines that touch drawn digits."""

import cv2
import numpy as np
import pytest

from service.imaging.components import find_components
from service.imaging.segmentation import extract_single_digit, segment_lines
from service.types import GreyImage
from tests.service.imaging.drawn_ink import ink_of


def draw_page(*, zeros: int, underline: tuple[int, int] | None, fall: int = 0) -> GreyImage:
    """Zeros of 100 rows that begin at column 100, and an underline through their feet between two columns."""
    page = np.zeros((300, 700), np.uint8)
    for number in range(zeros):
        cv2.ellipse(page, (130 + 90 * number, 150), (28, 46), 0, 0, 360, 220, 9)
    if underline:
        cv2.line(page, (underline[0], 198), (underline[1], 198 + fall), 220, 6)
    return page


@pytest.mark.parametrize("fall", [-6, 0, 6])
@pytest.mark.parametrize("zeros", [2, 3, 6])
def test_digits_that_stand_on_an_underline_are_read_without_it(zeros: int, fall: int) -> None:
    page = draw_page(zeros=zeros, underline=(95, 75 + 90 * zeros), fall=fall)
    digits = segment_lines(find_components(ink_of(page)))
    assert [round((digit.box.left - 97) / 90) for digit in digits] == list(range(zeros))
    assert all(digit.box.width < 80 for digit in digits)


def test_an_underline_that_is_longer_than_the_digit_is_no_part_of_it() -> None:
    box = extract_single_digit(find_components(ink_of(draw_page(zeros=1, underline=(70, 190))))).box
    assert abs(box.left - 97) <= 3
    assert abs(box.right - 164) <= 3


def test_the_foot_of_a_digit_stays() -> None:
    page = np.zeros((300, 300), np.uint8)
    page[100:200, 145:155] = 220
    page[190:200, 115:185] = 220
    assert extract_single_digit(find_components(ink_of(page))).box == (100, 200, 115, 185)


def test_the_base_of_a_wide_two_stays() -> None:
    page = np.zeros((300, 300), np.uint8)
    corners = np.array([[105, 120], [130, 102], [160, 105], [175, 130], [105, 195], [200, 195]])
    cv2.polylines(page, [corners], isClosed=False, color=220, thickness=9)
    box = extract_single_digit(find_components(ink_of(page))).box
    assert box.right >= 200
    assert box.left <= 105
