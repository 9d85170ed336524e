"""Tests boxes against the sets of pixels that they stand for."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from service.imaging.geometry import Box
from service.types import Mask

HEIGHT, WIDTH = 18, 24


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    top, left = draw(st.integers(0, HEIGHT - 1)), draw(st.integers(0, WIDTH - 1))
    return Box(top, draw(st.integers(top + 1, HEIGHT)), left, draw(st.integers(left + 1, WIDTH)))


def fill(*rectangles: Box) -> Mask:
    """A picture on which these boxes are filled."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    for top, bottom, left, right in rectangles:
        mask[top:bottom, left:right] = True
    return mask


@given(boxes())
def test_the_bounding_box_of_a_rectangle_is_the_rectangle(box: Box) -> None:
    mask = fill(box)
    assert Box.bounding(mask) == box
    assert (box.height, box.width) == (mask.any(axis=1).sum(), mask.any(axis=0).sum())
    assert box.area == mask.sum()


def test_the_bounding_box_reaches_from_the_first_to_the_last_pixel() -> None:
    assert Box.bounding(np.array([[0, 0, 0, 0], [0, 0, 0.5, 0], [0, 0.1, 0, 0]], np.float32)) == (1, 3, 1, 3)


@given(st.lists(boxes(), min_size=1, max_size=4))
def test_the_enclosing_box_bounds_all_pixels_of_the_boxes(several: list[Box]) -> None:
    assert Box.enclosing(several) == Box.bounding(fill(*several))


@given(boxes(), st.integers(1, 4))
def test_a_scaled_box_covers_the_enlarged_pixels(box: Box, factor: int) -> None:
    assert box.scaled(factor) == Box.bounding(np.kron(fill(box), np.ones((factor, factor), bool)))


@given(boxes(), st.integers(-30, 30), st.integers(-30, 30))
def test_a_translated_box_keeps_its_size(box: Box, rows: int, columns: int) -> None:
    moved = box.translated(rows, columns)
    assert (moved.top - box.top, moved.left - box.left) == (rows, columns)
    assert (moved.height, moved.width) == (box.height, box.width)


@given(boxes(), st.integers(0, 10))
def test_an_expanded_box_is_a_dilation_that_ends_at_the_border(box: Box, margin: int) -> None:
    dilated = ndimage.binary_dilation(fill(box), np.ones((2 * margin + 1, 2 * margin + 1), bool))
    assert box.expanded(margin, HEIGHT, WIDTH) == Box.bounding(dilated)


@given(boxes(), boxes())
def test_the_distance_is_that_of_the_nearest_pixels_edges(box: Box, other: Box) -> None:
    pixels, others = np.argwhere(fill(box)), np.argwhere(fill(other))
    rows, columns = np.moveaxis(np.abs(pixels[:, None] - others[None]), -1, 0)
    nearest = np.hypot(np.maximum(rows - 1, 0), np.maximum(columns - 1, 0)).min()
    assert box.distance_to(other) == pytest.approx(nearest)


def test_boxes_side_by_side_have_no_distance_and_diagonal_ones_a_hypotenuse() -> None:
    assert Box(0, 5, 0, 5).distance_to(Box(0, 5, 5, 9)) == 0
    assert Box(0, 5, 0, 5).distance_to(Box(8, 9, 9, 10)) == math.hypot(3, 4)


@given(boxes(), boxes())
def test_the_overlap_is_the_share_of_common_columns(box: Box, other: Box) -> None:
    columns, others = (set(range(each.left, each.right)) for each in (box, other))
    expected = len(columns & others) / min(len(columns), len(others))
    assert box.horizontal_overlap(other) == other.horizontal_overlap(box) == expected


@given(boxes(), boxes())
def test_a_box_strictly_contains_what_lies_in_its_interior(box: Box, other: Box) -> None:
    interior = ndimage.binary_erosion(fill(box), np.ones((3, 3), bool))
    assert box.strictly_contains(other) == bool(interior[fill(other)].all())


@pytest.mark.parametrize("other", [Box(1, 8, 2, 8), Box(2, 9, 2, 8), Box(2, 8, 1, 8), Box(2, 8, 2, 9)], ids=str)
def test_a_box_that_touches_a_side_is_not_strictly_contained(other: Box) -> None:
    assert Box(1, 9, 1, 9).strictly_contains(Box(2, 8, 2, 8))
    assert not Box(1, 9, 1, 9).strictly_contains(other)


def test_a_box_selects_its_pixels_and_has_a_middle() -> None:
    pixels = np.arange(48).reshape(6, 8)
    box = Box(1, 4, 2, 7)
    np.testing.assert_array_equal(pixels[box.slices], pixels[1:4, 2:7])
    assert (box.middle_row, box.middle_column) == (2.5, 4.5)
