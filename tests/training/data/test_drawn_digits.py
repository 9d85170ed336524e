"""Drawn digits: labels, shares, and forms."""

import numpy as np
import pytest

from training.data import drawn_digits, pen
from training.data.mnist import Dataset
from training.data.pen import Form
from training.types import Images

FORMS = [(digit, form) for digit, forms in drawn_digits.FORMS.items() for form in forms]


def test_every_digit_is_drawn_equally_often_and_in_random_order() -> None:
    split = drawn_digits.draw_digits(503, np.random.default_rng(0))
    assert sorted(np.bincount(split.labels)) == [50] * 7 + [51] * 3
    assert split.images.shape == (503, 28, 28)
    assert np.abs(np.diff(split.labels.astype(int))).mean() > 2


def test_the_same_seed_gives_the_same_digits() -> None:
    first, again = (drawn_digits.draw_digits(60, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first.images, again.images)
    np.testing.assert_array_equal(first.labels, again.labels)


def test_forms_are_named_after_their_digit() -> None:
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    assert len(FORMS) >= 70
    assert all(form.__name__.split("_")[0] == names[digit] for digit, form in FORMS)
    assert len({form.__name__ for _, form in FORMS}) == len(FORMS)


def test_nearest_neighbours_among_the_drawings_read_mnist(mnist: Dataset) -> None:
    drawn = drawn_digits.draw_digits(6_000, np.random.default_rng(2))
    known, seen = (_unit(images) for images in (drawn.images, mnist.validation.images[:500]))
    read = drawn.labels[(seen @ known.T).argmax(axis=1)]
    accuracy = [np.mean(read[mnist.validation.labels[:500] == digit] == digit) for digit in range(10)]
    assert np.mean(read == mnist.validation.labels[:500]) > 0.8
    assert min(accuracy) > 0.6


def _unit(images: Images) -> Images:
    flat = images.reshape(len(images), -1).astype(np.float32)
    return flat / np.linalg.norm(flat, axis=1, keepdims=True)  # type: ignore[no-any-return]


@pytest.mark.parametrize(("digit", "form"), FORMS, ids=[form.__name__ for _, form in FORMS])
def test_each_form_draws_varied_images_in_mnist_form(digit: int, form: Form) -> None:
    images = pen.draw(form, 60, np.random.default_rng(digit))
    for image in images:
        rows, columns = np.nonzero(image)
        assert max(np.ptp(rows), np.ptp(columns)) + 1 in {19, 20}
    assert len({image.tobytes() for image in images}) == 60
    mass = (images / 255).sum(axis=(1, 2))
    assert 15 < mass.min() < mass.max() < 320
