"""Corrupted test images, for accuracy under corruption (as in MNIST-C: Mu and Gilmer, 2019)."""

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from training.types import Images

DIRECTIONS = ((0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1))


def corruptions() -> dict[str, Callable[[Images], Images]]:
    """Functions that corrupt images uint8 [N, 28, 28], by name; each is deterministic."""
    return (
        {f"shifted by {pixels} px": _shifted(pixels) for pixels in (1, 2, 3, 4)}
        | {f"rotated by {degrees} degrees": _rotated(degrees) for degrees in (10, 20, 30)}
        | {"thickened": _thickened, "thinned": _thinned}
        | {f"blurred, sigma {sigma} px": _blurred(sigma) for sigma in (1.0, 1.5)}
        | {f"noise of {level} grey levels": _noisy(level) for level in (25, 50, 100)}
        | {f"contrast {percent} %": _low_contrast(percent / 100) for percent in (70, 50, 30)}
    )


def _shifted(pixels: int) -> Callable[[Images], Images]:
    """Shift image i in direction i mod 8; what leaves the image is lost."""

    def shift(images: Images) -> Images:
        shifted = np.empty_like(images)
        for index, (down, right) in enumerate(DIRECTIONS):
            padded = np.pad(images[index::8], ((0, 0), (pixels, pixels), (pixels, pixels)))
            top, left = pixels * (1 - down), pixels * (1 - right)
            shifted[index::8] = padded[:, top : top + 28, left : left + 28]
        return shifted

    return shift


def _rotated(degrees: float) -> Callable[[Images], Images]:
    """Rotate alternate images in opposite directions, with bilinear interpolation."""

    def rotate(images: Images) -> Images:
        rotated = images.copy()
        for index, angle in enumerate((degrees, -degrees)):
            rotated[index::2] = ndimage.rotate(images[index::2], angle, axes=(1, 2), reshape=False, order=1)
        return rotated

    return rotate


def _thickened(images: Images) -> Images:
    return ndimage.grey_dilation(images, size=(1, 2, 2))  # type: ignore[no-any-return]


def _thinned(images: Images) -> Images:
    return ndimage.grey_erosion(images, size=(1, 2, 2))  # type: ignore[no-any-return]


def _blurred(sigma: float) -> Callable[[Images], Images]:
    def blur(images: Images) -> Images:
        smooth = ndimage.gaussian_filter(images.astype(np.float32), (0, sigma, sigma), mode="constant")
        return np.asarray(smooth.round(), np.uint8)

    return blur


def _noisy(level: float) -> Callable[[Images], Images]:
    """Add Gaussian noise of standard deviation `level` to every pixel and clip to 0..255."""

    def add_noise(images: Images) -> Images:
        noise = np.random.default_rng(0).normal(0, level, images.shape)
        return np.clip(images + noise, 0, 255).astype(np.uint8)

    return add_noise


def _low_contrast(contrast: float) -> Callable[[Images], Images]:
    return lambda images: (images * contrast).astype(np.uint8)
