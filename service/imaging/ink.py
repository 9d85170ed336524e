"""A picture -> its ink: how far each pixel is from the paper, whatever the paper, the pen and the light.

The border tells what paper is. What is farthest from it tells in which direction ink lies: darker, lighter,
redder. Where the light on the border is uneven, the paper is followed under the strokes. Two levels then
tell ink from paper: what is over the upper one is a stroke for sure, what is over the lower one belongs to
the stroke that it touches.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from service.errors import NoDigitFound
from service.types import FloatImage, Mask

THUMBNAIL_SIDE = 96
"""Pixels a side of the thumbnail that paper and light are looked at on."""
MIN_ILLUMINATION_RANGE = 0.06
"""Of the way from paper to black: a border that varies by more is lit unevenly."""
MAX_PLANE_RESIDUAL = 10.0
"""Grey levels: a border that is off a plane by more may be darker in its corners."""
MIN_INTENSITY = 0.08
"""Of the way from paper to black: fainter is no stroke."""
MIN_DYNAMIC_RANGE = 24.0
"""Grey levels between a paper and the end of the scale, so that noise on white is not enlarged into light ink."""
SMOOTHING_NOISE = 0.004
"""Of the way from paper to black: a picture of more noise than that is smoothed before levels are told apart."""
MIN_SNR = 5.0
"""Standard deviations of the noise that a stroke stands out by."""


@dataclass(frozen=True)
class Ink:
    """What is written on a picture of H x W pixels.

    depth float32 [H, W]: 0 is paper, 1 as far from it as a colour can be. weak, strong bool [H, W]: over the lower,
    over the upper level.
    """

    intensity: FloatImage
    low_mask: Mask
    high_mask: Mask


def extract_ink(picture: Image.Image) -> Ink:
    """The ink of a picture of mode L or RGB.

    Raises:
        NoDigit: nothing stands out from the paper.
    """
    depth, uneven = _ink_intensity(picture)
    noise, smooth = _noise_sigma(depth), depth
    radius = min(3, max(depth.shape) // 150)
    if noise > SMOOTHING_NOISE and radius:
        smooth, noise = (
            box_blur(depth, radius),
            1.5 * noise / (2 * radius + 1),
        )  # neighbours' noise is not all their own
    peak = float((box_blur(smooth, 1) if noise > SMOOTHING_NOISE else smooth).max())
    if peak < max(MIN_INTENSITY, MIN_SNR * noise):
        raise NoDigitFound(f"no digit to read: the darkest stroke is {peak:.0%} of the way from paper to ink")
    standing_out = smooth[smooth > max(4 * noise, 0.15 * peak)]
    strong = min(_otsu_threshold(standing_out), 0.6 * float(np.quantile(standing_out, 0.95)))
    weak = max(3.5 * noise, (0.2 if uneven else MIN_INTENSITY) * peak)
    return Ink(depth, smooth > weak, smooth > max(strong, weak))


def downscale(picture: Image.Image, side: int) -> tuple[Image.Image, int]:
    """The picture, each side a whole number of times shorter, so that it has `side` squared pixels; and that number."""
    factor = math.ceil(math.sqrt(picture.width * picture.height) / side)
    return (picture.reduce(factor), factor) if factor > 1 else (picture, 1)


def box_blur(depth: FloatImage, radius: int) -> FloatImage:
    """Each pixel's mean over a square of side 2 radius + 1, in steps of 1/200 from 0 to 1.2."""
    steps = Image.fromarray((np.clip(depth, 0, 1.2) * 200).astype(np.uint8))
    return np.asarray(steps.filter(ImageFilter.BoxBlur(radius)), np.float32) / np.float32(200)


def _ink_intensity(picture: Image.Image) -> tuple[FloatImage, bool]:
    """Depth as in Ink, and whether the light had to be evened out."""
    pixels = _channels(picture)
    small = np.atleast_3d(np.asarray(downscale(picture, THUMBNAIL_SIDE)[0], np.float32))[..., : pixels.shape[2]]
    paper = np.median(_border_pixels(pixels), axis=0)
    axis = _ink_colour_axis(small)
    ends = [(255 - at if step > 0 else at) / abs(step) for at, step in zip(paper, axis, strict=True) if step]
    varies = float(np.quantile(_border_pixels(pixels - paper) @ axis, 0.95))
    reach = max(min(ends), MIN_DYNAMIC_RANGE, 1.2 * varies)  # paper that is lit better is no ink
    paleness, paleness_small = (1 - (part - paper) @ axis / reach for part in (pixels, small))
    low, high = np.quantile(_border_pixels(paleness_small[..., None]), [0.1, 0.9])
    if high - low <= MIN_ILLUMINATION_RANGE:
        return 1 - paleness, False
    light = _estimate_illumination(paleness_small)
    even = paleness / np.asarray(Image.fromarray(light).resize(picture.size, Image.Resampling.BILINEAR))
    return np.asarray(np.median(even) - even, np.float32), True


def _channels(picture: Image.Image) -> FloatImage:
    """The pixels as [H, W, C]; grey in three channels is one."""
    pixels = np.atleast_3d(np.asarray(picture))
    return np.asarray(pixels[..., :1] if (pixels == pixels[..., :1]).all() else pixels, np.float32)


def _border_pixels(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The outermost pixels of [H, W, C], as [N, C]."""
    wide = max(1, min(pixels.shape[:2]) // 40)
    sides = (pixels[:wide], pixels[-wide:], pixels[wide:-wide, :wide], pixels[wide:-wide, -wide:])
    return np.concatenate([side.reshape(-1, pixels.shape[2]) for side in sides])


def _ink_colour_axis(small: FloatImage) -> FloatImage:
    """The direction of ink in the space of colours, a unit vector [C], from a thumbnail [H, W, C]."""
    away = small - _fit_background(small)
    far = np.linalg.norm(away, axis=2)
    farthest = away[far >= 0.5 * far.max()]
    axis = np.linalg.svd(farthest, full_matrices=False)[2][0] if small.shape[2] > 1 else np.ones(1)
    axis[np.abs(axis) < 1e-6] = 0
    return np.asarray(axis if (farthest @ axis).sum() >= 0 else -axis, np.float32)


def _fit_background(small: FloatImage) -> FloatImage:
    """The paper of [H, W, C] from its border: a plane over each channel, or a quadric where that fits far better."""
    height, width, _ = small.shape
    rows, columns = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    linear = np.dstack([np.ones_like(rows), rows, columns])
    plane, misfit = _robust_fit(linear, small)
    if misfit < MAX_PLANE_RESIDUAL:
        return plane
    quadric, remaining = _robust_fit(np.dstack([linear, rows**2, columns**2, rows * columns]), small)
    return quadric if remaining < misfit / 3 else plane


def _robust_fit(terms: npt.NDArray[np.float64], small: FloatImage) -> tuple[FloatImage, float]:
    """The terms [H, W, T] fitted to the border without its most unfit fifth, and how far that is off at most."""
    at, values = _border_pixels(terms), _border_pixels(small)
    fits, misfit = np.ones(len(at), bool), np.zeros(len(at))
    for _ in range(3):
        weights = np.linalg.lstsq(at[fits], values[fits])[0]
        misfit = np.abs(values - at @ weights).sum(axis=1)
        fits = misfit <= np.quantile(misfit, 0.8) + 1e-6
    return np.asarray(terms @ weights, np.float32), float(misfit[fits].max())


def _estimate_illumination(paleness: FloatImage) -> FloatImage:
    """How pale the paper is under the strokes of a thumbnail: what is darker and narrower than a third is filled up."""
    side = (min(paleness.shape) // 3) | 1
    filled = np.pad(paleness, side, mode="edge")
    for pick in (np.max, np.min):
        for axis in (0, 1):
            filled = pick(np.lib.stride_tricks.sliding_window_view(filled, side, axis=axis), axis=-1)
    steps = Image.fromarray((np.clip(filled, 0, 2.5) * 100).astype(np.uint8)).filter(ImageFilter.BoxBlur(side // 8))
    margin = 1  # what padding by `side` leaves of it after two windows of that side
    height, width = paleness.shape
    return np.maximum(np.asarray(steps, np.float32)[margin : margin + height, margin : margin + width] / 100, 0.05)


def _noise_sigma(depth: FloatImage) -> float:
    """The standard deviation of a pixel's noise, from the median difference of neighbours."""
    differences = np.abs(np.diff(depth, axis=1))
    return 1.4826 / math.sqrt(2) * float(np.median(differences)) if differences.size else 0.0


def _otsu_threshold(values: FloatImage) -> float:
    """The level that best splits values over 0 in two.

    Otsu, "A threshold selection method from gray-level histograms" (1979).
    """
    counts, edges = np.histogram(values, bins=64, range=(0, float(values.max())))
    below, middles = np.cumsum(counts)[:-1], (edges[1:] + edges[:-1]) / 2
    sums = np.cumsum(counts * middles)
    total, above = int(counts.sum()), counts.sum() - below
    between = (sums[-1] * below / total - sums[:-1]) ** 2 / np.maximum(below * above, 1)
    return float(edges[1 + int(between.argmax())])
