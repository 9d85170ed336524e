"""Tests the rule for images in MNIST's form on all of MNIST, and against its definition in float64."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from service.errors import NoDigitFound
from service.imaging.normal_form import has_normal_form
from service.imaging.reader import DEFAULT_OPTIONS, NormaliseOptions, passes_unchanged
from tests.service.payloads import Pixels
from training.data.mnist import Dataset


def check(image: Pixels) -> bool:
    return has_normal_form(image.tobytes(), Image.fromarray(image).getbbox())


def follows_definition(image: Pixels) -> bool:
    """Darkest 0, lightest at least 250, box of 19 or 20 pixels, centre of mass within 0.6 pixels of the middle."""
    if image.min() > 0 or image.max() < 250:
        return False
    rows, columns = np.nonzero(image)
    mass = image.astype(float)
    centre = [float((mass * np.indices((28, 28))[axis]).sum() / mass.sum()) for axis in (0, 1)]
    longer = max(np.ptp(rows), np.ptp(columns)) + 1
    return bool(longer in (19, 20) and np.abs(np.subtract(centre, 14)).max() <= 0.6)


def test_all_images_of_mnist_have_the_form(mnist: Dataset) -> None:
    splits = (mnist.training, mnist.validation, mnist.test)
    assert sum(len(split) for split in splits) == 70_000
    assert sum(not check(image) for split in splits for image in split.images) == 0


@given(st.data())
def test_the_rule_is_its_definition(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 21)), data.draw(st.integers(1, 21))
    top, left = data.draw(st.integers(0, 28 - height)), data.draw(st.integers(0, 28 - width))
    image = np.full((28, 28), data.draw(st.sampled_from([0, 0, 0, 1])), np.uint8)
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    lightest = data.draw(st.sampled_from([100, 249, 250, 254, 255]))
    image[top : top + height, left : left + width] = random.integers(1, lightest + 1, (height, width))
    image[top + height // 2, left + width // 2] = lightest
    assert check(image) == follows_definition(image)


def deviate(image: Pixels, kind: str) -> Pixels:
    """A picture of 28x28 pixels that shows the digit otherwise than MNIST does."""
    if kind == "shifted by 4":
        return np.roll(image, 4, axis=(0, 1))
    if kind == "faint":
        return (image * 0.2).astype(np.uint8)
    if kind == "on grey ground":
        return np.maximum(image, 40).astype(np.uint8)
    side = 28 if kind == "of full size" else 10
    ink = Image.fromarray(image).crop(Image.fromarray(image).getbbox())
    scale = side / max(ink.size)
    small = ink.resize([max(1, round(length * scale)) for length in ink.size])
    picture = Image.new("L", (28, 28))
    picture.paste(small)
    return np.asarray(picture)


@pytest.mark.parametrize("kind", ["shifted by 4", "faint", "on grey ground", "of full size", "small in a corner"])
def test_digits_in_another_form_are_normalised(kind: str, mnist: Dataset) -> None:
    for image in mnist.validation.images[:50]:
        assert not passes_unchanged(deviate(image, kind))


def test_only_never_passes_what_has_another_form(mnist: Dataset) -> None:
    shifted = np.roll(mnist.validation.images[0], 4, axis=0)
    assert passes_unchanged(shifted, NormaliseOptions("never"))
    assert not passes_unchanged(shifted, NormaliseOptions("auto"))
    assert passes_unchanged(mnist.validation.images[0], DEFAULT_OPTIONS)
    assert not passes_unchanged(mnist.validation.images[0], NormaliseOptions("always"))
    with pytest.raises(NoDigitFound, match="dark on light"):
        passes_unchanged(255 - shifted, NormaliseOptions("never"))


def test_a_blank_image_has_no_ink_to_be_in_form() -> None:
    assert not has_normal_form(bytes(784), None)
