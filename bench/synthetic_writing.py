"""Lines of writing made of images of MNIST: the layer of ink that bench/synthetic_pages.py puts on paper.

An image uint8 [28, 28], 0 background to 255 ink, is cropped to its ink and enlarged smoothly: the 20 pixels of its
longer side become the height of a digit on the page. The result is a mask of mode L: 0 paper, 255 ink.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageOps

from bench.synthetic_photos import Pixels, Random

Lines = Sequence[Sequence[Pixels]]
"""Images of the digits of each line, from top to bottom, each line from left to right."""
Range = tuple[float, float]

DIGIT_HEIGHTS = (40, 160)
"""Pixels, between which the height of a page's digits is drawn."""
MNIST_HEIGHT = 20
"""Pixels of the longer side of a digit of MNIST."""
MIN_INK = 64
"""Levels of 255: a pixel of more counts as ink where digits touch each other or the edge."""
SIDES = ("left", "top", "right", "bottom")


@dataclass(frozen=True)
class Writing:
    """How lines are written. Ranges are of uniform distributions; lengths are in heights of a digit.

    Attributes:
        gap: columns between two digits; drawn for each line.
        is_close: whether the gap is the distance of the ink instead of the columns, as in fast writing.
        touching: share of neighbours that are moved together until they touch.
        leading: rows between two lines.
        sizes: height of a line's digits as a share of the page's.
        slope: degrees by which the lines rise to the right; the digits stay upright.
        margin: of the page, drawn for each side.
        bare_sides: sides without a margin: at least one digit touches that edge of the picture.
        underlined: whether each line has an underline that touches its digits.
    """

    gap: Range = (0.15, 0.6)
    is_close: bool = False
    touching: float = 0
    leading: Range = (0.4, 1.2)
    sizes: Range = (0.9, 1.0)
    slope: float = 0
    margin: Range = (0.5, 2.5)
    bare_sides: tuple[str, ...] = ()
    underlined: bool = False


@dataclass(frozen=True)
class Glyph:
    """The ink of a digit, uint8 [H, W] without empty columns, and the column and row of its top left pixel."""

    ink: Pixels
    left: int
    top: int

    @property
    def end(self) -> tuple[int, int]:
        """The column and the row behind its last pixel."""
        return self.left + self.ink.shape[1], self.top + self.ink.shape[0]


def write_lines(lines: Lines, writing: Writing, random: Random) -> tuple[Image.Image, float]:
    """Write the lines: a mask of mode L, and the height of a digit in pixels."""
    height, top = random.uniform(*DIGIT_HEIGHTS), 0.0
    rows: list[list[Glyph]] = []
    for line in lines:
        size = height * random.uniform(*writing.sizes)
        indent = 0 if writing.bare_sides else random.uniform(0, 0.4) * height
        rows.append(_place_digits(line, size, (indent, top), writing, random))
        top += size + height * random.uniform(*writing.leading)
    page = _draw_glyphs([glyph for row in rows for glyph in row])
    for row in rows if writing.underlined else ():
        _underline(page, row, random)
    return _add_margins(page, height, writing, random), height


def _place_digits(
    line: Sequence[Pixels], size: float, start: tuple[float, float], writing: Writing, random: Random
) -> list[Glyph]:
    """Place the digits of a line whose first digit begins at `start`, its column and row."""
    left, top = start
    gap, rise = size * random.uniform(*writing.gap), math.tan(math.radians(writing.slope))
    inks = [_enlarge_digit(image, size, random) for image in line]
    glyphs: list[Glyph] = []
    for ink in inks:
        if glyphs:
            is_touching = random.random() < writing.touching
            space = -0.03 * size if is_touching else gap * random.uniform(0.8, 1.2)
            distance = _ink_distance(glyphs[-1].ink, ink) if is_touching or writing.is_close else 0
            left += glyphs[-1].ink.shape[1] + space - distance
        glyphs.append(Glyph(ink, round(left), round(top - rise * left)))
    return glyphs


def _enlarge_digit(image: Pixels, size: float, random: Random) -> Pixels:
    """The digit, in the middle of 1.2 `size` rows or a little above or below it."""
    columns, rows = (np.flatnonzero((image > 0).any(axis=axis)) for axis in (0, 1))
    digit = np.pad(image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], 1)
    width, height = (round(side * size / MNIST_HEIGHT) for side in digit.shape[::-1])
    smooth = np.asarray(Image.fromarray(digit).resize((width, height), Image.Resampling.BICUBIC), np.float64)
    contrast = random.uniform(1, 3)  # of the edges: a soft pencil to a marker
    ink = np.where(smooth > 8, np.clip((smooth - 100) * contrast + 100, 0, 255), 0).astype(np.uint8)
    ink = ink[:, (ink > MIN_INK).any(axis=0)]
    space = max(0, round(1.2 * size) - height)
    above = min(space, max(0, round(space / 2 + size * random.normal(0, 0.03))))
    return np.pad(ink, ((above, space - above), (0, 0)))


def _ink_distance(left: Pixels, right: Pixels) -> int:
    """Columns without ink between two digits whose boxes are side by side, in the row with the fewest."""
    rows = min(len(left), len(right))
    before, after = left[:rows, ::-1] > MIN_INK, right[:rows] > MIN_INK
    both = before.any(axis=1) & after.any(axis=1)
    return int((before.argmax(axis=1) + after.argmax(axis=1))[both].min()) if both.any() else 0


def _draw_glyphs(glyphs: Sequence[Glyph]) -> Image.Image:
    """Draw all digits; rows above the first are added as far as a digit needs them."""
    size = tuple(max(glyph.end[axis] for glyph in glyphs) for axis in (0, 1))
    lift = max(0, -min(glyph.top for glyph in glyphs))
    page = Image.new("L", (size[0], size[1] + lift))
    for glyph in glyphs:
        region = (glyph.left, glyph.top + lift, glyph.end[0], glyph.end[1] + lift)
        page.paste(ImageChops.lighter(page.crop(region), Image.fromarray(glyph.ink)), region[:2])
    return page


def _underline(page: Image.Image, row: Sequence[Glyph], random: Random) -> None:
    """Draw a line from the first digit to the last that touches the feet of most of them."""
    size = row[0].ink.shape[0] / 1.2
    feet = [glyph.top + int(np.flatnonzero(glyph.ink.max(axis=1) > MIN_INK)[-1]) for glyph in row]
    level = float(np.median(feet)) - size * random.uniform(-0.02, 0.06)
    ends = [(x, level + size * random.normal(0, 0.02)) for x in (row[0].left, row[-1].end[0])]
    ImageDraw.Draw(page).line(ends, fill=255, width=max(2, round(size * random.uniform(0.05, 0.09))))


def _add_margins(page: Image.Image, height: float, writing: Writing, random: Random) -> Image.Image:
    """Crop to the ink, and add the margins."""
    ink = page.crop(page.point(lambda level: 255 * (level > MIN_INK)).getbbox())
    margins = {side: round(height * random.uniform(*writing.margin)) for side in SIDES}
    border = tuple(0 if side in writing.bare_sides else margins[side] for side in SIDES)
    return ImageOps.expand(ink, border, 0)
