"""Corruptions of test images: kind, strength, determinism."""

import numpy as np
import pytest
from scipy import ndimage

from training.evaluation.corruptions import DIRECTIONS, corruptions
from training.types import Images


@pytest.fixture
def spots() -> Images:
    """Sixteen images of a round spot to the right of and below the centre."""
    rows, columns = np.mgrid[:28, :28]
    spot = 250 * np.exp(-((rows - 15.5) ** 2 + (columns - 17.5) ** 2) / 6)
    return np.repeat(spot.astype(np.uint8)[None], 16, axis=0)


def centres_of_mass(images: Images) -> np.typing.NDArray[np.float64]:
    return np.array([ndimage.center_of_mass(image) for image in images])


@pytest.mark.parametrize("pixels", [1, 2, 3, 4])
def test_shifts_move_in_eight_directions(pixels: int, spots: Images) -> None:
    shifted = corruptions()[f"shifted by {pixels} px"](spots)
    moves = centres_of_mass(shifted) - centres_of_mass(spots)
    np.testing.assert_allclose(moves, pixels * np.array(DIRECTIONS * 2), atol=1e-6)
    assert len(set(DIRECTIONS)) == 8
    assert {max(abs(down), abs(right)) for down, right in DIRECTIONS} == {1}


@pytest.mark.parametrize("degrees", [10, 20, 30])
def test_rotations_alternate_about_the_centre(degrees: int, spots: Images) -> None:
    rotated = corruptions()[f"rotated by {degrees} degrees"](spots)
    before, after = (centres_of_mass(images) - 13.5 for images in (spots, rotated))
    angles = np.degrees(np.arctan2(after[:, 0], after[:, 1]) - np.arctan2(before[:, 0], before[:, 1]))
    np.testing.assert_allclose(np.abs(angles), degrees, atol=0.5)
    assert set(np.sign(angles[::2])) | set(np.sign(angles[1::2])) == {-1, 1}
    assert len(set(np.sign(angles[::2]))) == 1
    np.testing.assert_allclose(np.hypot(*after.T), np.hypot(*before.T), atol=0.1)


def test_thickening_and_thinning_change_strokes_by_one_pixel() -> None:
    bar = np.zeros((3, 28, 28), np.uint8)
    bar[:, 5:20, 10:14] = 180
    by_name = corruptions()
    assert (by_name["thickened"](bar) == 180).sum(axis=(1, 2)).tolist() == [16 * 5] * 3
    assert (by_name["thinned"](bar) == 180).sum(axis=(1, 2)).tolist() == [14 * 3] * 3


def test_blur_noise_and_contrast_have_the_stated_strength() -> None:
    dot, grey, ramp = np.zeros((3, 50, 28, 28), np.uint8)
    dot[:, 14], grey[:], ramp[:] = 255, 128, np.arange(28) * 9
    by_name = corruptions()
    for sigma in (1.0, 1.5):
        blurred = by_name[f"blurred, sigma {sigma} px"](dot)[0].astype(float)
        across = blurred[:, 10:18].sum(axis=1)
        assert np.sqrt((across @ (np.arange(28) - 14) ** 2) / across.sum()) == pytest.approx(sigma, rel=0.03)
    for level in (25, 50):
        assert by_name[f"noise of {level} grey levels"](grey).std() == pytest.approx(level, rel=0.03)
    for percent in (70, 50, 30):
        reduced = by_name[f"contrast {percent} %"](ramp).astype(float)
        np.testing.assert_allclose(reduced, ramp * (percent / 100), atol=1)


def test_corruptions_are_deterministic_and_keep_shape_and_dtype(spots: Images) -> None:
    before = spots.copy()
    for name, corrupt in corruptions().items():
        once, again = corrupt(spots), corrupt(spots)
        assert once.shape == spots.shape, name
        assert once.dtype == np.uint8, name
        assert not np.array_equal(once, spots), name
        np.testing.assert_array_equal(once, again)
    np.testing.assert_array_equal(spots, before)
