"""Images drawn rather than collected: characters of fonts, and digits put together, in MNIST's form."""

import unicodedata
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Images = npt.NDArray[np.uint8]

DIGIT_LOOKALIKES = frozenset(
    "OoQDIl|!iıjȷSsZzBbGgq\\/-_.,'`:;¡()[]{}~^\"¨¯´¸¦—–°¬>"  # noqa: RUF001 - so they look
    "οΟσϲΙιΡρθΘОоІіЇїЈјЗзЅѕбЬьЪъЫыЭэЧчРрϴ"
    "∘○◦●∣∕∖∅∫∮ƨƷʒ□◯⁄"  # noqa: RUF001
)
"""Characters that somebody writes as one of the digits, or as a part of one: no network could tell."""

_SIZE, _CANVAS, _ORIGIN = 64, (160, 140), (40, 25)  # pixels; a character of any font is whole on it
_INK = 20  # grey level: what is lighter belongs to no stroke
_CENTRE = 14.0  # row and column, from 0: where the centre of mass of MNIST's own images is
_MIN_INK = 60  # pixels: less is a dot, or a glyph that the font does not have


def to_mnist_form(grey: Images) -> Images:
    """Bring a picture [H, W] with ink into MNIST's form: a 20 pixel box, its centre of mass in the middle.

    As http://yann.lecun.com/exdb/mnist/ describes it; light on dark, uint8 in and out, [28, 28].
    """
    rows, columns = np.nonzero(grey > _INK)
    ink = grey[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    scale = 20 / max(ink.shape)
    height, width = (max(1, round(side * scale)) for side in ink.shape)
    small = Image.fromarray(ink).resize((width, height), Image.Resampling.BOX)
    box = np.asarray(small, np.float64)
    down = box.sum(axis=1) @ np.arange(height) / box.sum()
    right = box.sum(axis=0) @ np.arange(width) / box.sum()
    top, left = min(max(round(_CENTRE - down), 0), 28 - height), min(max(round(_CENTRE - right), 0), 28 - width)
    image = np.zeros((28, 28), np.uint8)
    image[top : top + height, left : left + width] = box.round()
    return image


def side_by_side(left: Images, right: Images) -> Images:
    """Pairs of images [N, 28, 28] -> one image each that shows both."""
    pairs = np.concatenate([left[:, :, 4:-4], right[:, :, 4:-4]], axis=2)
    return np.array([to_mnist_form(pair) for pair in pairs])


def non_digit_characters(font: Path, ranges: Iterable[tuple[int, int]]) -> list[str]:
    """The letters and symbols that a font has between these code points and that look like no digit."""
    there = FT2Font(str(font)).get_charmap()
    drawn = (chr(code) for first, last in ranges for code in range(first, last + 1) if code in there)
    return [character for character in drawn if is_not_a_digit(character)]


def is_not_a_digit(character: str) -> bool:
    """Whether a character is a letter or symbol whose shape, apart from its accents, is not that of a digit."""
    bases = [part for part in unicodedata.normalize("NFKD", character) if not unicodedata.combining(part)]
    return unicodedata.category(character)[0] in "LSP" and not any(
        base in DIGIT_LOOKALIKES or base.isdigit() for base in bases
    )


def render_glyphs(font: Path, text: Iterable[str], bold: Iterable[int]) -> list[Images]:
    """Each character of `text` in MNIST's form, its strokes thickened by `bold` (0, 1, 2, ...) pixels of 64 each way.

    A character for which the font draws next to nothing is left out.
    """
    face = ImageFont.truetype(font, _SIZE)
    images = []
    for character, pixels in zip(text, bold, strict=True):
        canvas = Image.new("L", _CANVAS)
        ImageDraw.Draw(canvas).text(_ORIGIN, character, 255, font=face)
        grey = np.asarray(canvas.filter(ImageFilter.MaxFilter(2 * pixels + 1)))
        if np.count_nonzero(grey > _INK) > _MIN_INK:
            images.append(to_mnist_form(grey))
    return images
