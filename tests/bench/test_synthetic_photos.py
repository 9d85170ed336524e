"""bench/synthetic_photos.py: pictures are reproducible, readable, and have what the scene's name says."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from bench import synthetic_photos
from tests.service.payloads import stroke


@pytest.mark.parametrize("name", synthetic_photos.scenes())
def test_scene_is_a_picture_that_its_seed_determines(name: str) -> None:
    scene = synthetic_photos.scenes()[name]
    first, second = (scene(stroke(), np.random.default_rng(3)) for _ in range(2))
    assert first == second
    with Image.open(BytesIO(first)) as picture:
        assert np.ptp(np.asarray(picture)) > 30


def test_lamp_leaves_the_far_side_the_given_share_of_light() -> None:
    lit = np.asarray(synthetic_photos.add_lamp(Image.new("L", (60, 40), 200), np.random.default_rng(0), 0.25))
    assert (lit.min(), lit.max()) == (50, 200)


def test_shadow_darkens_one_side_to_55_percent() -> None:
    shaded = np.asarray(synthetic_photos.add_shadow(Image.new("L", (300, 300), 200), np.random.default_rng(0)))
    assert (shaded.min(), shaded.max()) == (110, 199)


def test_noise_has_the_given_standard_deviation() -> None:
    noisy = np.asarray(synthetic_photos.add_noise(Image.new("L", (200, 200), 128), np.random.default_rng(0), 20))
    assert noisy.std() == pytest.approx(20, abs=0.5)


def test_thin_reduces_a_bar_to_a_line_of_one_pixel() -> None:
    bar = np.zeros((40, 20), bool)
    bar[5:35, 6:13] = True
    skeleton = synthetic_photos.thin(bar)
    assert set(skeleton.sum(axis=1)) == {0, 1}
    assert skeleton.sum() > 20
    assert not (skeleton & ~bar).any()


@pytest.mark.parametrize("pen", [0, 3])
def test_redraw_uses_a_pen_of_the_given_width(pen: int) -> None:
    image = np.zeros((28, 28), np.uint8)
    image[4:24, 12:16] = 255
    drawn = np.asarray(synthetic_photos.redraw(image, pen))
    assert (drawn[len(drawn) // 2] == 0).sum() == 1 + 2 * pen


def test_crop_leaves_no_margin() -> None:
    cropped = np.asarray(synthetic_photos.crop_to_ink(synthetic_photos.dark_on_page(stroke(), 6, 10)))
    assert all(side.min() < 128 for side in (cropped[0], cropped[-1], cropped[:, 0], cropped[:, -1]))
