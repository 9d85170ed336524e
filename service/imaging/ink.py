"""Ink extraction: for each pixel, how far its colour is from the paper, whatever the paper, the pen and the light.

1. The border of the paper shows the background. A plane or a quadric is fitted to it, without outliers, since the light
   may fall off.
2. The pixels farthest from the background show the direction of ink in the colour space: darker, lighter, redder.
3. Under uneven light, the illumination below the strokes is estimated by a morphological closing, and divided out.
4. Two thresholds separate ink from background, as in Canny's edge detector: a pixel above the high one is ink, a pixel
   above the low one belongs to the ink that it is connected with (Canny, "A computational approach to edge detection",
   1986). segmentation.py connects them.

Steps 1 to 3 work on a thumbnail and give an InkModel, a function from colours to intensities. It is applied to the
picture once, and to small digits once more in full resolution.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from service.errors import NoDigitFound
from service.imaging.geometry import Box
from service.types import FloatImage, GreyImage, Mask, Pixels

MIN_ILLUMINATION_RANGE = 0.06
"""Intensity: a border that varies by more is lit unevenly."""
MAX_PLANE_RESIDUAL = 10.0
"""Grey levels: above, a quadric may fit the border better than a plane, as under vignetting."""
MIN_EVEN_SHARE = 0.9
"""Fraction of the border: if so much of it has one colour, that is the background."""
MIN_SHADE = 48.0
"""Grey levels, summed over the channels, by which a shadow differs from the background."""
MIN_AGREEMENT = 0.5
"""Agreement on the direction of ink, 0 to 1: less with thick strokes, whose inside the filter takes for background."""
MIN_RUN = 0.25
"""Fraction of the length of the border that a shadow or a table covers without a gap; strokes cover less."""
MIN_INTENSITY = 0.08
"""Intensity below which nothing is a stroke."""
MIN_DYNAMIC_RANGE = 24.0
"""Grey levels from the background to the end of the scale, at least: noise on white must not become light ink."""
SMOOTHING_NOISE = 0.004
"""Standard deviation of the intensity above which a picture is smoothed before the thresholds are applied."""
MIN_SNR = 5.0
"""Standard deviations of the noise that the darkest stroke must have."""
PAPER_LEVEL = 200
"""The level of paper where lightness has 8 bits: paper may be up to 28 % lighter than its estimate."""

Colours = npt.NDArray[np.float32]
"""float32 [..., C]: colours of C channels, one for grey pictures and three for RGB."""
Histogram = npt.NDArray[np.float32]
"""float32 [256]: the number of pixels of each level."""


@dataclass(frozen=True)
class Ink:
    """The ink of a picture of H x W pixels.

    intensity: uint8 [H, W]; 0 is paper, 255 is as far from it as a colour can be.
    low_mask, high_mask: bool [H, W]; the pixels above the low threshold, and those above the high one.
    """

    intensity: GreyImage
    low_mask: Mask
    high_mask: Mask


@dataclass(frozen=True)
class InkModel:
    """How the colours of a picture become lightness, and lightness becomes intensity.

    weights, offset: float32 [C] and a number; lightness = weights . colour + offset: PAPER_LEVEL is paper, 0 is ink.
    paper_level: the lightness of paper once the illumination is divided out.
    illumination: uint8 [h, w]; the lightness of the paper below the strokes of the thumbnail; None under even light.
    surroundings: uint8 [h, w]; 255 where the thumbnail shows no paper, 0 elsewhere; None if all of it is paper.
    """

    weights: Colours
    offset: float
    paper_level: float
    illumination: GreyImage | None
    surroundings: GreyImage | None

    def measure_lightness(self, pixels: Pixels, area: Box, size: tuple[int, int]) -> GreyImage:
        """Measure the lightness of a part of the picture, without the illumination; paper in the surroundings.

        Args:
            pixels: uint8 [H, W] or [H, W, 3], the part in any resolution.
            area: the part in pixels of the picture.
            size: height and width of the picture, in the unit of `area`.

        Returns:
            uint8 [H, W].
        """
        lightness = self._project(pixels)
        if self.illumination is not None:
            illumination = _enlarge(self.illumination, area, size, lightness.shape)
            lightness = np.asarray(cv2.divide(lightness, illumination, scale=PAPER_LEVEL), np.uint8)
        if self.surroundings is not None:
            is_outside = _enlarge(self.surroundings, area, size, lightness.shape) > 127
            lightness[is_outside] = np.uint8(min(self.paper_level, 255))
        return lightness

    def measure_intensity(self, lightness: GreyImage) -> GreyImage:
        """Convert lightness, uint8 [H, W], to intensity, uint8 [H, W]: 0 paper to 255 ink."""
        return _map_levels(lightness, (self.paper_level - np.arange(256)) * (255 / PAPER_LEVEL))

    def _project(self, pixels: Pixels) -> GreyImage:
        """The lightness of pixels, uint8 [H, W], as it was photographed."""
        if pixels.ndim == 2:
            return _map_levels(pixels, np.arange(256) * float(self.weights[0]) + self.offset)
        transform = np.append(self.weights, np.float32(self.offset)).reshape(1, 4)
        return np.asarray(cv2.transform(pixels, transform), np.uint8)


def fit_ink_model(thumbnail: Pixels, paper: Mask | None = None, surroundings: GreyImage | None = None) -> InkModel:
    """Fit the model of a picture to its thumbnail.

    Args:
        thumbnail: uint8 [h, w] or [h, w, 3], of about 96 x 96 pixels.
        paper: bool [h, w], where its colours are those of paper and ink; None: everywhere.
        surroundings: as in InkModel.
    """
    colours = np.atleast_3d(thumbnail).astype(np.float32)
    border = _border_mask(thumbnail.shape[:2], paper)
    inside = np.ones(border.shape, bool) if paper is None else paper
    background = np.median(colours[border], axis=0)
    axis = _ink_colour_axis(thumbnail, border, inside, background)
    weights = np.asarray(-PAPER_LEVEL * axis / _dynamic_range(colours[border], background, axis), np.float32)
    offset = PAPER_LEVEL - float(weights @ background)
    lightness = colours @ weights + offset
    is_all_paper = paper is None or surroundings is not None
    if is_all_paper and _is_even(lightness[border]):
        return InkModel(weights, offset, PAPER_LEVEL, None, surroundings)
    illumination = _estimate_illumination(lightness)
    even = lightness[inside] * (PAPER_LEVEL / illumination[inside])
    return InkModel(weights, offset, float(np.median(even)), illumination, surroundings)


def extract_ink(pixels: Pixels, model: InkModel) -> Ink:
    """Extract the ink of a picture, uint8 [H, W] or [H, W, 3].

    Raises:
        NoDigitFound: nothing stands out from the background.
    """
    height, width = pixels.shape[:2]
    lightness = model.measure_lightness(pixels, Box(0, height, 0, width), (height, width))
    intensity = model.measure_intensity(lightness)
    smooth, noise = _smooth(intensity, _noise_sigma(lightness))
    strokes = _blur(smooth, 1) if noise > SMOOTHING_NOISE else smooth
    low, high = _find_thresholds(smooth, float(strokes.max()) / 255, noise, is_even=model.illumination is None)
    return Ink(intensity, smooth > low, smooth > high)


def reduce_picture(pixels: Pixels, side: int) -> tuple[Pixels, int]:
    """Reduce a picture to about `side` squared pixels by an integer factor; returns it and the factor.

    Rows and columns that do not fill a pixel of the result are left out.
    """
    height, width = pixels.shape[:2]
    factor = min(math.ceil(math.sqrt(height * width) / side), height, width)
    if factor <= 1:
        return pixels, 1
    rows, columns = height // factor, width // factor
    whole = pixels[: rows * factor, : columns * factor]
    return np.asarray(cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA), np.uint8), factor


def _map_levels(levels: GreyImage, values: npt.NDArray[np.floating]) -> GreyImage:
    """Map each level to its value, of [256], rounded and clipped to 8 bits; uint8 [H, W]."""
    return np.asarray(cv2.LUT(levels, np.rint(np.clip(values, 0, 255)).astype(np.uint8)), np.uint8)


def _dynamic_range(border: Colours, background: Colours, axis: Colours) -> float:
    """The grey levels from the background along the axis of ink to the end of the scale.

    Better lit paper lies in the direction of light ink: the range must be larger than what the border [N, C] varies by.
    """
    distances = [
        (255 - level if step > 0 else level) / abs(step) for level, step in zip(background, axis, strict=True) if step
    ]
    variation = float(np.quantile((border - background) @ axis, 0.95))
    return float(max(min(distances), MIN_DYNAMIC_RANGE, 1.2 * variation))


def _is_even(border: FloatImage) -> bool:
    """Whether the lightness of the border [N] is the same everywhere, apart from a tenth at either end."""
    low, high = np.quantile(border, [0.1, 0.9])
    return bool(high - low <= MIN_ILLUMINATION_RANGE * PAPER_LEVEL)


def _smooth(intensity: GreyImage, noise: float) -> tuple[GreyImage, float]:
    """The intensity, smoothed if it is noisy and large, uint8 [H, W], and the noise that is left."""
    radius = min(3, max(intensity.shape) // 150)
    if noise <= SMOOTHING_NOISE or not radius:
        return intensity, noise
    # Noise of neighbours is correlated: a mean over k pixels a side has not 1/k of the noise, but 1.5/k.
    return _blur(intensity, radius), 1.5 * noise / (2 * radius + 1)


def _find_thresholds(intensity: GreyImage, peak: float, noise: float, *, is_even: bool) -> tuple[int, int]:
    """Find the low and the high threshold, 0 to 255.

    Args:
        intensity: uint8 [H, W].
        peak: the intensity of the darkest stroke, 0 to 1.
        noise: the standard deviation of the intensity of a pixel, 0 to 1.
        is_even: whether the light is; an estimated illumination leaves traces, above which the low threshold must be.

    Raises:
        NoDigitFound: the darkest stroke is too faint.
    """
    if peak < max(MIN_INTENSITY, MIN_SNR * noise):
        raise NoDigitFound(f"no digit to read: the darkest stroke is {peak:.0%} of the way from paper to ink")
    counts = np.asarray(cv2.calcHist([intensity], [0], None, [256], [0, 256]), np.float32).ravel()
    counts[: int(255 * max(4 * noise, 0.15 * peak)) + 1] = 0
    high = min(_otsu_threshold(counts), 0.6 * _quantile(counts, 0.95))
    low = 255 * max(3.5 * noise, (MIN_INTENSITY if is_even else 0.2) * peak)
    return int(low), int(max(high, low))


def _blur(levels: GreyImage, radius: int) -> GreyImage:
    """The mean of the pixels at most `radius` rows and columns away, uint8 [H, W]."""
    return np.asarray(cv2.blur(levels, [2 * radius + 1] * 2), np.uint8)


def _enlarge(thumbnail: GreyImage, area: Box, size: tuple[int, int], shape: tuple[int, ...]) -> GreyImage:
    """The part of a thumbnail that shows an area of a picture of this size, enlarged linearly to uint8 `shape`."""
    rows, columns = thumbnail.shape[0] / size[0], thumbnail.shape[1] / size[1]  # thumbnail pixels a picture pixel
    down, right = rows * area.height / shape[0], columns * area.width / shape[1]  # thumbnail pixels a resulting pixel
    top, left = rows * area.top + (down - 1) / 2, columns * area.left + (right - 1) / 2
    mapping = np.array([[right, 0, left], [0, down, top]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    part = cv2.warpAffine(thumbnail, mapping, (shape[1], shape[0]), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(part, np.uint8)


def _border_mask(shape: tuple[int, ...], paper: Mask | None) -> Mask:
    """The outermost fortieth of the paper on a thumbnail, bool [h, w], at least one pixel along each side."""
    width = max(1, min(shape) // 40)
    inside = np.ones(shape, np.uint8) if paper is None else paper.view(np.uint8)
    kernel = np.ones([2 * width + 1] * 2, np.uint8)
    eroded = cv2.erode(inside, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(inside > eroded)


def _ink_colour_axis(thumbnail: Pixels, border: Mask, inside: Mask, background: Colours) -> Colours:
    """The direction from background to ink in the colour space of a thumbnail, a unit vector [C].

    If the border is uneven, as where a shadow falls on it, the background is what a median filter leaves, provided that
    all ink then lies in one direction, as thin strokes do.
    """
    colours = np.atleast_3d(thumbnail).astype(np.float32)
    axis, _ = _principal_direction((colours - _fit_background(colours, border, background))[inside])
    is_off = np.abs(colours - background).sum(axis=2) > MIN_SHADE
    if _longest_run(is_off) >= MIN_RUN:
        filtered = cv2.medianBlur(thumbnail, (min(thumbnail.shape[:2]) // 4) | 1).reshape(colours.shape)
        other, agreement = _principal_direction((colours - filtered)[inside])
        axis = other if agreement >= MIN_AGREEMENT else axis
    return axis


def _principal_direction(difference: Colours) -> tuple[Colours, float]:
    """The first principal direction of the differences [N, C] that are at least half as far as the farthest.

    Returns:
        A unit vector [C] that points to most of them, and their agreement: 1 if all lie on that side, 0 if half do.
    """
    distance = np.linalg.norm(difference, axis=1)
    farthest = difference[distance >= 0.5 * distance.max()]
    axis = np.linalg.svd(farthest, full_matrices=False)[2][0] if difference.shape[1] > 1 else np.ones(1)
    axis[np.abs(axis) < 1e-6] = 0
    steps = farthest @ axis
    agreement = float(abs(steps.sum()) / max(float(np.abs(steps).sum()), 1e-9))
    return np.asarray(axis if steps.sum() >= 0 else -axis, np.float32), agreement


def _fit_background(colours: Colours, border: Mask, background: Colours) -> Colours:
    """The background of a thumbnail, broadcast to its [h, w, C].

    It is one colour, or a plane fitted to the border of each channel, or a quadric if that fits far better.
    """
    is_even = np.abs(colours[border] - background).sum(axis=1) < MAX_PLANE_RESIDUAL
    if np.count_nonzero(is_even) >= MIN_EVEN_SHARE * len(is_even):
        return background
    height, width, _ = colours.shape
    rows, columns = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    linear = np.dstack([np.ones_like(rows), rows, columns])
    plane, residual = _robust_fit(linear, colours, border)
    if residual < MAX_PLANE_RESIDUAL:
        return plane
    quadric, remaining = _robust_fit(np.dstack([linear, rows**2, columns**2, rows * columns]), colours, border)
    return quadric if remaining < residual / 3 else plane


def _longest_run(mask: Mask) -> float:
    """The longest run of a mask [h, w] along its border, as a fraction of the border's length."""
    around = np.concatenate([mask[0], mask[1:, -1], mask[-1, -2::-1], mask[-2:0:-1, 0]])
    if around.all():
        return 1.0
    gaps = np.flatnonzero(~np.roll(around, -int(around.argmin())))  # from a gap on, so that no run goes over the end
    return float(np.diff(np.append(gaps, len(around))).max() - 1) / len(around)


def _robust_fit(terms: npt.NDArray[np.float64], colours: Colours, border: Mask) -> tuple[Colours, float]:
    """Least squares of terms [h, w, T] on the border, without the fifth that fits worst: trimmed three times.

    Returns:
        The fitted thumbnail [h, w, C], and the largest residual of the rest, in grey levels summed over the channels.
    """
    design, values = terms[border], colours[border]
    kept, residuals = np.ones(len(design), bool), np.zeros(len(design))
    for _ in range(3):
        weights = np.linalg.lstsq(design[kept], values[kept])[0]
        residuals = np.abs(values - design @ weights).sum(axis=1)
        kept = residuals <= np.quantile(residuals, 0.8) + 1e-6
    return np.asarray(terms @ weights, np.float32), float(residuals[kept].max())


def _estimate_illumination(lightness: FloatImage) -> GreyImage:
    """The lightness of the paper below the strokes of a thumbnail, uint8 [h, w], at least a twentieth of PAPER_LEVEL.

    A closing, the maximum followed by the minimum, fills what is darker and narrower than its window, here a third of
    the shorter side.
    """
    side = (min(lightness.shape) // 3) | 1
    levels = np.clip(lightness, PAPER_LEVEL / 20, 255).astype(np.uint8)
    padded = cv2.copyMakeBorder(levels, side, side, side, side, cv2.BORDER_REPLICATE)
    filled = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, np.ones((side, side), np.uint8))
    smooth = cv2.blur(filled, [2 * (side // 8) + 1] * 2)
    return np.ascontiguousarray(smooth[side:-side, side:-side])


def _noise_sigma(lightness: GreyImage) -> float:
    """The standard deviation of a pixel's noise as intensity, from the median absolute difference of neighbours.

    The median is interpolated between levels. 1.4826 makes a median absolute deviation the standard deviation of a
    normal distribution.
    """
    rows = lightness[:: max(1, len(lightness) // 64)]
    if rows.shape[1] < 2:
        return 0.0
    counts = np.bincount(cv2.absdiff(rows[:, 1:], rows[:, :-1]).ravel(), minlength=256)
    median = max(_quantile(counts.astype(np.float32), 0.5) - 0.5, 0.0)
    return 1.4826 / math.sqrt(2) * median / PAPER_LEVEL


def _quantile(counts: Histogram, share: float) -> float:
    """The level below which a share of the pixels lies, 0 to 256, interpolated between levels."""
    total = np.cumsum(counts)
    level = int(np.searchsorted(total, share * total[-1]))
    return level + float(1 - (total[level] - share * total[-1]) / max(counts[level], 1))


def _otsu_threshold(counts: Histogram) -> float:
    """The highest level of the lower class, where the variance between the two classes is largest.

    Otsu, "A threshold selection method from gray-level histograms" (1979).
    """
    below, levels = np.cumsum(counts)[:-1], np.arange(256)
    sums = np.cumsum(counts * levels)
    total = max(float(counts.sum()), 1.0)
    between = (sums[-1] * below / total - sums[:-1]) ** 2 / np.maximum(below * (total - below), 1)
    return float(between.argmax())
