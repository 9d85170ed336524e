from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pytest

from service.imaging.mnist_format import DIGIT_BOX, MAX_STROKE_WIDTH, MIN_STROKE_WIDTH, stroke_width, to_mnist
from service.types import FloatImage
from training.data.mnist import Dataset

Scalar = TypeVar("Scalar", np.uint8, np.float32)


def centre(pixels: FloatImage) -> tuple[float, float]:
    """Row and column of the centre of mass, pixel centres at +0.5."""
    places = np.arange(len(pixels)) + 0.5
    return float(pixels.sum(axis=1) @ places / pixels.sum()), float(pixels.sum(axis=0) @ places / pixels.sum())


def tight(pixels: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
    rows, columns = np.nonzero(pixels)
    return pixels[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


def ring(pen: float, *, radius: int = 150) -> FloatImage:
    """A circle drawn by a pen of this width."""
    away = np.hypot(*np.ogrid[-radius - 1 : radius + 2, -radius - 1 : radius + 2])
    return (np.abs(away - radius + pen / 2) <= pen / 2).astype(np.float32)


def test_mnist_comes_back_itself_where_its_strokes_are_usual(mnist: Dataset) -> None:
    """The rule of place is MNIST's own: all of its test images keep it, and lie again where they lay."""
    same = 0
    for original in mnist.test.images[:1000]:
        ink = tight(original.astype(np.float32) / 255)
        again = to_mnist(ink)
        if max(ink.shape) == DIGIT_BOX and MIN_STROKE_WIDTH <= stroke_width(ink) <= MAX_STROKE_WIDTH:
            np.testing.assert_array_equal(again, np.round(original * (255 / original.max())))
            same += 1
        down, right = centre(again.astype(np.float32))
        assert 14 < down <= 15
        assert 14 < right <= 15
    assert same > 900


@pytest.mark.parametrize(("height", "width"), [(40, 40), (300, 40), (40, 300), (7, 5), (1, 1), (2000, 1500)])
def test_the_longer_side_becomes_20_and_the_shape_stays(height: int, width: int) -> None:
    rows, columns = np.ogrid[:height, :width]
    away = ((rows + 0.5) / height - 0.5) ** 2 + ((columns + 0.5) / width - 0.5) ** 2
    oval = (away <= 0.25) & (away >= 0.12)
    ink = np.where(oval | (min(height, width) < 9), np.float32(1), np.float32(0))
    found = tight(to_mnist(ink))
    assert max(found.shape) == DIGIT_BOX
    assert found.max() == 255
    expected = DIGIT_BOX * min(height, width) / max(height, width)
    assert min(found.shape) == pytest.approx(expected, abs=4)


@pytest.mark.parametrize("pen", [6, 10, 25, 60])
def test_the_width_of_a_circles_stroke_is_the_pens(pen: int) -> None:
    assert stroke_width(ring(pen)) == pytest.approx(pen, rel=0.03)


@pytest.mark.parametrize("times", [2, 3, 7])
def test_the_width_grows_with_the_scale_exactly(mnist: Dataset, times: int) -> None:
    for original in mnist.test.images[:100]:
        ink = np.asarray(original / 255, np.float32)
        larger = stroke_width(np.asarray(np.kron(ink, np.ones((times, times))), np.float32))
        assert larger == pytest.approx(times * stroke_width(ink), rel=1e-5)


@pytest.mark.parametrize("pen", [1, 2, 4, 10, 40, 80])
def test_any_pen_comes_out_like_one_of_mnist(pen: int) -> None:
    found = to_mnist(tight(ring(pen)))
    assert MIN_STROKE_WIDTH <= stroke_width(np.asarray(found / 255, np.float32)) <= MAX_STROKE_WIDTH
    assert max(tight(found.astype(np.float32)).shape) == DIGIT_BOX
    assert found[14, 14] == 0


def test_grey_levels_are_those_of_the_area() -> None:
    """Twice as large, each pixel four times: the mean of the four is the pixel."""
    small = np.random.default_rng(0).uniform(0.6, 1, (20, 6)).astype(np.float32)
    small[10, 3] = 1
    ink = np.kron(small, np.ones((2, 2), np.float32))
    assert MIN_STROKE_WIDTH <= stroke_width(ink) / 2 <= MAX_STROKE_WIDTH
    np.testing.assert_array_equal(tight(to_mnist(ink)), np.round(small * 255))
