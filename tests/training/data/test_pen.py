"""The pen: images in MNIST's form, held against a brute-force rasteriser."""

import numpy as np
import pytest
from scipy import ndimage

from training.data import pen
from training.data.pen import Uniform
from training.data.strokes import Strokes


def hook(uniform: Uniform) -> Strokes:
    return [[[(20, uniform(0, 20)), (60, 5), (uniform(40, 80), 100)]], [[(20, 50), (90, 50)]], [[(90, 90)]]]


def test_rendering_agrees_with_a_rasteriser_of_many_samples_per_pixel() -> None:
    random = np.random.default_rng(4)
    starts, stops = random.uniform(3, 17, (2, 6, 3, 2)).astype(np.float32)
    stops[:, 2] = starts[:, 2]  # a dot
    radii = random.uniform(0.8, 2.2, (6, 3)).astype(np.float32)
    grid = (np.arange(200) + 0.5) / 10
    x, y = np.meshgrid(grid, grid)
    for image, lines in zip(pen.render(starts, stops, radii), zip(starts, stops, radii, strict=True), strict=True):
        inside = np.zeros((200, 200), bool)
        for (x0, y0), (x1, y1), radius in zip(*lines, strict=True):
            squared = max((x1 - x0) ** 2 + (y1 - y0) ** 2, 1e-9)
            t = np.clip(((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / squared, 0, 1)
            inside |= np.hypot(x - x0 - t * (x1 - x0), y - y0 - t * (y1 - y0)) <= radius
        covered = inside.reshape(20, 10, 20, 10).mean(axis=(1, 3))
        assert np.abs(image - covered).max() < 0.3
        assert np.abs(image - covered).mean() < 0.01


@pytest.mark.parametrize("scans", [0.0, 1.0])
def test_drawings_are_in_mnist_form(scans: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pen, "SCAN_SHARE", scans)
    images = pen.draw(hook, 300, np.random.default_rng(1))
    assert images.shape == (300, 28, 28)
    assert images.dtype == np.uint8
    assert (images.min(axis=(1, 2)) == 0).all()
    assert (images.max(axis=(1, 2)) >= 250).all()
    for image in images:
        rows, columns = np.nonzero(image)
        assert max(np.ptp(rows), np.ptp(columns)) + 1 in {19, 20}
        assert np.abs(np.array(ndimage.center_of_mass(image)) - 14).max() <= 1


def test_the_same_state_gives_the_same_images_and_another_seed_others() -> None:
    first, again, other = (pen.draw(hook, 40, np.random.default_rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert all((first != other).any(axis=(1, 2)))
    assert len({image.tobytes() for image in first}) == 40


def test_a_form_may_have_fixed_points_and_a_single_dot() -> None:
    (dot,) = pen.draw(lambda _: [[[(0, 0)]]], 1, np.random.default_rng(0))
    assert dot[14, 14] == 255
    lines = pen.draw(lambda _: [[[(50, 0), (50, 100)]]], 200, np.random.default_rng(0))
    rows = np.ptp(np.nonzero(lines.any(axis=(0, 2)))[0]) + 1
    assert 20 <= rows <= 22


def test_pens_are_as_wide_as_those_of_mnist() -> None:
    widths = pen.draw(lambda _: [[[(50, 0), (50, 100)]]], 500, np.random.default_rng(0))[:, 10:18].sum(axis=2) / 255
    assert 1 < np.quantile(widths, 0.02) < 2
    assert 3.5 < np.quantile(widths, 0.98) < 5
