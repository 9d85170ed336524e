"""Tests the hint that a picture shows several digits: on rows and lines of MNIST's digits, single ones, broken ones."""

import numpy as np
import pytest

from service.imaging import digit_count
from service.imaging.components import Components
from service.imaging.reader import NormaliseOptions, read_image, read_picture
from service.imaging.segmentation import DigitInk, segment_lines
from service.settings import Settings
from service.types import Pixels
from tests.service.payloads import encode, stroke
from training.data.mnist import Dataset


def page(*lines: Pixels) -> Pixels:
    """Lines of light digits on dark ground, five times as large, dark on a white page with a margin."""
    rows = [np.kron(line, np.ones((5, 5), np.uint8)) for line in lines]
    width = max(row.shape[1] for row in rows)
    rows = [np.pad(row, ((0, 0), (0, width - row.shape[1]))) for row in rows]
    return 255 - np.pad(np.concatenate(rows), 60)


def count_on(pixels: Pixels, options: NormaliseOptions | None = None) -> int:
    (digit,) = read_picture(encode(pixels), Settings(), options or NormaliseOptions())
    return digit.digit_count


@pytest.mark.parametrize("count", [2, 3, 4])
def test_digits_in_a_row_are_counted(mnist: Dataset, count: int) -> None:
    right = 0
    for start in range(0, 20 * count, count):
        row = np.concatenate(list(mnist.test.images[start : start + count]), axis=1)
        found = count_on(page(row))
        assert found > 1
        right += found == count
    assert right >= 19


def test_digits_of_several_lines_are_counted(mnist: Dataset) -> None:
    images = mnist.test.images
    lines = (np.concatenate(list(images[:3]), axis=1), np.concatenate(list(images[3:5]), axis=1))
    assert count_on(page(*lines)) == 5


def test_single_digits_have_no_hint(mnist: Dataset) -> None:
    """Some of MNIST's digits are broken, some are wide: 3 in 1,000 have a hint at 28x28 pixels."""
    assert sum(count_on(page(image)) > 1 for image in mnist.test.images[:200]) <= 1
    always = NormaliseOptions("always")
    assert sum(read_image(image, always)[0].digit_count > 1 for image in mnist.test.images[:1000]) <= 5


def test_a_digit_that_is_crossed_by_thin_lines_has_no_hint(mnist: Dataset) -> None:
    """As the lines of a plot's grid cross it: many parts that lie close to each other."""
    for image in mnist.test.images[:20]:
        crossed = page(image)
        crossed[60::20], crossed[:, 60::20] = 255, 255
        assert count_on(crossed) == 1


def test_split_digits_have_no_hint(mnist: Dataset) -> None:
    row = np.concatenate(list(mnist.test.images[:3]), axis=1)
    digits = read_picture(encode(page(row)), Settings(), NormaliseOptions(split=True))
    assert [digit.digit_count for digit in digits] == [1, 1, 1]


def test_an_image_that_passes_unchanged_has_no_hint() -> None:
    (digit,) = read_image(stroke(), NormaliseOptions())
    assert digit.digit_count == 1


def test_only_ink_like_several_digits_is_segmented(mnist: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """It costs as much as reading the digit."""
    segmented: list[Components] = []

    def count_calls(components: Components) -> list[DigitInk]:
        segmented.append(components)
        return segment_lines(components)

    monkeypatch.setattr(digit_count, "segment_lines", count_calls)
    for image in mnist.test.images[:100]:
        count_on(page(image))
    assert len(segmented) <= 3
    count_on(page(np.concatenate(list(mnist.test.images[:3]), axis=1)))
    assert len(segmented) <= 4
