"""Tests ink extraction on drawn pictures whose ink is known, and its steps against scipy.ndimage and definitions."""

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from scipy import ndimage

from service.errors import NoDigitFound
from service.imaging import ink
from service.imaging.ink import box_blur, downscale, extract_ink
from service.types import FloatImage, Mask
from tests.service.payloads import Pixels

SIDE = 160
Colour = int | tuple[int, int, int]


def draw_strokes() -> Mask:
    """The mask of the ink: a ring and a bar."""
    radius = np.hypot(*np.ogrid[-SIDE // 2 : SIDE // 2, -SIDE // 2 : SIDE // 2])
    drawn = (radius > 35) & (radius < 50)
    drawn[60:70, 60:100] = True
    return drawn


STROKES = draw_strokes()
CLEAR = ~np.asarray(Image.fromarray(STROKES).resize((SIDE, SIDE))) & ~np.roll(STROKES, 2, 0) & ~np.roll(STROKES, -2, 0)


def draw(
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
def test_extracts_ink_of_any_colour_from_paper_of_any_colour(paper: Colour, pen: Colour) -> None:
    found = extract_ink(draw(paper, pen))
    np.testing.assert_array_equal(found.high_mask, STROKES)
    np.testing.assert_array_equal(found.low_mask, STROKES)
    assert np.abs(found.intensity[~STROKES]).max() < 1e-4
    assert np.ptp(found.intensity[STROKES]) < 1e-4


def test_intensity_is_the_fraction_of_the_way_from_paper_to_black_or_white() -> None:
    assert extract_ink(draw(200, 50)).intensity[STROKES] == pytest.approx(0.75, abs=1e-5)
    assert extract_ink(draw(55, 205)).intensity[STROKES] == pytest.approx(0.75, abs=1e-5)


def test_antialiased_edges_keep_their_grey_levels() -> None:
    soft = Image.fromarray(np.where(STROKES, 0, 255).astype(np.uint8)).reduce(4)
    np.testing.assert_allclose(extract_ink(soft).intensity, 1 - np.asarray(soft, np.float32) / 255, atol=1e-6)


@pytest.mark.parametrize("darkest", [0.7, 0.4, 0.25])
@pytest.mark.parametrize("side", range(4))
def test_a_lamp_on_one_side_is_divided_out(darkest: float, side: int) -> None:
    light = np.rot90(np.broadcast_to(np.linspace(darkest, 1, SIDE), (SIDE, SIDE)), side)
    found = extract_ink(draw(240, 40, light=light, noise=2))
    assert agreement(found.low_mask) > 0.85
    assert agreement(found.high_mask) > 0.95
    assert found.intensity[STROKES].mean() == pytest.approx(1 - 40 / 240, abs=0.1)


def test_a_hard_shadow_is_not_ink() -> None:
    light = np.where(np.arange(SIDE)[None, :] + np.arange(SIDE)[:, None] < SIDE, 0.6, 1.0)
    found = extract_ink(draw(240, 30, light=light))
    assert agreement(found.high_mask) > 0.8


def test_vignetting_is_not_ink() -> None:
    away = np.hypot(*np.meshgrid(np.linspace(-1, 1, SIDE), np.linspace(-1, 1, SIDE)))
    found = extract_ink(draw(230, 50, light=1 - 0.35 * away**2, noise=2))
    assert agreement(found.high_mask) > 0.9


@pytest.mark.parametrize("noise", [5, 20, 40])
def test_noise_is_not_ink(noise: float) -> None:
    found = extract_ink(draw(220, 40, noise=noise))
    assert agreement(found.high_mask) > 0.75
    assert np.mean(found.low_mask[CLEAR & (np.hypot(*np.ogrid[-80:80, -80:80]) > 58)]) < 0.01


@pytest.mark.parametrize("pixels", [np.full((40, 30), level, np.uint8) for level in (0, 90, 255)])
def test_a_uniform_picture_has_no_ink(pixels: Pixels) -> None:
    with pytest.raises(NoDigitFound, match="no digit to read"):
        extract_ink(Image.fromarray(pixels))


@pytest.mark.parametrize("side", [28, 100, 400])
def test_noise_alone_has_no_ink(side: int) -> None:
    noise = np.random.default_rng(1).normal(230, 4, (side, side)).round().astype(np.uint8)
    with pytest.raises(NoDigitFound):
        extract_ink(Image.fromarray(noise))


def test_a_lamp_on_a_blank_page_is_not_ink() -> None:
    light = np.linspace(90, 250, 300).astype(np.uint8)
    with pytest.raises(NoDigitFound):
        extract_ink(Image.fromarray(np.broadcast_to(light, (200, 300)).copy()))


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (3, 3), (1, 500), (500, 1), (2, 2000)])
def test_pictures_of_any_shape_have_ink_or_none(shape: tuple[int, int]) -> None:
    pixels = np.full(shape, 250, np.uint8)
    pixels.flat[0] = 0
    try:
        assert extract_ink(Image.fromarray(pixels)).intensity.shape == shape
    except NoDigitFound:
        assert min(shape) <= 3


def test_light_on_nearly_white_paper_is_faint_ink() -> None:
    """The scale has 24 levels at least: five levels from 250 to 255 are not all of the way from paper to ink."""
    assert extract_ink(draw(250, 255)).intensity[STROKES] == pytest.approx(5 / 24, abs=1e-5)
    assert extract_ink(draw(230, 255)).intensity[STROKES] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("pen", "percent"), [(185, 7), (190, 5), (200, 0)])
def test_a_stroke_below_8_percent_is_not_ink(pen: int, percent: int) -> None:
    with pytest.raises(NoDigitFound) as caught:
        extract_ink(draw(200, pen))
    assert str(caught.value) == f"no digit to read: the darkest stroke is {percent}% of the way from paper to ink"
    assert extract_ink(draw(200, 183)).high_mask.sum() == STROKES.sum()


@pytest.mark.parametrize("noise", [4, 12])
def test_smoothing_extracts_a_pale_stroke_from_noise(noise: float) -> None:
    pixels = np.full((600, 600), 200.0)
    pixels[290:310, 290:310] = 170
    pixels += np.random.default_rng(0).normal(0, noise, pixels.shape)
    found = extract_ink(Image.fromarray(np.clip(pixels, 0, 255).round().astype(np.uint8)))
    assert found.high_mask[293:307, 293:307].mean() > 0.95
    assert found.low_mask[293:307, 293:307].all()
    assert found.high_mask.sum() < 600
    assert found.low_mask.mean() < 0.01


def test_the_thresholds_are_fractions_of_the_darkest_stroke() -> None:
    """Bands of constant intensity: above 8 % is low, above 60 % of the darkest, or less by Otsu's method, is high."""
    pixels = np.full((100, 140), 255, np.uint8)
    intensities = (0.06, 0.07, 0.09, 0.14, 0.16, 0.3, 1.0)
    for number, intensity in enumerate(intensities):
        pixels[20:80, 10 + 17 * number : 20 + 17 * number] = round(255 * (1 - intensity))
    found = extract_ink(Image.fromarray(pixels))
    bands = [np.s_[20:80, 11 + 17 * number : 19 + 17 * number] for number in range(7)]
    assert [bool(found.low_mask[band].all()) for band in bands] == [False, False, True, True, True, True, True]
    assert [bool(found.high_mask[band].all()) for band in bands] == [False] * 6 + [True]


def test_the_high_threshold_is_60_percent_of_the_darkest_twentieth() -> None:
    """With two dark classes Otsu's threshold is between them; 60 % of the 95th percentile is lower."""
    pixels = np.full((100, 100), 255, np.uint8)
    pixels[20:80, 10:20] = round(255 * 0.45)  # an intensity of 0.55
    pixels[20:80, 30:40] = round(255 * 0.35)  # an intensity of 0.65
    pixels[20:80, 50:80] = 0
    found = extract_ink(Image.fromarray(pixels))
    assert not found.high_mask[:, 10:20].any()
    assert found.high_mask[20:80, 30:40].all()
    assert found.high_mask[20:80, 50:80].all()


@pytest.mark.parametrize("radius", [0, 1, 3])
def test_the_box_blur_is_a_mean_in_steps_of_one_200th(radius: int) -> None:
    intensity = np.random.default_rng(0).uniform(-0.3, 1.5, (30, 40)).astype(np.float32)
    expected = ndimage.uniform_filter(np.clip(intensity, 0, 1.2), 2 * radius + 1, mode="nearest")
    found = box_blur(intensity, radius)
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 0.011
    np.testing.assert_allclose(found * 200, np.round(found * 200), atol=1e-4)
    assert box_blur(np.full((5, 5), 0.5, np.float32), radius) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("size", "side", "expected", "factor"),
    [
        ((100, 100), 100, (100, 100), 1),
        ((101, 100), 100, (51, 50), 2),
        ((400, 100), 100, (200, 50), 2),
        ((30, 30), 10, (10, 10), 3),
    ],
)
def test_downscales_by_the_smallest_integer(
    size: tuple[int, int], side: int, expected: tuple[int, int], factor: int
) -> None:
    small, found = downscale(Image.new("L", size), side)
    assert (small.size, found) == (expected, factor)


@pytest.mark.parametrize(("shape", "width"), [((10, 12), 1), ((79, 200), 1), ((80, 200), 2), ((200, 120), 3)])
def test_the_border_is_a_fortieth_of_the_shorter_side(shape: tuple[int, int], width: int) -> None:
    pixels = np.arange(shape[0] * shape[1] * 2).reshape(*shape, 2)
    inner = np.zeros(shape, bool)
    inner[width:-width, width:-width] = True
    found = ink._border_pixels(pixels)
    assert found.shape == (np.sum(~inner), 2)
    assert set(found[:, 0]) == set(pixels[~inner][:, 0])


def test_equal_channels_become_one() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (5, 6), np.uint8)
    for picture in (Image.fromarray(grey), Image.fromarray(grey).convert("RGB")):
        np.testing.assert_array_equal(ink._channels(picture), grey[..., None].astype(np.float32))
    coloured = np.dstack([grey, grey, grey])
    coloured[2, 3, 2] ^= 1
    np.testing.assert_array_equal(ink._channels(Image.fromarray(coloured)), coloured.astype(np.float32))


def plane(height: int = 40, width: int = 60) -> FloatImage:
    """A plane over rows and columns, with another slope in each of two channels."""
    rows, columns = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    return np.dstack([100 + 30 * rows - 20 * columns, 50 - 10 * rows]).astype(np.float32)


def test_the_background_is_a_plane_even_if_a_sixth_of_the_border_is_ink() -> None:
    pixels = plane()
    pixels[10:30, 20:40] = 0
    pixels[0, 10:40] = 250
    np.testing.assert_allclose(ink._fit_background(pixels), plane(), atol=0.2)


def test_the_background_is_a_quadric_under_vignetting() -> None:
    rows, columns = np.meshgrid(np.linspace(-1, 1, 50), np.linspace(-1, 1, 40), indexing="ij")
    vignetted = (200 - 40 * rows**2 - 60 * columns**2 + 15 * rows * columns + 8 * rows)[..., None].astype(np.float32)
    with_ink = vignetted.copy()
    with_ink[15:35, 10:30] = 0
    np.testing.assert_allclose(ink._fit_background(with_ink), vignetted, atol=0.2)


def test_a_plane_is_enough_if_a_quadric_fits_little_better() -> None:
    random = np.random.default_rng(0)
    noisy = (100 + random.normal(0, 12, (60, 60, 1))).astype(np.float32)
    terms = np.dstack([np.ones((60, 60)), *np.meshgrid(np.linspace(-1, 1, 60), np.linspace(-1, 1, 60), indexing="ij")])
    expected, residual = ink._robust_fit(terms, noisy)
    assert residual > ink.MAX_PLANE_RESIDUAL
    np.testing.assert_array_equal(ink._fit_background(noisy), expected)


def test_the_robust_fit_is_exact_on_the_pixels_that_fit_and_states_their_residual() -> None:
    border = np.full((20, 20, 1), 7, np.float32)
    border[0, :10] += 100
    fitted, residual = ink._robust_fit(np.ones((20, 20, 1)), border)
    assert fitted == pytest.approx(7, abs=1e-4)
    assert residual == pytest.approx(0, abs=1e-4)
    border[19] += np.linspace(-3, 3, 20, dtype=np.float32)[:, None]
    assert 0 < ink._robust_fit(np.ones((20, 20, 1)), border)[1] <= 3.1


@pytest.mark.parametrize("paper", [(200, 200, 200), (240, 220, 130)])
@pytest.mark.parametrize("pen", [(40, 60, 160), (255, 255, 255), (220, 40, 40)])
def test_the_colour_axis_points_from_paper_to_ink(paper: tuple[int, int, int], pen: tuple[int, int, int]) -> None:
    pixels = np.where(STROKES[..., None], np.array(pen), np.array(paper)).astype(np.float32)
    direction = np.subtract(pen, paper) / np.linalg.norm(np.subtract(pen, paper))
    axis = ink._ink_colour_axis(pixels)
    assert axis.dtype == np.float32
    np.testing.assert_allclose(axis, direction, atol=1e-3)
    assert ink._ink_colour_axis(pixels[..., :1]) == np.sign(pen[0] - paper[0])


@pytest.mark.parametrize("shape", [(96, 96), (60, 90), (20, 31)])
def test_the_illumination_is_a_grey_closing_of_a_third_of_the_side(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    lightness = (np.linspace(0.5, 1.5, shape[1])[None, :] + np.linspace(0, 0.3, shape[0])[:, None]).astype(np.float32)
    lightness[random.uniform(size=shape) < 0.1] -= 0.5
    side = (min(shape) // 3) | 1
    closed = ndimage.grey_closing(np.pad(lightness, 2 * side, mode="edge"), size=(side, side))
    blurred = ndimage.uniform_filter(closed, 2 * (side // 8) + 1)[2 * side : -2 * side, 2 * side : -2 * side]
    found = ink._estimate_illumination(lightness)
    assert found.shape == shape
    inner = np.s_[side:-side, side:-side]
    assert np.abs(found - blurred)[inner].max() < 0.025
    assert np.abs(found - blurred).max() < 0.1


def test_the_illumination_is_bounded() -> None:
    assert ink._estimate_illumination(np.full((30, 30), -1, np.float32)) == pytest.approx(0.05)
    assert ink._estimate_illumination(np.full((30, 30), 9, np.float32)) == pytest.approx(2.5)


def test_the_noise_is_the_standard_deviation_whatever_the_strokes() -> None:
    for sigma in (0.01, 0.1):
        noise = np.random.default_rng(0).normal(0, sigma, (SIDE, SIDE)).astype(np.float32)
        assert ink._noise_sigma(noise) == pytest.approx(sigma, rel=0.03)
        assert ink._noise_sigma(noise + STROKES) == pytest.approx(sigma, rel=0.06)
    assert ink._noise_sigma(np.zeros((5, 1), np.float32)) == 0


@pytest.mark.parametrize("seed", range(8))
def test_otsus_threshold_minimises_the_variance_within_both_classes(seed: int) -> None:
    random = np.random.default_rng(seed)
    values = np.concatenate([random.normal(0.3, 0.08, 900), random.normal(0.8, 0.1, 300 + 100 * seed)])
    values = np.clip(values, 0.01, 1.2).astype(np.float32)
    edges = np.linspace(0, values.max(), 65)
    levels = (np.minimum(values / values.max() * 64, 63).astype(int) + 0.5) / 64 * values.max()

    def within(edge: float) -> float:
        classes = (levels[levels < edge], levels[levels >= edge])
        return float(sum(part.var() * len(part) for part in classes if len(part)))

    found = ink._otsu_threshold(values)
    assert np.abs(edges - found).min() < 1e-6
    assert within(found) <= min(within(edge) for edge in edges[1:-1]) * (1 + 1e-4)


def test_otsus_threshold_is_between_two_classes_and_below_a_single_one() -> None:
    classes = np.concatenate([np.full(900, 0.2), np.full(50, 0.9)]).astype(np.float32)
    assert 0.2 < ink._otsu_threshold(classes) < 0.9
    almost_equal = np.array([0.5, np.nextafter(np.float32(0.5), np.float32(1))], np.float32)
    for single in (almost_equal, almost_equal[:1], np.full(7, 0.5, np.float32)):
        assert 0 < ink._otsu_threshold(single) <= 0.5
