"""Augmentation: the sampler against SciPy, affine and elastic distortions, reproducible draws."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from scipy import ndimage

from training.data import augment
from training.data.augment import Draws
from training.recipe import Recipe

Floats = npt.NDArray[np.floating[Any]]

IDENTITY = ("rotation=0", "scaling=0", "shear=0", "shift=0", "elastic_std=0")
CENTRE = 13.5
ANGLE, HEIGHT, WIDTH, SHEAR, DOWN, RIGHT = range(6)


def distort(image: Floats, recipe: Recipe, **values: float) -> Floats:
    """An image [28, 28] distorted by these affine draws, without elastic distortion."""
    affine = np.zeros((1, 6), np.float32)
    for name, value in values.items():
        affine[0, ("angle", "height", "width", "shear", "down", "right").index(name)] = value
    no_elastic = tf.zeros([1, 2, len(augment.smooth_basis(recipe.elastic_sigma)) if recipe.elastic_std else 0])
    images = tf.constant(image[None], tf.float32)
    distorted: Floats = np.asarray(augment.distort(images, Draws(tf.constant(affine), no_elastic), recipe))[0]
    return distorted


def blob(row: float, column: float) -> Floats:
    """An image with a smooth spot at (row, column), relative to the centre."""
    y, x = np.mgrid[:28, :28] - CENTRE
    return np.asarray(np.exp(-((y - row) ** 2 + (x - column) ** 2) / 4))


def centre_of_mass(image: Floats) -> Floats:
    """The position of a spot, relative to the centre."""
    return np.array(ndimage.center_of_mass(image)) - CENTRE


def test_sampling_equals_bilinear_interpolation_of_scipy_with_zero_outside() -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (40, 28, 28), np.uint8)
    rows, columns = random.uniform(-8, 36, (2, 40, 28, 28)).astype(np.float32)
    rows[0], columns[1] = np.rint(rows[0]), np.rint(columns[1])
    expected = [
        ndimage.map_coordinates(image.astype(float), [y, x], order=1, mode="grid-constant", cval=0)
        for image, y, x in zip(images, rows, columns, strict=True)
    ]
    actual = augment.sample(tf.constant(images), tf.constant(rows), tf.constant(columns))
    np.testing.assert_allclose(actual, expected, atol=0.01)


def test_zero_ranges_or_zero_draws_change_nothing() -> None:
    image = np.random.default_rng(1).integers(0, 256, (28, 28)).astype(np.float32)
    identity, best = Recipe.load("best", IDENTITY), Recipe.load("best")
    assert augment.is_enabled(best)
    assert not augment.is_enabled(identity)
    everything = {"angle": 1.0, "height": 1.0, "width": -1.0, "shear": 1.0, "down": 1.0, "right": -1.0}
    np.testing.assert_allclose(distort(image, identity, **everything), image, atol=1e-2)
    np.testing.assert_allclose(distort(image, best), image, atol=1e-2)


def test_rotation_is_about_the_centre_by_the_drawn_angle() -> None:
    recipe = Recipe.load("best", [*IDENTITY, "rotation=60"])
    before = complex(*centre_of_mass(blob(-7, 3)))
    angles = []
    for drawn in (0.5, -0.5):
        after = complex(*centre_of_mass(distort(blob(-7, 3), recipe, angle=drawn)))
        assert abs(after) == pytest.approx(abs(before), abs=0.05)
        angles.append(np.angle(after / before, deg=True))
    assert sorted(angles) == pytest.approx([-30, 30], abs=0.3)
    quarter = Recipe.load("best", [*IDENTITY, "rotation=90"])
    image = np.random.default_rng(2).random((28, 28))
    rotated = [distort(image, quarter, angle=drawn) for drawn in np.sign(angles)]
    agreed = [np.allclose(rotated[i], np.rot90(image, k), atol=1e-4) for i in (0, 1) for k in (1, -1)]
    assert agreed in ([True, False, False, True], [False, True, True, False])


@pytest.mark.parametrize(
    ("setting", "name", "start", "distances"),
    [
        ("shift=3", "down", (2, -4), [(2 - 3, -4), (2 + 3, -4)]),
        ("shift=3", "right", (2, -4), [(2, -4 - 3), (2, -4 + 3)]),
        ("scaling=0.25", "height", (5, -4), [(5 / 1.25, -4), (5 / 0.75, -4)]),
        ("scaling=0.25", "width", (5, -4), [(5, -4 / 1.25), (5, -4 / 0.75)]),
        ("shear=0.5", "shear", (6, 0), [(6, -3), (6, 3)]),
    ],
)
def test_each_affine_draw_moves_a_spot_by_its_maximum(
    setting: str, name: str, start: tuple[float, float], distances: list[tuple[float, float]]
) -> None:
    recipe = Recipe.load("best", [*IDENTITY, setting])
    ends = [centre_of_mass(distort(blob(*start), recipe, **{name: drawn})) for drawn in (1.0, -1.0)]
    np.testing.assert_allclose(ends, distances, atol=0.12)


def test_each_image_of_a_batch_is_distorted_by_its_own_draws() -> None:
    recipe = Recipe.load("best", [*IDENTITY, "shift=5"])
    affine = np.zeros((2, 6), np.float32)
    affine[0, RIGHT], affine[1, DOWN] = -1, -1
    images = tf.constant(np.stack([blob(0, 0), blob(1, 1)]), tf.float32)
    first, second = np.asarray(augment.distort(images, Draws(tf.constant(affine), tf.zeros([2, 2, 0])), recipe))
    np.testing.assert_allclose([centre_of_mass(first), centre_of_mass(second)], [(0, 5), (6, 1)], atol=0.05)


@pytest.mark.parametrize("sigma", [2.0, 4.0, 8.0])
def test_displacement_has_the_covariance_of_noise_smoothed_by_a_gaussian(sigma: float) -> None:
    rank = len(augment.smooth_basis(sigma))
    each = tf.stack([tf.eye(rank), tf.zeros([rank, rank])], axis=1)
    rows, columns = np.moveaxis(np.asarray(augment.displacement(each, sigma)), 1, 0).reshape(2, rank, 784)
    assert not columns.any()
    y, x = np.divmod(np.arange(784), 28)
    squares = (y[:, None] - y) ** 2 + (x[:, None] - x) ** 2
    covariance = rows.T @ rows
    assert np.trace(covariance) / 784 == pytest.approx(1, abs=2e-3)
    np.testing.assert_allclose(covariance, np.exp(-squares / (4 * sigma**2)), atol=0.06)
    assert np.abs(covariance - np.exp(-squares / (4 * sigma**2))).mean() < 2e-3


def test_elastic_displacement_has_the_standard_deviation_of_the_recipe() -> None:
    recipe = Recipe.load("best", [*IDENTITY, "elastic_std=1.5", "elastic_sigma=8"])
    draws = augment.draw(recipe, (2000,), (0, 0))
    images = tf.constant(np.repeat(blob(0, 0)[None], 2000, axis=0), tf.float32)
    moves = np.array([centre_of_mass(image) for image in np.asarray(augment.distort(images, draws, recipe))])
    assert moves.mean(axis=0) == pytest.approx([0, 0], abs=0.1)
    assert moves.std(axis=0) == pytest.approx([1.5, 1.5], rel=0.1)
    assert abs(np.corrcoef(moves.T)[0, 1]) < 0.09


def test_the_same_key_gives_the_same_draws() -> None:
    recipe = Recipe.load("best")
    first, again, later, other = (augment.draw(recipe, (3, 50), key) for key in ((1, 2), (1, 2), (1, 3), (2, 2)))
    for index in (0, 1):
        np.testing.assert_array_equal(first[index], again[index])
        for different in (later[index], other[index]):
            assert abs(np.corrcoef(np.ravel(first[index]), np.ravel(different))[0, 1]) < 0.15
    affine, elastic = np.asarray(first.affine), np.asarray(first.elastic)
    assert affine.shape == (3, 50, 6)
    assert np.abs(affine).max() <= 1
    assert affine.std() == pytest.approx(1 / np.sqrt(3), rel=0.05)
    assert elastic.shape[:3] == (3, 50, 2)
    assert elastic.std() == pytest.approx(1, rel=0.05)
