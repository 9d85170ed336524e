"""Synthetic paper: plain, ruled, squared, coloured, a blackboard; each with a pen to write on it."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from bench.synthetic_photos import Random

Colour = tuple[int, int, int]
Size = tuple[int, int]
PaperMaker = Callable[[Size, float, Random], tuple[Image.Image, Colour]]
"""From the size in pixels, the height of a digit and a random generator: paper of mode RGB, and the pen's colour."""

COLOURED: tuple[tuple[Colour, Colour], ...] = (
    ((240, 220, 130), (40, 60, 160)),
    ((245, 200, 205), (30, 110, 60)),
    ((190, 225, 190), (190, 40, 40)),
    ((180, 145, 105), (35, 30, 30)),
    ((185, 210, 240), (20, 30, 110)),
    ((40, 42, 48), (235, 230, 215)),
    ((50, 80, 150), (245, 230, 120)),
)
"""Paper and pen: yellow, pink, green, brown, light blue, black and dark blue paper."""
PENS: tuple[Colour, ...] = ((35, 35, 40), (20, 30, 120), (60, 60, 65), (150, 30, 35))
"""Black, blue, pencil and red."""
GRIDS: dict[str, tuple[Colour, float]] = {
    "thin grey": ((178, 180, 184), 0.02),
    "medium grey": ((150, 152, 155), 0.045),
    "blue": ((135, 165, 215), 0.03),
    "as dark as the ink": ((60, 60, 65), 0.02),
}
"""Colour of the lines of squared paper, and their width as a share of a square's side."""


def white(size: Size, _: float, random: Random) -> tuple[Image.Image, Colour]:
    """White to light grey paper."""
    return Image.new("RGB", size, _paper_colour(random)), _choose(PENS, random)


def grey(size: Size, _: float, random: Random) -> tuple[Image.Image, Colour]:
    """Paper that is darker than white, as a scan or a photo shows it."""
    return Image.new("RGB", size, (int(random.integers(190, 235)),) * 3), _choose(PENS[:3], random)


def coloured(size: Size, _: float, random: Random) -> tuple[Image.Image, Colour]:
    """Coloured paper, with a pen of another colour."""
    paper, pen = COLOURED[int(random.integers(len(COLOURED)))]
    return Image.new("RGB", size, paper), pen


def ruled(size: Size, height: float, random: Random) -> tuple[Image.Image, Colour]:
    """Paper with grey, blue or black lines 1.3 to 2 digits apart; a third of it has a red line for the margin."""
    paper, pen = white(size, height, random)
    colour, width = GRIDS[str(random.choice(list(GRIDS)))]
    spacing = height * random.uniform(1.3, 2)
    _draw_grid(paper, (None, spacing), colour, width * height, random)
    if random.random() < 1 / 3:
        _draw_grid(paper, (size[0] * random.uniform(0.6, 1.2), None), (220, 120, 120), 0.03 * height, random)
    return paper, pen


def squared(
    size: Size, height: float, random: Random, grid: tuple[Colour, float] | None = None
) -> tuple[Image.Image, Colour]:
    """Paper with squares of 0.5 to 1.1 digits, in the given kind of line or a random one of GRIDS."""
    paper, pen = white(size, height, random)
    colour, width = grid or GRIDS[str(random.choice(list(GRIDS)))]
    spacing = height * random.uniform(0.5, 1.1)
    _draw_grid(paper, (spacing, spacing), colour, width * spacing, random)
    return paper, pen


def blackboard(size: Size, _: float, random: Random) -> tuple[Image.Image, Colour]:
    """A black or green board with smears of chalk, and chalk."""
    board = Image.new("RGB", size, _choose(((42, 45, 48), (35, 70, 60), (60, 75, 70)), random))
    smears = Image.fromarray(random.integers(0, 70, (6, 9), np.uint8)).resize(size, Image.Resampling.BICUBIC)
    board.paste((150, 155, 150), mask=smears)
    return board, (235, 235, 228)


def _draw_grid(
    paper: Image.Image, spacing: tuple[float | None, float | None], colour: Colour, width: float, random: Random
) -> None:
    """Draw vertical and horizontal lines this far apart, beginning anywhere within the first interval."""
    draw = ImageDraw.Draw(paper)
    for axis, step in enumerate(spacing):
        for place in np.arange(random.uniform(0, step), paper.size[axis], step) if step else ():
            ends = [(0, place), (paper.width, place)] if axis else [(place, 0), (place, paper.height)]
            draw.line(ends, fill=colour, width=max(1, round(width)))


def _paper_colour(random: Random) -> Colour:
    red, green, blue = np.clip(random.integers(215, 253) + random.integers(-5, 6, 3), 0, 255)
    return int(red), int(green), int(blue)


def _choose(colours: tuple[Colour, ...], random: Random) -> Colour:
    return colours[int(random.integers(len(colours)))]
