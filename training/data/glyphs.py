"""Synthetic images in MNIST's form: characters of fonts, and pairs of digits."""

import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from training.errors import DataError
from training.types import Images

DIGIT_LOOKALIKES = frozenset(
    "OoQDIl|!iıjȷSsZzBbGgq\\/-_.,'`:;¡()[]{}~^\"¨¯´¸¦—–°¬>"  # noqa: RUF001 - the ambiguity is intended
    "οΟσϲΙιΡρθΘОоІіЇїЈјЗзЅѕбЬьЪъЫыЭэЧчРрϴ"
    "∘○◦●∣∕∖∅∫∮ƨƷʒ□◯⁄"  # noqa: RUF001
)
"""Characters that look like a digit or like a part of one in some handwriting; they are neither digit nor outlier."""

_SIZE, _CANVAS, _ORIGIN = 64, (160, 140), (40, 25)  # pixels; every character of every font fits
_INK = 20  # grey level; darker pixels belong to no stroke
_CENTRE = 14.0  # row and column, from 0, of the centre of mass of MNIST's images
_MIN_INK = 60  # pixels; a glyph with fewer is a dot or is missing in the font


def to_mnist_form(grey: Images) -> Images:
    """Scale the ink to a box of 20 pixels and centre it by its mass, as http://yann.lecun.com/exdb/mnist/ describes.

    service/imaging/mnist_format.py does the same for pictures; the two packages share no code.

    Args:
        grey: uint8 [H, W], light ink on a dark background, not blank.

    Returns:
        uint8 [28, 28].
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
    """Combine two digits in one image: uint8 [N, 28, 28], twice -> uint8 [N, 28, 28]."""
    pairs = np.concatenate([left[:, :, 4:-4], right[:, :, 4:-4]], axis=2)
    return np.array([to_mnist_form(pair) for pair in pairs])


def non_digit_characters(font: Path, ranges: Iterable[tuple[int, int]]) -> list[str]:
    """The letters and symbols of a font within these inclusive ranges of code points that do not look like a digit."""
    with _naming_a_damaged_font(font):
        charmap = FT2Font(str(font)).get_charmap()
    available = (chr(code) for first, last in ranges for code in range(first, last + 1) if code in charmap)
    return [character for character in available if is_not_a_digit(character)]


@contextmanager
def _naming_a_damaged_font(font: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:  # of Matplotlib, of Pillow, and of both
        reason = " ".join(str(error).split())
        raise DataError(f"the font {font} cannot be used ({reason}); install again what it belongs to") from error


def is_not_a_digit(character: str) -> bool:
    """Whether a character is a letter or symbol that, without its accents, does not look like a digit."""
    bases = [base for base in unicodedata.normalize("NFKD", character) if not unicodedata.combining(base)]
    return unicodedata.category(character)[0] in "LSP" and not any(
        base in DIGIT_LOOKALIKES or base.isdigit() for base in bases
    )


def render_glyphs(font: Path, text: Iterable[str], bold: Iterable[int]) -> list[Images]:
    """Render characters in MNIST's form.

    Args:
        font: a font file.
        text: the characters; one whose glyph is blank or nearly blank is omitted.
        bold: for each character, the pixels (0, 1, 2, ...) added on each side of its strokes at a font size of 64.

    Returns:
        Images uint8 [28, 28], in order.

    Raises:
        DataError: the font is damaged.
    """
    with _naming_a_damaged_font(font):
        face = ImageFont.truetype(font, _SIZE)
    images = []
    for character, pixels in zip(text, bold, strict=True):
        canvas = Image.new("L", _CANVAS)
        with _naming_a_damaged_font(font):
            ImageDraw.Draw(canvas).text(_ORIGIN, character, 255, font=face)
        grey = np.asarray(canvas.filter(ImageFilter.MaxFilter(2 * pixels + 1)))
        if np.count_nonzero(grey > _INK) > _MIN_INK:
            images.append(to_mnist_form(grey))
    return images
