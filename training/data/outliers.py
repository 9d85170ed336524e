"""Images that are no digits, for training to say so: the network aims at ten equal probabilities for them.

Outlier exposure: Hendrycks, Mazeika and Dietterich, "Deep anomaly detection with outlier exposure"
(ICLR 2019). The shapes are letters and symbols of the fonts that come with Matplotlib, and pairs of
training digits side by side. The fields are noise, textures and even grey. `training/evaluation/ood_sets.py`, which
measures what this is worth, has other fonts, other hands and other digits.
"""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from training.data import augment, glyphs
from training.data.glyphs import Images
from training.recipe import Recipe

FONTS = ("DejaVuSans*", "DejaVuSerif*", "STIXGeneral*", "cmb10", "cmr10", "cmss10", "cmti10", "cmtt10")
ASCII = (0x21, 0x7E)
RANGES = ((0xA1, 0x17F), (0x386, 0x3CE), (0x400, 0x45F), (0x2190, 0x22FF), (0x25A0, 0x26FF))
"""Latin with accents, Greek, Cyrillic, arrows and mathematics, shapes and symbols."""
ASCII_TIMES = 8  # Latin letters are what a service meets most
BOLDEST = 3
PAIRS, TEXTURES = 2500, 10_000  # how many of each the bank has
TEXTURE_SHARE = 0.18
DISTORTION: dict[str, Any] = {"rotation": 15.0, "scaling": 0.25, "shear": 0.4, "shift": 2.0, "elastic_std": 1.5}
"""Stronger than that of the digits: print becomes something like handwriting."""

LEVELS = (0, *range(0, 256, 5), 255)

Random = np.random.Generator


class OutlierPool(NamedTuple):
    """Images uint8 [N, 28, 28]. Shapes are distorted when they are drawn, fields are not."""

    glyphs: Images
    textures: Images


def build_pool(digits: Images, seed: int) -> OutlierPool:
    """Make the bank from training digits [N, 28, 28]; the same seed gives the same bank."""
    random = np.random.default_rng([seed, 1])
    return OutlierPool(np.concatenate([_render_characters(random), _pairs(digits, random)]), _textures(random))


def sample(bank: OutlierPool, count: int, recipe: Recipe, key: tuple[int, int]) -> Images:
    """`count` images of the bank, in random order; the same recipe and key give the same images."""
    random = np.random.default_rng(key)
    fields = int(TEXTURE_SHARE * count)
    shapes = bank.glyphs[random.integers(0, len(bank.glyphs), count - fields)]
    distorted = augment.augmented_copy(shapes, dataclasses.replace(recipe, **DISTORTION), key)
    drawn = np.concatenate([distorted, bank.textures[random.integers(0, len(bank.textures), fields)]])
    return drawn[random.permutation(count)]


def fonts() -> list[Path]:
    """The text fonts that Matplotlib brings along."""
    directory = Path(mpl.get_data_path()) / "fonts" / "ttf"
    found = sorted({path for name in FONTS for path in directory.glob(f"{name}.ttf")})
    return [path for path in found if "Display" not in path.name]


def _render_characters(random: Random) -> Images:
    images = []
    for font in fonts():
        text = glyphs.non_digit_characters(font, RANGES) + ASCII_TIMES * glyphs.non_digit_characters(font, [ASCII])
        images += glyphs.render_glyphs(font, text, random.integers(0, BOLDEST + 1, len(text)).tolist())
    return np.array(images)


def _choose(digits: Images, count: int, random: Random) -> Images:
    return digits[random.integers(0, len(digits), count)]


def _pairs(digits: Images, random: Random) -> Images:
    return glyphs.side_by_side(_choose(digits, PAIRS, random), _choose(digits, PAIRS, random))


def _textures(random: Random) -> Images:
    """Grey of one level, noise of each pixel on its own, and smooth noise, whole or in a rectangle."""
    ways = random.integers(0, 8, TEXTURES)
    makers = {0: _uniform, 1: _noise, 2: _noise}
    return np.array([makers.get(way, _texture)(random) for way in ways])


def _uniform(random: Random) -> Images:
    return np.full((28, 28), LEVELS[random.integers(len(LEVELS))], np.uint8)


def _noise(random: Random) -> Images:
    values = random.normal(random.uniform(0, 255), random.uniform(5, 120), (28, 28))
    return _grey(values)


def _texture(random: Random) -> Images:
    smooth = ndimage.gaussian_filter(random.normal(size=(28, 28)), random.uniform(0.3, 6), mode="constant")
    values = (smooth / smooth.std() - random.uniform(-1, 1)) * random.uniform(20, 255) + random.uniform(0, 128)
    if random.random() < 0.6:
        height, width = random.integers(8, 29, 2)
        top, left = random.integers(0, 29 - height), random.integers(0, 29 - width)
        window = np.zeros((28, 28), bool)
        window[top : top + height, left : left + width] = True
        values = np.where(window, values, 0)
    return _grey(values)


def _grey(values: npt.NDArray[np.float64]) -> Images:
    return np.asarray(np.clip(values, 0, 255), np.uint8)
