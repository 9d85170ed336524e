"""Ink extraction: for each pixel, how far its colour is from the paper, whatever the paper, the pen and the light.

1. The border shows the background. A plane or a quadric is fitted to it, robustly, as the light may fall off.
2. The pixels farthest from the background show the direction of ink in the colour space: darker, lighter, redder.
3. Under uneven light, the illumination below the strokes is estimated by a morphological closing, and divided out.
4. Two thresholds separate ink from background, as in Canny's edge detector: a pixel above the high one is ink, a pixel
   above the low one belongs to the ink that it is connected with (Canny, "A computational approach to edge detection",
   1986). segmentation.py connects them.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from service.errors import NoDigitFound
from service.imaging.geometry import Box
from service.types import FloatImage, GreyImage, Mask

THUMBNAIL_SIDE = 96
"""Background, ink colour and illumination are estimated on about this number squared of pixels."""
MIN_ILLUMINATION_RANGE = 0.06
"""Fraction of the way from paper to ink: a border that varies by more is lit unevenly."""
MAX_PLANE_RESIDUAL = 10.0
"""Grey levels: above, a quadric may fit the border better than a plane, as under vignetting."""
MIN_INTENSITY = 0.08
"""Intensity below which nothing is a stroke."""
MIN_DYNAMIC_RANGE = 24.0
"""Grey levels from the background to the end of the scale, at least: noise on white must not become light ink."""
SMOOTHING_NOISE = 0.004
"""Standard deviation of the intensity above which a picture is smoothed before the thresholds are applied."""
MIN_SNR = 5.0
"""Standard deviations of the noise that the darkest stroke must have."""


@dataclass(frozen=True)
class Ink:
    """The ink of a picture of H x W pixels.

    intensity uint8 [H, W]: 0 is paper, 255 is as far from it as a colour can be. low_mask, high_mask bool [H, W]: the
    pixels above the low and above the high threshold.
    """

    intensity: GreyImage
    low_mask: Mask
    high_mask: Mask


def extract_ink(picture: Image.Image) -> Ink:
    """Extract the ink of a picture of mode L or RGB.

    Raises:
        NoDigitFound: nothing stands out from the background.
    """
    intensity, is_uneven = _ink_intensity(picture)
    noise, smooth = _noise_sigma(intensity), intensity
    radius = min(3, max(intensity.shape) // 150)
    if noise > SMOOTHING_NOISE and radius:
        # Noise of neighbours is correlated: a mean over k pixels a side has not 1/k of the noise, but 1.5/k.
        smooth, noise = box_blur(intensity, radius), 1.5 * noise / (2 * radius + 1)
    peak = float((box_blur(smooth, 1) if noise > SMOOTHING_NOISE else smooth).max())
    if peak < max(MIN_INTENSITY, MIN_SNR * noise):
        raise NoDigitFound(f"no digit to read: the darkest stroke is {peak:.0%} of the way from paper to ink")
    foreground = smooth[smooth > max(4 * noise, 0.15 * peak)]
    high = min(_otsu_threshold(foreground), 0.6 * float(np.quantile(foreground, 0.95)))
    low = max(3.5 * noise, (0.2 if is_uneven else MIN_INTENSITY) * peak)
    levels = np.asarray(np.rint(np.clip(intensity, 0, 1) * 255), np.uint8)
    return Ink(levels, smooth > low, smooth > max(high, low))


def downscale(picture: Image.Image, side: int, area: Box | None = None) -> tuple[Image.Image, int]:
    """Downscale a picture to at most `side` squared pixels by an integer factor; returns it and the factor.

    With `area`, only this part of it: it is not copied, which matters for a picture of 100 MB.
    """
    area = area or Box(0, picture.height, 0, picture.width)
    factor = math.ceil(math.sqrt(area.area) / side)
    edges = (area.left, area.top, area.right, area.bottom)
    if factor > 1:
        return picture.reduce(factor, edges), factor
    return (picture if edges == (0, 0, *picture.size) else picture.crop(edges)), 1


def box_blur(intensity: FloatImage, radius: int) -> FloatImage:
    """The mean over a square of 2 radius + 1 pixels a side, quantised to 1/200 between 0 and 1.2."""
    levels = Image.fromarray((np.clip(intensity, 0, 1.2) * 200).astype(np.uint8))
    return np.asarray(levels.filter(ImageFilter.BoxBlur(radius)), np.float32) / np.float32(200)


def _ink_intensity(picture: Image.Image) -> tuple[FloatImage, bool]:
    """The intensity as in Ink, and whether the illumination was uneven and has been divided out."""
    pixels = _channels(picture)
    thumbnail = np.atleast_3d(np.asarray(downscale(picture, THUMBNAIL_SIDE)[0], np.float32))[..., : pixels.shape[2]]
    background = np.median(_border_pixels(pixels), axis=0)
    axis = _ink_colour_axis(thumbnail)
    distances = [
        (255 - level if step > 0 else level) / abs(step) for level, step in zip(background, axis, strict=True) if step
    ]
    variation = float(np.quantile(_border_pixels(pixels - background) @ axis, 0.95))
    # Better lit paper lies in the direction of light ink: the range must be larger than what the border varies by.
    dynamic_range = max(min(distances), MIN_DYNAMIC_RANGE, 1.2 * variation)
    lightness, lightness_small = (1 - (image - background) @ axis / dynamic_range for image in (pixels, thumbnail))
    low, high = np.quantile(_border_pixels(lightness_small[..., None]), [0.1, 0.9])
    if high - low <= MIN_ILLUMINATION_RANGE:
        return 1 - lightness, False
    illumination = _estimate_illumination(lightness_small)
    even = lightness / np.asarray(Image.fromarray(illumination).resize(picture.size, Image.Resampling.BILINEAR))
    return np.asarray(np.median(even) - even, np.float32), True


def _channels(picture: Image.Image) -> FloatImage:
    """The pixels as float32 [H, W, C]; C is 1 if all channels are equal."""
    pixels = np.atleast_3d(np.asarray(picture))
    return np.asarray(pixels[..., :1] if (pixels == pixels[..., :1]).all() else pixels, np.float32)


def _border_pixels(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The outermost fortieth of [H, W, C] along each side, as [N, C]."""
    width = max(1, min(pixels.shape[:2]) // 40)
    sides = (pixels[:width], pixels[-width:], pixels[width:-width, :width], pixels[width:-width, -width:])
    return np.concatenate([side.reshape(-1, pixels.shape[2]) for side in sides])


def _ink_colour_axis(thumbnail: FloatImage) -> FloatImage:
    """The direction from background to ink in the colour space, a unit vector [C], from a thumbnail [H, W, C].

    It is the first principal direction of the pixels that are at least half as far as the farthest.
    """
    difference = thumbnail - _fit_background(thumbnail)
    distance = np.linalg.norm(difference, axis=2)
    farthest = difference[distance >= 0.5 * distance.max()]
    axis = np.linalg.svd(farthest, full_matrices=False)[2][0] if thumbnail.shape[2] > 1 else np.ones(1)
    axis[np.abs(axis) < 1e-6] = 0
    return np.asarray(axis if (farthest @ axis).sum() >= 0 else -axis, np.float32)


def _fit_background(thumbnail: FloatImage) -> FloatImage:
    """The background of [H, W, C]: a plane fitted to the border of each channel, or a quadric if it fits far better."""
    height, width, _ = thumbnail.shape
    rows, columns = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    linear = np.dstack([np.ones_like(rows), rows, columns])
    plane, residual = _robust_fit(linear, thumbnail)
    if residual < MAX_PLANE_RESIDUAL:
        return plane
    quadric, remaining = _robust_fit(np.dstack([linear, rows**2, columns**2, rows * columns]), thumbnail)
    return quadric if remaining < residual / 3 else plane


def _robust_fit(terms: npt.NDArray[np.float64], thumbnail: FloatImage) -> tuple[FloatImage, float]:
    """Least squares of terms [H, W, T] on the border, without the fifth that fits worst: trimmed three times.

    Returns:
        The fitted image [H, W, C], and the largest residual of the rest.
    """
    design, values = _border_pixels(terms), _border_pixels(thumbnail)
    kept, residuals = np.ones(len(design), bool), np.zeros(len(design))
    for _ in range(3):
        weights = np.linalg.lstsq(design[kept], values[kept])[0]
        residuals = np.abs(values - design @ weights).sum(axis=1)
        kept = residuals <= np.quantile(residuals, 0.8) + 1e-6
    return np.asarray(terms @ weights, np.float32), float(residuals[kept].max())


def _estimate_illumination(lightness: FloatImage) -> FloatImage:
    """The lightness of the paper below the strokes of a thumbnail: a closing with a window of a third of its side.

    A closing, the maximum followed by the minimum, fills what is darker and narrower than its window.
    """
    side = (min(lightness.shape) // 3) | 1
    filled = np.pad(lightness, side, mode="edge")
    for extremum in (np.max, np.min):
        for axis in (0, 1):
            filled = extremum(np.lib.stride_tricks.sliding_window_view(filled, side, axis=axis), axis=-1)
    levels = Image.fromarray((np.clip(filled, 0, 2.5) * 100).astype(np.uint8)).filter(ImageFilter.BoxBlur(side // 8))
    margin = 1  # what two windows of `side` leave of a padding of `side`
    height, width = lightness.shape
    return np.maximum(np.asarray(levels, np.float32)[margin : margin + height, margin : margin + width] / 100, 0.05)


def _noise_sigma(intensity: FloatImage) -> float:
    """The standard deviation of the noise of a pixel, from the median absolute difference of neighbours.

    1.4826 makes a median absolute deviation the standard deviation of a normal distribution.
    """
    differences = np.abs(np.diff(intensity, axis=1))
    return 1.4826 / math.sqrt(2) * float(np.median(differences)) if differences.size else 0.0


def _otsu_threshold(values: FloatImage) -> float:
    """The threshold that maximises the variance between the two classes of positive values.

    Otsu, "A threshold selection method from gray-level histograms" (1979).
    """
    counts, edges = np.histogram(values, bins=64, range=(0, float(values.max())))
    below, middles = np.cumsum(counts)[:-1], (edges[1:] + edges[:-1]) / 2
    sums = np.cumsum(counts * middles)
    total, above = int(counts.sum()), counts.sum() - below
    between = (sums[-1] * below / total - sums[:-1]) ** 2 / np.maximum(below * above, 1)
    return float(edges[1 + int(between.argmax())])
