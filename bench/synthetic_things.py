"""What covers a side of a photo besides the page: a phone, a shadow, the table below the paper."""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from bench.synthetic_paper import Colour
from bench.synthetic_photos import Random, add_noise, shade

DrawThing = Callable[[Image.Image, float, Random], Image.Image]
"""From a picture of mode RGB, a share of its height and a random generator: the picture with a thing at its foot."""

TURNS = {
    "left": (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_270),
    "top": (Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_180),
    "right": (Image.Transpose.ROTATE_270, Image.Transpose.ROTATE_90),
}
"""How a picture is turned to have this side at its foot, and back."""
MAX_TILT = 3.0
"""Degrees by which the edge of a thing is not parallel to the border."""
TABLES: tuple[Colour, ...] = ((95, 65, 40), (45, 42, 40), (140, 110, 80), (120, 120, 125), (30, 40, 70))
"""Dark and light wood, black, grey and blue."""


def cover_side(page: Image.Image, side: str, draw: DrawThing, share: float, random: Random) -> Image.Image:
    """Draw a thing over a share of the picture at one of its sides."""
    if side not in TURNS:
        return draw(page, share, random)
    turn, back = TURNS[side]
    return draw(page.transpose(turn), share, random).transpose(back)


def draw_phone(page: Image.Image, share: float, random: Random) -> Image.Image:
    """A phone or a book that reaches into the picture: half of them have rounded corners, a third a bright screen."""
    (width, height), pad = page.size, page.width // 4
    top = height * (1 - share)
    left = pad + width * random.uniform(-0.3, 0.45)
    box = [left, top, left + width * random.uniform(0.5, 1.5), 3 * height]
    radius, level = (width * random.uniform(0.02, 0.06) if random.random() < 0.5 else 0), int(random.integers(20, 60))
    overlay = Image.new("RGBA", (width + 2 * pad, 2 * height), (0, 0, 0, 0))
    draw = ImageDraw.Draw(overlay)
    draw.rounded_rectangle(box, radius, (level, level, level + 4, 255))
    if random.random() < 1 / 3:
        rim = 0.03 * width
        screen = tuple(int(part) for part in random.integers(70, 230, 3))
        draw.rounded_rectangle([box[0] + rim, top + 2 * rim, box[2] - rim, box[3]], radius, (*screen, 255))
    angle = random.uniform(-MAX_TILT, MAX_TILT)
    turned = overlay.rotate(angle, Image.Resampling.BICUBIC, center=(pad + width / 2, top))
    turned = turned.crop((pad, 0, pad + width, height))
    soft = turned.getchannel("A").filter(ImageFilter.BoxBlur(0.015 * width)).point(lambda alpha: 0.4 * alpha)
    covered = page.copy()
    covered.paste((0, 0, 0), mask=soft)
    covered.paste(turned, mask=turned)
    return covered


def draw_shadow(page: Image.Image, share: float, random: Random) -> Image.Image:
    """A shadow with a soft edge, over the writing too."""
    softness = page.height * random.uniform(0.005, 0.03)
    depth = _depth_below_edge(page, share, random)
    light = 1 - (1 - random.uniform(0.45, 0.7)) / (1 + np.exp(-np.clip(depth / softness, -50, 50)))
    return Image.fromarray(shade(page, light).astype(np.uint8))


def draw_table(page: Image.Image, share: float, random: Random) -> Image.Image:
    """The table on which the paper lies: grained, with a narrow shadow along the paper's edge."""
    colour = TABLES[int(random.integers(len(TABLES)))]
    grain = Image.new("RGB", (page.width // 8 + 1, page.height), colour)
    grain = add_noise(grain, random, 8).resize(page.size, Image.Resampling.BILINEAR)
    depth = _depth_below_edge(page, share, random)
    light = np.where(depth > 0, np.clip(0.5 + depth / (0.02 * page.height), 0, 1), 1)
    covered = page.copy()
    covered.paste(grain, mask=Image.fromarray(np.clip(255 * (depth + 0.5), 0, 255).astype(np.uint8)))
    return Image.fromarray(shade(covered, light).astype(np.uint8))


THINGS: dict[str, DrawThing] = {"a phone": draw_phone, "a shadow": draw_shadow, "the table": draw_table}


def _depth_below_edge(
    page: Image.Image, share: float, random: Random
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Rows from each pixel up to an edge across the picture, [H, W]; negative above it."""
    rise = math.tan(math.radians(random.uniform(-MAX_TILT, MAX_TILT)))
    rows, columns = np.arange(page.height)[:, None], np.arange(page.width)[None]
    return rows - page.height * (1 - share) - rise * (columns - page.width / 2)
