"""Tests the conversion to MNIST's form against MNIST itself, drawn circles, and the morphology of scipy.ndimage."""

import numpy as np
import pytest
from scipy import ndimage

from service.imaging.mnist_format import (
    DIGIT_BOX,
    MAX_STROKE_WIDTH,
    MIN_STROKE_WIDTH,
    SUPERSAMPLING,
    _dilate,
    _erode,
    _normalise_stroke_width,
    _resize,
    stroke_width,
    to_mnist,
)
from service.types import GreyImage
from training.data.mnist import Dataset

CROSS, SQUARE = ndimage.generate_binary_structure(2, 1), np.ones((3, 3), bool)


def centre_of_mass(pixels: GreyImage) -> tuple[float, float]:
    """Row and column, pixel centres at +0.5."""
    row, column = ndimage.center_of_mass(pixels)
    return row + 0.5, column + 0.5


def crop(pixels: GreyImage) -> GreyImage:
    """The bounding box of the ink."""
    rows, columns = np.nonzero(pixels)
    return pixels[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


def draw_circle(pen: float, *, radius: int = 150) -> GreyImage:
    """A circle drawn by a pen of this width; `radius` is the outer one."""
    distance = np.hypot(*np.ogrid[-radius - 1 : radius + 2, -radius - 1 : radius + 2])
    return np.where(np.abs(distance - radius + pen / 2) <= pen / 2, np.uint8(255), np.uint8(0))


def test_mnist_digits_with_usual_strokes_come_back_unchanged(mnist: Dataset) -> None:
    """Centring is MNIST's own: all of its test images obey it, and get back to where they were."""
    unchanged = 0
    for original in mnist.test.images[:1000]:
        ink = crop(original)
        again = to_mnist(ink)
        if max(ink.shape) == DIGIT_BOX and MIN_STROKE_WIDTH <= stroke_width(ink) <= MAX_STROKE_WIDTH:
            np.testing.assert_array_equal(again, np.round(original * (255 / original.max())))
            unchanged += 1
        row, column = centre_of_mass(again)
        assert 14 < row <= 15
        assert 14 < column <= 15
    assert unchanged > 900


@pytest.mark.parametrize(("height", "width"), [(40, 40), (300, 40), (40, 300), (7, 5), (1, 1), (2000, 1500)])
def test_the_longer_side_becomes_20_and_the_aspect_stays(height: int, width: int) -> None:
    rows, columns = np.ogrid[:height, :width]
    distance = ((rows + 0.5) / height - 0.5) ** 2 + ((columns + 0.5) / width - 0.5) ** 2
    oval = (distance <= 0.25) & (distance >= 0.12)
    ink = np.where(oval | (min(height, width) < 9), np.uint8(255), np.uint8(0))
    found = crop(to_mnist(ink))
    assert max(found.shape) == DIGIT_BOX
    assert found.max() == 255
    expected = DIGIT_BOX * min(height, width) / max(height, width)
    assert min(found.shape) == pytest.approx(expected, abs=4)


@pytest.mark.parametrize(("row", "column"), [(0, 0), (0, 19), (19, 0), (19, 19)])
def test_a_digit_with_all_its_mass_in_a_corner_stays_on_the_image(row: int, column: int) -> None:
    ink = np.zeros((20, 20), np.uint8)
    ink[:, column] = ink[row] = 1
    ink[row, column] = 255
    image = to_mnist(ink)
    assert image.dtype == np.uint8
    assert image.shape == (28, 28)
    assert image.max() == 255


@pytest.mark.parametrize("pen", [6, 10, 25, 60])
def test_the_stroke_width_of_a_circle_is_that_of_the_pen(pen: int) -> None:
    assert stroke_width(draw_circle(pen)) == pytest.approx(pen, rel=0.03)


def test_a_picture_without_ink_has_no_stroke_width() -> None:
    assert stroke_width(np.zeros((5, 5), np.uint8)) == 0


@pytest.mark.parametrize("factor", [2, 3, 7])
def test_the_stroke_width_is_proportional_to_an_integer_scale(mnist: Dataset, factor: int) -> None:
    for original in mnist.test.images[:100]:
        larger = stroke_width(np.kron(original, np.ones((factor, factor), np.uint8)))
        assert larger == pytest.approx(factor * stroke_width(original), rel=1e-5)


@pytest.mark.parametrize("pen", [1, 2, 4, 10, 40, 80])
def test_any_pen_gives_a_stroke_width_of_mnist(pen: int) -> None:
    found = to_mnist(crop(draw_circle(pen)))
    assert MIN_STROKE_WIDTH <= stroke_width(found) <= MAX_STROKE_WIDTH
    assert max(crop(found).shape) == DIGIT_BOX
    assert found[14, 14] == 0


@pytest.mark.parametrize(("pen", "target"), [(2, 2.0), (6, 2.0), (12, 2.0), (80, 3.5), (110, 3.5)])
def test_strokes_are_dilated_to_2_pixels_and_eroded_to_3_and_a_half(pen: int, target: float) -> None:
    """At four times the resolution of the image, so that the width is met to a quarter of a pixel."""
    ink = crop(draw_circle(pen))
    fine = _normalise_stroke_width(ink)
    assert SUPERSAMPLING == 4
    if target > 3:
        assert 60 < max(fine.shape) < 80
    else:
        assert 80 < max(fine.shape) <= 96
    assert stroke_width(fine) / 4 == pytest.approx(target, abs=0.3 if target < 3 else 0.6)


@pytest.mark.parametrize(("scale", "changed"), [(0.98, True), (1.02, False)])
def test_only_strokes_outside_of_the_range_of_mnist_are_changed(scale: float, *, changed: bool) -> None:
    """The stroke of a square ring is measured exactly, up to the factor of 4 / pi for straight outlines."""
    pen = MIN_STROKE_WIDTH * scale
    ink = np.full((400, 400), 255, np.uint8)
    width = round(pen * 400 / 20 * np.pi / 4)
    ink[width:-width, width:-width] = 0
    measured = stroke_width(ink) / 20
    assert (measured < MIN_STROKE_WIDTH) is changed
    assert (_normalise_stroke_width(ink) is ink) is not changed


@pytest.mark.parametrize("steps", range(6))
def test_dilation_alternates_a_cross_and_a_square(steps: int) -> None:
    ink = np.random.default_rng(steps).integers(0, 256, (12, 15), np.uint8)
    expected = np.pad(ink, steps)
    for step in range(steps):
        expected = ndimage.grey_dilation(expected, footprint=SQUARE if step % 2 else CROSS, mode="constant")
    np.testing.assert_array_equal(_dilate(ink, steps), expected)


def test_a_dilated_point_is_an_octagon() -> None:
    """A circle is dilated equally in all directions, within the difference between an octagon and a disc."""
    found = _dilate(np.full((1, 1), 255, np.uint8), 12)
    distance = np.hypot(*np.ogrid[-12:13, -12:13])
    assert (found[distance <= 11.9] == 255).mean() > 0.95
    assert found[distance > 13.5].max() == 0
    assert found[12].all()


@pytest.mark.parametrize("steps", range(6))
def test_erosion_alternates_a_cross_and_a_square(steps: int) -> None:
    ink = np.zeros((30, 30), np.uint8)
    ink[3:-3, 5:-5] = np.random.default_rng(steps).integers(230, 256, (24, 20))
    expected = np.pad(ink, 1)
    for step in range(steps):
        expected = ndimage.grey_erosion(expected, footprint=SQUARE if step % 2 else CROSS, mode="nearest")
    np.testing.assert_array_equal(_erode(ink, steps), expected)


@pytest.mark.parametrize(("level", "rows"), [(255, 1), (128, 1), (127, 5)])
def test_erosion_stops_before_the_last_stroke_is_lost(level: int, rows: int) -> None:
    ink = np.full((5, 40), 255, np.uint8)
    ink[2] = level
    assert np.count_nonzero(_erode(ink, 10).max(axis=1) > 100) == rows


def test_grey_levels_are_means_of_areas() -> None:
    """On a picture of twice the size, the mean of four pixels is the pixel."""
    small = np.random.default_rng(0).integers(150, 256, (20, 6), np.uint8)
    small[10, 3] = 255
    ink = np.kron(small, np.ones((2, 2), np.uint8))
    assert MIN_STROKE_WIDTH <= stroke_width(ink) / 2 <= MAX_STROKE_WIDTH
    np.testing.assert_array_equal(crop(to_mnist(ink)), small)


@pytest.mark.parametrize("darkest", [1, 60, 128, 254])
def test_pale_ink_gives_the_same_image(mnist: Dataset, darkest: int) -> None:
    """Up to the rounding of its levels."""
    for original in mnist.validation.images[:20]:
        ink = np.kron(crop(original), np.ones((9, 9), np.uint8))
        pale = np.round(ink * (darkest / 255)).astype(np.uint8)
        difference = np.abs(to_mnist(crop(pale)).astype(int) - to_mnist(ink))
        assert difference.mean() <= 130 / darkest


def test_two_dots_far_apart_are_ink() -> None:
    """Less than half a grey level in the mean of any area."""
    ink = np.zeros((3000, 3000), np.uint8)
    ink[0, 0] = ink[-1, -1] = 255
    image = to_mnist(ink)
    assert image.max() == 255
    assert crop(image).shape == (20, 20)


@pytest.mark.parametrize(("shape", "expected"), [((60, 30), (20, 10)), ((30, 90), (7, 20)), ((400, 3), (20, 1))])
def test_resizing_by_an_integer_takes_the_mean_of_blocks(shape: tuple[int, int], expected: tuple[int, int]) -> None:
    ink = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    found = _resize(ink, 20)
    assert found.shape == expected
    if shape == (60, 30):
        np.testing.assert_allclose(found, ink.reshape(20, 3, 10, 3).mean(axis=(1, 3)), atol=0.5)


@pytest.mark.parametrize("side", [200, 799, 2000])
def test_a_hairline_keeps_its_intensity(side: int) -> None:
    """A frame one pixel wide is between 1.5 and 2 pixels wide on the image, and all of it has the intensity of ink."""
    ink = np.zeros((side, side), np.uint8)
    ink[[0, -1]] = ink[:, [0, -1]] = 255
    found = crop(to_mnist(ink))
    assert found.shape == (20, 20)
    assert found[0].min() > 200
    assert found[:, -1].min() > 200
    assert found[1].min() > 100
    assert found[4:-4, 4:-4].max() == 0


def test_enlarging_interpolates_and_never_gives_negative_ink() -> None:
    ink = np.zeros((5, 5), np.uint8)
    ink[:, 2] = 255
    found = _resize(ink, 20)
    assert found.shape == (20, 20)
    assert found.min() == 0
    assert found[:, 9:11].min() > 240
    assert np.ptp(found, axis=0).max() == 0
    assert len(np.unique(found[10])) > 4
