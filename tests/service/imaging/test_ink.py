import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from service.errors import NoDigitFound
from service.imaging import ink
from service.types import Mask
from tests.service.payloads import Pixels

SIDE = 160
Colour = int | tuple[int, int, int]


def strokes() -> Mask:
    """Where the ink is: a ring and a bar."""
    ring = np.hypot(*np.ogrid[-SIDE // 2 : SIDE // 2, -SIDE // 2 : SIDE // 2])
    drawn = (ring > 35) & (ring < 50)
    drawn[60:70, 60:100] = True
    return drawn


STROKES = strokes()
CLEAR = ~np.asarray(Image.fromarray(STROKES).resize((SIDE, SIDE))) & ~np.roll(STROKES, 2, 0) & ~np.roll(STROKES, -2, 0)


def picture(
    paper: Colour, pen: Colour, *, light: npt.NDArray[np.float64] | float = 1.0, noise: float = 0.0
) -> Image.Image:
    colours = np.where(STROKES[..., None], np.array([pen]).reshape(-1), np.array([paper]).reshape(-1)).astype(
        np.float32
    )
    lit = colours * np.asarray(light)[..., None] + np.random.default_rng(0).normal(0, noise, colours.shape)
    return Image.fromarray(np.clip(lit, 0, 255).round().astype(np.uint8).squeeze())


def agreement(mask: Pixels) -> float:
    """Intersection over union with the true strokes."""
    return float((mask & STROKES).sum() / (mask | STROKES).sum())


@pytest.mark.parametrize(
    ("paper", "pen"),
    [
        (255, 0),
        (0, 255),
        (230, 180),
        (30, 70),
        ((255, 240, 150), (40, 60, 160)),
        ((80, 190, 80), (220, 110, 90)),
        ((20, 60, 30), (240, 240, 220)),
    ],
)
def test_ink_is_what_is_not_paper_whatever_their_colours(paper: Colour, pen: Colour) -> None:
    found = ink.extract_ink(picture(paper, pen))
    np.testing.assert_array_equal(found.high_mask, STROKES)
    np.testing.assert_array_equal(found.low_mask, STROKES)
    assert np.abs(found.intensity[~STROKES]).max() < 1e-4
    assert np.ptp(found.intensity[STROKES]) < 1e-4


def test_depth_is_the_way_from_paper_to_black_or_to_white() -> None:
    assert ink.extract_ink(picture(200, 50)).intensity[STROKES] == pytest.approx(0.75, abs=1e-5)
    assert ink.extract_ink(picture(55, 205)).intensity[STROKES] == pytest.approx(0.75, abs=1e-5)


def test_grey_levels_of_the_edges_are_kept() -> None:
    soft = Image.fromarray(np.where(STROKES, 0, 255).astype(np.uint8)).reduce(4)
    np.testing.assert_allclose(ink.extract_ink(soft).intensity, 1 - np.asarray(soft, np.float32) / 255, atol=1e-6)


@pytest.mark.parametrize("darkest", [0.7, 0.4, 0.25])
@pytest.mark.parametrize("turn", range(4))
def test_a_lamp_on_one_side_changes_little(darkest: float, turn: int) -> None:
    light = np.rot90(np.broadcast_to(np.linspace(darkest, 1, SIDE), (SIDE, SIDE)), turn)
    found = ink.extract_ink(picture(240, 40, light=light, noise=2))
    assert agreement(found.low_mask) > 0.85
    assert agreement(found.high_mask) > 0.95
    assert found.intensity[STROKES].mean() == pytest.approx(1 - 40 / 240, abs=0.1)


def test_a_hard_shadow_is_no_ink() -> None:
    light = np.where(np.arange(SIDE)[None, :] + np.arange(SIDE)[:, None] < SIDE, 0.6, 1.0)
    found = ink.extract_ink(picture(240, 30, light=light))
    assert agreement(found.high_mask) > 0.8


def test_dark_corners_are_no_ink() -> None:
    away = np.hypot(*np.meshgrid(np.linspace(-1, 1, SIDE), np.linspace(-1, 1, SIDE)))
    found = ink.extract_ink(picture(230, 50, light=1 - 0.35 * away**2, noise=2))
    assert agreement(found.high_mask) > 0.9


@pytest.mark.parametrize("noise", [5, 20, 40])
def test_noise_is_no_ink(noise: float) -> None:
    found = ink.extract_ink(picture(220, 40, noise=noise))
    assert agreement(found.high_mask) > 0.75
    assert np.mean(found.low_mask[CLEAR & (np.hypot(*np.ogrid[-80:80, -80:80]) > 58)]) < 0.01


@pytest.mark.parametrize("pixels", [np.full((40, 30), level, np.uint8) for level in (0, 90, 255)])
def test_an_even_picture_has_no_ink(pixels: Pixels) -> None:
    with pytest.raises(NoDigitFound, match="no digit to read"):
        ink.extract_ink(Image.fromarray(pixels))


@pytest.mark.parametrize("side", [28, 100, 400])
def test_noise_alone_has_no_ink(side: int) -> None:
    noise = np.random.default_rng(1).normal(230, 4, (side, side)).round().astype(np.uint8)
    with pytest.raises(NoDigitFound):
        ink.extract_ink(Image.fromarray(noise))


def test_a_lamp_on_an_empty_page_is_no_ink() -> None:
    light = np.linspace(90, 250, 300).astype(np.uint8)
    with pytest.raises(NoDigitFound):
        ink.extract_ink(Image.fromarray(np.broadcast_to(light, (200, 300)).copy()))


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (3, 3), (1, 500), (500, 1), (2, 2000)])
def test_pictures_of_any_shape_are_looked_at(shape: tuple[int, int]) -> None:
    pixels = np.full(shape, 250, np.uint8)
    pixels.flat[0] = 0
    try:
        assert ink.extract_ink(Image.fromarray(pixels)).intensity.shape == shape
    except NoDigitFound:
        assert min(shape) <= 3


def test_the_level_between_two_heaps_is_between_them() -> None:
    heaps = np.concatenate([np.full(900, 0.2), np.full(50, 0.9)]).astype(np.float32)
    assert 0.2 < ink._otsu_threshold(heaps) < 0.9
    almost_equal = np.array([0.5, np.nextafter(np.float32(0.5), np.float32(1))], np.float32)
    for heap in (almost_equal, almost_equal[:1], np.full(7, 0.5, np.float32)):
        assert 0 < ink._otsu_threshold(heap) <= 0.5
