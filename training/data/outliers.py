"""Outlier exposure: images that are no digits, whose training target is the uniform distribution.

Hendrycks, Mazeika and Dietterich, "Deep anomaly detection with outlier exposure" (ICLR 2019). The pool has glyphs
(letters and symbols of the fonts that Matplotlib ships, and pairs of training digits side by side), drawings of a pen
(handwritten letters and symbols of several scripts, and scribbles: training/data/letter_strokes.py) and textures
(noise, smooth noise, uniform grey). The OOD sets of `training/evaluation/ood_sets.py` share no font, no digit and no
drawn script with it.
"""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from training.data import augment, glyphs, letter_strokes
from training.recipe import Recipe
from training.types import Images

FONTS = ("DejaVuSans*", "DejaVuSerif*", "STIXGeneral*", "cmb10", "cmr10", "cmss10", "cmti10", "cmtt10")
ASCII = (0x21, 0x7E)
RANGES = ((0xA1, 0x17F), (0x386, 0x3CE), (0x400, 0x45F), (0x2190, 0x22FF), (0x25A0, 0x26FF))
"""Accented Latin, Greek, Cyrillic, arrows and mathematical operators, geometric shapes and symbols."""
ASCII_REPEATS = 8  # Latin letters are the most frequent outliers in requests
MAX_BOLD = 3
PAIRS, TEXTURES = 2500, 10_000  # images of each in the pool
DRAWN_SCRIPTS = ("arabic", "cyrillic", "devanagari", "greek", "hangul", "hebrew", "latin", "runes", "symbols")
"""The scripts of the drawings; the others are an OOD set."""
LATIN_REPEATS = 3  # as ASCII_REPEATS
DRAWINGS = 20  # of each form in the pool
SCRIBBLES = 4000
TEXTURE_SHARE, DRAWN_SHARE = 0.18, 0.41
"""Shares of the sampled outliers; the others are glyphs."""
DISTORTION: dict[str, Any] = {"rotation": 15.0, "scaling": 0.25, "shear": 0.4, "shift": 2.0, "elastic_std": 1.5}
"""That of the glyphs: stronger than that of the digits, so that printed characters resemble handwriting."""

GREY_LEVELS = (0, *range(0, 256, 5), 255)

Random = np.random.Generator


class OutlierPool(NamedTuple):
    """Images uint8 [N, 28, 28]. Sampling distorts glyphs, augments drawings as it does digits, and keeps textures."""

    glyphs: Images
    drawings: Images
    textures: Images


def build_pool(digits: Images, seed: int) -> OutlierPool:
    """Build the pool; the pairs are made of training digits uint8 [N, 28, 28]. The same seed gives the same pool."""
    random = np.random.default_rng([seed, 1])
    characters = np.concatenate([_render_characters(random), _pairs(digits, random)])
    return OutlierPool(characters, _draw(random), _textures(random))


def sample(pool: OutlierPool, count: int, recipe: Recipe, key: tuple[int, int]) -> Images:
    """Sample outliers uint8 [count, 28, 28] in random order; the same recipe and key give the same images."""
    random = np.random.default_rng(key)
    drawn, textures = int(DRAWN_SHARE * count), int(TEXTURE_SHARE * count)
    characters = _choose(pool.glyphs, count - drawn - textures, random)
    sampled = [
        augment.augmented_copy(characters, dataclasses.replace(recipe, **DISTORTION), key),
        augment.augmented_copy(_choose(pool.drawings, drawn, random), recipe, key),
        _choose(pool.textures, textures, random),
    ]
    return np.concatenate(sampled)[random.permutation(count)]


def fonts() -> list[Path]:
    """The text fonts that Matplotlib ships."""
    directory = Path(mpl.get_data_path()) / "fonts" / "ttf"
    paths = sorted({path for name in FONTS for path in directory.glob(f"{name}.ttf")})
    return [path for path in paths if "Display" not in path.name]


def _render_characters(random: Random) -> Images:
    images = []
    for font in fonts():
        text = glyphs.non_digit_characters(font, RANGES) + ASCII_REPEATS * glyphs.non_digit_characters(font, [ASCII])
        images += glyphs.render_glyphs(font, text, random.integers(0, MAX_BOLD + 1, len(text)).tolist())
    return np.array(images)


def _draw(random: Random) -> Images:
    scripts = [*DRAWN_SCRIPTS, *(LATIN_REPEATS - 1) * ["latin"]]
    letters = letter_strokes.draw_letters(scripts, DRAWINGS, random)
    return np.concatenate([letters, letter_strokes.draw_scribbles(SCRIBBLES, random)])


def _choose(images: Images, count: int, random: Random) -> Images:
    return images[random.integers(0, len(images), count)]


def _pairs(digits: Images, random: Random) -> Images:
    return glyphs.side_by_side(_choose(digits, PAIRS, random), _choose(digits, PAIRS, random))


def _textures(random: Random) -> Images:
    """Uniform grey, independent noise per pixel, and smooth noise on the full image or in a rectangle."""
    kinds = random.integers(0, 8, TEXTURES)
    makers = {0: _uniform, 1: _noise, 2: _noise}
    return np.array([makers.get(kind, _smooth_noise)(random) for kind in kinds])


def _uniform(random: Random) -> Images:
    return np.full((28, 28), GREY_LEVELS[random.integers(len(GREY_LEVELS))], np.uint8)


def _noise(random: Random) -> Images:
    values = random.normal(random.uniform(0, 255), random.uniform(5, 120), (28, 28))
    return _clip_to_uint8(values)


def _smooth_noise(random: Random) -> Images:
    smooth = ndimage.gaussian_filter(random.normal(size=(28, 28)), random.uniform(0.3, 6), mode="constant")
    values = (smooth / smooth.std() - random.uniform(-1, 1)) * random.uniform(20, 255) + random.uniform(0, 128)
    if random.random() < 0.6:
        height, width = random.integers(8, 29, 2)
        top, left = random.integers(0, 29 - height), random.integers(0, 29 - width)
        window = np.zeros((28, 28), bool)
        window[top : top + height, left : left + width] = True
        values = np.where(window, values, 0)
    return _clip_to_uint8(values)


def _clip_to_uint8(values: npt.NDArray[np.float64]) -> Images:
    return np.asarray(np.clip(values, 0, 255), np.uint8)
