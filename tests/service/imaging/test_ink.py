"""Tests ink extraction on drawn pictures whose ink is known, and its steps against scipy.ndimage and definitions."""

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from scipy import ndimage

from service.errors import NoDigitFound
from service.imaging import ink
from service.imaging.geometry import Box
from service.imaging.ink import PAPER_LEVEL, Ink, extract_ink, fit_ink_model, reduce_picture
from service.types import FloatImage, GreyImage, Mask, Pixels

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


def draw(paper: Colour, pen: Colour, *, light: npt.NDArray[np.float64] | float = 1.0, noise: float = 0.0) -> Pixels:
    colours = np.where(STROKES[..., None], np.array([pen]).reshape(-1), np.array([paper]).reshape(-1)).astype(
        np.float32
    )
    lit = colours * np.asarray(light)[..., None] + np.random.default_rng(0).normal(0, noise, colours.shape)
    return np.asarray(np.clip(lit, 0, 255).round(), np.uint8).squeeze()


def extract(pixels: Pixels) -> Ink:
    """The ink of a picture all of which is paper, as the reader extracts it."""
    return extract_ink(pixels, fit_ink_model(reduce_picture(pixels, 96)[0]))


def agreement(mask: Mask) -> float:
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
    found = extract(draw(paper, pen))
    np.testing.assert_array_equal(found.high_mask, STROKES)
    np.testing.assert_array_equal(found.low_mask, STROKES)
    assert found.intensity[~STROKES].max() <= 1
    assert np.ptp(found.intensity[STROKES]) == 0


def test_intensity_is_the_fraction_of_the_way_from_paper_to_black_or_white() -> None:
    assert extract(draw(200, 50)).intensity[STROKES] / 255 == pytest.approx(0.75, abs=0.01)
    assert extract(draw(55, 205)).intensity[STROKES] / 255 == pytest.approx(0.75, abs=0.01)


def test_antialiased_edges_keep_their_grey_levels() -> None:
    soft = np.asarray(Image.fromarray(np.where(STROKES, 0, 255).astype(np.uint8)).reduce(4))
    np.testing.assert_allclose(extract(soft).intensity, 255 - soft.astype(int), atol=2)


@pytest.mark.parametrize("darkest", [0.7, 0.4, 0.25])
@pytest.mark.parametrize("side", range(4))
def test_a_lamp_on_one_side_is_divided_out(darkest: float, side: int) -> None:
    light = np.rot90(np.broadcast_to(np.linspace(darkest, 1, SIDE), (SIDE, SIDE)), side)
    found = extract(draw(240, 40, light=light, noise=2))
    assert agreement(found.low_mask) > 0.85
    assert agreement(found.high_mask) > 0.95
    assert found.intensity[STROKES].mean() / 255 == pytest.approx(1 - 40 / 240, abs=0.1)


def test_a_hard_shadow_is_not_ink() -> None:
    light = np.where(np.arange(SIDE)[None, :] + np.arange(SIDE)[:, None] < SIDE, 0.6, 1.0)
    found = extract(draw(240, 30, light=light))
    assert agreement(found.high_mask) > 0.8


def test_vignetting_is_not_ink() -> None:
    away = np.hypot(*np.meshgrid(np.linspace(-1, 1, SIDE), np.linspace(-1, 1, SIDE)))
    found = extract(draw(230, 50, light=1 - 0.35 * away**2, noise=2))
    assert agreement(found.high_mask) > 0.9


@pytest.mark.parametrize("noise", [5, 20, 40])
def test_noise_is_not_ink(noise: float) -> None:
    found = extract(draw(220, 40, noise=noise))
    assert agreement(found.high_mask) > 0.75
    assert np.mean(found.low_mask[CLEAR & (np.hypot(*np.ogrid[-80:80, -80:80]) > 58)]) < 0.01


@pytest.mark.parametrize("pixels", [np.full((40, 30), level, np.uint8) for level in (0, 90, 255)])
def test_a_uniform_picture_has_no_ink(pixels: Pixels) -> None:
    with pytest.raises(NoDigitFound, match="no digit to read"):
        extract(pixels)


@pytest.mark.parametrize("side", [28, 100, 400])
def test_noise_alone_has_no_ink(side: int) -> None:
    noise = np.random.default_rng(1).normal(230, 4, (side, side)).round().astype(np.uint8)
    with pytest.raises(NoDigitFound):
        extract(noise)


def test_a_lamp_on_a_blank_page_is_not_ink() -> None:
    light = np.linspace(90, 250, 300).astype(np.uint8)
    with pytest.raises(NoDigitFound):
        extract(np.broadcast_to(light, (200, 300)).copy())


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (3, 3), (1, 500), (500, 1), (2, 2000)])
def test_pictures_of_any_shape_have_ink_or_none(shape: tuple[int, int]) -> None:
    pixels = np.full(shape, 250, np.uint8)
    pixels.flat[0] = 0
    try:
        assert extract(pixels).intensity.shape == shape
    except NoDigitFound:
        assert min(shape) <= 3


def test_light_on_nearly_white_paper_is_faint_ink() -> None:
    """The scale has 24 levels at least: five levels from 250 to 255 are not all of the way from paper to ink."""
    assert extract(draw(250, 255)).intensity[STROKES] / 255 == pytest.approx(5 / 24, abs=0.01)
    assert extract(draw(230, 255)).intensity[STROKES] / 255 == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(("pen", "percent"), [(185, 7), (190, 5), (200, 0)])
def test_a_stroke_below_8_percent_is_not_ink(pen: int, percent: int) -> None:
    with pytest.raises(NoDigitFound) as caught:
        extract(draw(200, pen))
    assert str(caught.value) == f"no digit to read: the darkest stroke is {percent}% of the way from paper to ink"
    assert extract(draw(200, 183)).high_mask.sum() == STROKES.sum()


@pytest.mark.parametrize("noise", [4, 12])
def test_smoothing_extracts_a_pale_stroke_from_noise(noise: float) -> None:
    pixels = np.full((600, 600), 200.0)
    pixels[290:310, 290:310] = 170
    pixels += np.random.default_rng(0).normal(0, noise, pixels.shape)
    found = extract(np.clip(pixels, 0, 255).round().astype(np.uint8))
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
    found = extract(pixels)
    bands = [np.s_[20:80, 11 + 17 * number : 19 + 17 * number] for number in range(7)]
    assert [bool(found.low_mask[band].all()) for band in bands] == [False, False, True, True, True, True, True]
    assert [bool(found.high_mask[band].all()) for band in bands] == [False] * 6 + [True]


def test_the_high_threshold_is_60_percent_of_the_darkest_twentieth() -> None:
    """With two dark classes Otsu's threshold is between them; 60 % of the 95th percentile is lower."""
    pixels = np.full((100, 100), 255, np.uint8)
    pixels[20:80, 10:20] = round(255 * 0.45)  # an intensity of 0.55
    pixels[20:80, 30:40] = round(255 * 0.35)  # an intensity of 0.65
    pixels[20:80, 50:80] = 0
    found = extract(pixels)
    assert not found.high_mask[:, 10:20].any()
    assert found.high_mask[20:80, 30:40].all()
    assert found.high_mask[20:80, 50:80].all()


@pytest.mark.parametrize(
    ("shape", "side", "expected", "factor"),
    [
        ((100, 100), 100, (100, 100), 1),
        ((101, 100), 100, (50, 50), 2),
        ((400, 100), 100, (200, 50), 2),
        ((30, 30), 10, (10, 10), 3),
        ((400, 100), 200, (400, 100), 1),
        ((3, 9000), 10, (1, 3000), 3),
        ((40, 60, 3), 10, (8, 12, 3), 5),
    ],
)
def test_reduces_to_means_of_squares_by_the_smallest_integer(
    shape: tuple[int, ...], side: int, expected: tuple[int, ...], factor: int
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    small, found = reduce_picture(pixels, side)
    assert (small.shape, found) == (expected, factor)
    rows, columns = expected[:2]
    squares = pixels[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor, *shape[2:])
    assert np.abs(small - squares.mean(axis=(1, 3))).max() <= 0.51


@pytest.mark.parametrize(("shape", "width"), [((10, 12), 1), ((79, 200), 1), ((80, 200), 2), ((200, 120), 3)])
def test_the_border_is_a_fortieth_of_the_shorter_side(shape: tuple[int, int], width: int) -> None:
    inner = np.zeros(shape, bool)
    inner[width:-width, width:-width] = True
    np.testing.assert_array_equal(ink._border_mask(shape, None), ~inner)


def test_the_border_of_a_sheet_lies_on_the_sheet() -> None:
    sheet = np.zeros((90, 90), bool)
    sheet[30:, 20:70] = True
    expected = sheet.copy()
    expected[32:-2, 22:68] = False
    np.testing.assert_array_equal(ink._border_mask((90, 90), sheet), expected)


def plane(height: int = 40, width: int = 60) -> FloatImage:
    """A plane over rows and columns, with another slope in each of two channels."""
    rows, columns = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    return np.dstack([100 + 30 * rows - 20 * columns, 50 - 10 * rows]).astype(np.float32)


def fit_background(colours: FloatImage) -> FloatImage:
    border = ink._border_mask(colours.shape[:2], None)
    background = np.median(colours[border], axis=0)
    return np.broadcast_to(ink._fit_background(colours, border, background), colours.shape)


def test_the_background_is_a_plane_even_if_a_sixth_of_the_border_is_ink() -> None:
    colours = plane()
    colours[10:30, 20:40] = 0
    colours[0, 10:40] = 250
    np.testing.assert_allclose(fit_background(colours), plane(), atol=0.2)


def test_the_background_is_a_quadric_under_vignetting() -> None:
    rows, columns = np.meshgrid(np.linspace(-1, 1, 50), np.linspace(-1, 1, 40), indexing="ij")
    vignetted = (200 - 40 * rows**2 - 60 * columns**2 + 15 * rows * columns + 8 * rows)[..., None].astype(np.float32)
    with_ink = vignetted.copy()
    with_ink[15:35, 10:30] = 0
    np.testing.assert_allclose(fit_background(with_ink), vignetted, atol=0.2)


def test_a_plane_is_enough_if_a_quadric_fits_little_better() -> None:
    random = np.random.default_rng(0)
    noisy = (100 + random.normal(0, 12, (60, 60, 1))).astype(np.float32)
    terms = np.dstack([np.ones((60, 60)), *np.meshgrid(np.linspace(-1, 1, 60), np.linspace(-1, 1, 60), indexing="ij")])
    fitted, residual = ink._robust_fit(terms, noisy, ink._border_mask((60, 60), None))
    assert residual > ink.MAX_PLANE_RESIDUAL
    np.testing.assert_allclose(fit_background(noisy), fitted, atol=1e-4)


def test_the_background_of_an_even_border_is_its_colour_whatever_a_tenth_of_it_shows() -> None:
    colours = np.full((60, 60, 3), (200, 190, 180), np.float32)
    colours[20:40, 20:40] = 90
    colours[:18, :3] = 20
    assert (fit_background(colours) == (200, 190, 180)).all()


def test_the_robust_fit_is_exact_on_the_pixels_that_fit_and_states_their_residual() -> None:
    border = ink._border_mask((20, 20), None)
    colours = np.full((20, 20, 1), 7, np.float32)
    colours[0, :10] += 100
    fitted, residual = ink._robust_fit(np.ones((20, 20, 1)), colours, border)
    assert fitted == pytest.approx(7, abs=1e-4)
    assert residual == pytest.approx(0, abs=1e-4)
    colours[19] += np.linspace(-3, 3, 20, dtype=np.float32)[:, None]
    assert 0 < ink._robust_fit(np.ones((20, 20, 1)), colours, border)[1] <= 3.1


def find_axis(pixels: Pixels) -> FloatImage:
    border = ink._border_mask(pixels.shape[:2], None)
    background = np.median(np.atleast_3d(pixels)[border], axis=0).astype(np.float32)
    return ink._ink_colour_axis(pixels, border, np.ones(border.shape, bool), background)


@pytest.mark.parametrize("paper", [(200, 200, 200), (240, 220, 130)])
@pytest.mark.parametrize("pen", [(40, 60, 160), (255, 255, 255), (220, 40, 40)])
def test_the_colour_axis_points_from_paper_to_ink(paper: tuple[int, int, int], pen: tuple[int, int, int]) -> None:
    pixels = np.where(STROKES[..., None], np.array(pen), np.array(paper)).astype(np.uint8)
    direction = np.subtract(pen, paper) / np.linalg.norm(np.subtract(pen, paper))
    axis = find_axis(pixels)
    assert axis.dtype == np.float32
    np.testing.assert_allclose(axis, direction, atol=1e-3)
    assert find_axis(pixels[..., 0].copy()) == np.sign(pen[0] - paper[0])


@pytest.mark.parametrize("share", [0.1, 0.2, 0.3])
@pytest.mark.parametrize("side", range(4))
def test_ink_under_a_shadow_is_darker_than_the_paper(side: int, share: float) -> None:
    light = np.ones((SIDE, SIDE))
    light[: round(share * SIDE)] = 0.5
    assert find_axis(draw(220, 60, light=np.rot90(light, side))[::2, ::2].copy()) == -1
    assert find_axis(draw(80, 240, light=np.rot90(light, side))[::2, ::2].copy()) == 1


@pytest.mark.parametrize(
    ("steps", "agreement", "direction"),
    [([10, 9, 8], 1, 1), ([-10, -9, -8, 2], 1, -1), ([10, 10, -10, -10], 0, 1), ([10, 10, 10, -10], 0.5, 1)],
)
def test_the_agreement_counts_the_far_pixels_on_either_side(
    steps: list[float], agreement: float, direction: float
) -> None:
    axis, found = ink._principal_direction(np.array(steps, np.float32)[:, None])
    assert found == pytest.approx(agreement)
    assert axis == direction


def test_the_longest_run_is_measured_around_the_corners() -> None:
    mask = np.zeros((10, 20), bool)
    assert ink._longest_run(mask) == 0
    assert ink._longest_run(~mask) == 1
    mask[2:8, 2:18] = True
    assert ink._longest_run(mask) == 0  # nothing of it lies on the border
    mask[0] = True
    assert ink._longest_run(mask) == 20 / 56
    mask[:5, -1] = True
    assert ink._longest_run(mask) == 24 / 56
    mask[:3, 0] = True  # the run goes on over the corner where the way around begins
    assert ink._longest_run(mask) == 26 / 56
    mask[0, 10] = False
    assert ink._longest_run(mask) == (9 + 4) / 56
    assert ink._longest_run(np.rot90(mask)) == (9 + 4) / 56


def test_a_single_gap_ends_a_run_once() -> None:
    mask = np.ones((6, 6), bool)
    mask[3, 0] = False
    assert ink._longest_run(mask) == 19 / 20


@pytest.mark.parametrize("shape", [(96, 96), (60, 90), (20, 31)])
def test_the_illumination_is_a_grey_closing_of_a_third_of_the_side(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    lightness = (np.linspace(60, 180, shape[1])[None, :] + np.linspace(0, 40, shape[0])[:, None]).astype(np.float32)
    lightness[random.uniform(size=shape) < 0.1] -= 50
    side = (min(shape) // 3) | 1
    closed = ndimage.grey_closing(np.pad(lightness, 2 * side, mode="edge"), size=(side, side))
    blurred = ndimage.uniform_filter(closed, 2 * (side // 8) + 1)[2 * side : -2 * side, 2 * side : -2 * side]
    found = ink._estimate_illumination(lightness)
    assert found.shape == shape
    assert found.dtype == np.uint8
    inner = np.s_[side:-side, side:-side]
    assert np.abs(found - blurred)[inner].max() < 2
    assert np.abs(found - blurred).max() < 20


def test_the_illumination_is_bounded() -> None:
    assert (ink._estimate_illumination(np.full((30, 30), -9, np.float32)) == 10).all()
    assert (ink._estimate_illumination(np.full((30, 30), 900, np.float32)) == 255).all()


def test_the_noise_is_the_standard_deviation_whatever_the_strokes() -> None:
    for sigma in (0.01, 0.1):
        noise = np.random.default_rng(0).normal(0, sigma, (SIDE, SIDE))
        clear, written = (
            np.clip(np.rint(PAPER_LEVEL * (0.7 + noise - 0.3 * strokes)), 0, 255).astype(np.uint8)
            for strokes in (np.zeros_like(STROKES), STROKES)
        )
        assert ink._noise_sigma(clear) == pytest.approx(sigma, rel=0.07)
        assert ink._noise_sigma(written) == pytest.approx(sigma, rel=0.1)
    assert ink._noise_sigma(np.zeros((5, 1), np.uint8)) == 0
    assert ink._noise_sigma(np.zeros((5, 9), np.uint8)) == 0


def count_levels(levels: npt.NDArray[np.float64]) -> ink.Histogram:
    return np.bincount(np.clip(levels, 0, 255).astype(int), minlength=256).astype(np.float32)


@pytest.mark.parametrize("seed", range(8))
def test_otsus_threshold_minimises_the_variance_within_both_classes(seed: int) -> None:
    random = np.random.default_rng(seed)
    values = np.concatenate([random.normal(70, 18, 900), random.normal(190, 22, 300 + 100 * seed)])
    levels = np.clip(values, 1, 255).astype(int)

    def within(threshold: float) -> float:
        classes = (levels[levels <= threshold], levels[levels > threshold])
        return float(sum(part.var() * len(part) for part in classes if len(part)))

    found = ink._otsu_threshold(count_levels(values.clip(1)))
    assert within(found) <= min(within(level) for level in range(256)) * (1 + 1e-6)


def test_otsus_threshold_is_between_two_classes_and_below_a_single_one() -> None:
    classes = np.concatenate([np.full(900, 50.0), np.full(50, 230.0)])
    assert 50 <= ink._otsu_threshold(count_levels(classes)) < 230
    for single in (np.full(1, 128.0), np.full(7, 128.0)):
        assert 0 <= ink._otsu_threshold(count_levels(single)) <= 128


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_quantile_of_a_histogram_is_that_of_the_levels(share: float) -> None:
    levels = np.random.default_rng(0).normal(120, 20, 5000)
    assert ink._quantile(count_levels(levels), share) == pytest.approx(np.quantile(levels, share), abs=0.5)


def shadowed_page() -> tuple[GreyImage, Mask]:
    """A page of 480 x 640 pixels under a lamp, and its paper: all but the lowest quarter."""
    light = np.linspace(0.4, 1, 640)[None, :] * np.linspace(1, 0.8, 480)[:, None]
    pixels = (230 * light).astype(np.uint8)
    pixels[100:200, 300:330] //= 4
    pixels[360:] = 60
    paper = np.ones((96, 128), bool)
    paper[72:] = False
    return pixels, paper


@pytest.mark.parametrize("box", [Box(0, 480, 0, 640), Box(90, 210, 280, 352), Box(300, 420, 500, 640)], ids=str)
@pytest.mark.parametrize("factor", [1, 2, 4])
def test_the_lightness_of_a_part_in_another_resolution_is_that_of_the_whole(box: Box, factor: int) -> None:
    """Illumination and surroundings follow the part: its lightness, enlarged or reduced, is the same."""
    pixels, paper = shadowed_page()
    outside = np.where(paper, 0, 255).astype(np.uint8)
    model = fit_ink_model(reduce_picture(pixels, 111)[0], paper, outside)
    assert model.illumination is not None
    whole = model.measure_lightness(pixels, Box(0, 480, 0, 640), (480, 640))
    part = pixels[box.top : box.bottom, box.left : box.right]
    expected = whole[box.top : box.bottom, box.left : box.right].astype(int)
    same = model.measure_lightness(part, box, (480, 640))
    assert np.abs(same - expected).max() <= 1
    enlarged = model.measure_lightness(np.kron(part, np.ones((factor, factor), np.uint8)), box, (480, 640))
    scaled = model.measure_lightness(part, box.scaled(factor), (480 * factor, 640 * factor))
    np.testing.assert_array_equal(scaled, same)
    means = enlarged.reshape(box.height, factor, box.width, factor).mean(axis=(1, 3))
    rows, columns = np.abs(np.diff(expected, axis=0)), np.abs(np.diff(expected, axis=1))
    smooth = np.ones(expected.shape, bool)
    smooth[:-1] &= rows < 30
    smooth[:, :-1] &= columns < 30
    assert np.abs(means - expected)[smooth].max() <= 2


def test_surroundings_are_paper() -> None:
    pixels, paper = shadowed_page()
    thumbnail = reduce_picture(pixels, 111)[0]
    whole = fit_ink_model(thumbnail, paper, np.where(paper, 0, 255).astype(np.uint8))
    found = extract_ink(pixels, whole)
    assert not found.low_mask[365:].any()
    assert found.high_mask[105:195, 305:325].all()
    assert found.intensity[365:].max() <= 3
