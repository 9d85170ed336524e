"""Handwritten letters and symbols of many scripts, and scribbles of none, as strokes of a pen (training/data/pen.py).

A file letters/SCRIPT.toml has the forms of each character of a script. A form is one line of text:

    A = ["5,100 50,0 | 95,100 / 22,64 80,62"]

A point `x,y` is in hundredths of the height, x to the right, y down. The curve through the points is smooth, `|` makes
the point before it a corner, `/` lifts the pen, and `@x,y,a,b,from,to` stands for points of an ellipse around (x, y)
with the half-axes a and b between two angles in degrees: 0 is to the right, 90 down.
"""

import math
import tomllib
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np

from training.data import pen
from training.data.pen import Uniform
from training.data.strokes import Piece, Random, Strokes
from training.types import Images

LETTERS = Path(__file__).parent / "letters"
SCRIBBLES = (
    *((1, 10), (1, 12), (1, 14)),
    *((2, 5), (2, 6), (2, 8)),
    *((3, 4), (3, 5), (3, 6)),
    *((4, 3), (4, 4), (4, 5)),
    *((5, 2), (5, 3), (5, 4)),
)
"""The numbers of strokes, and of points in each, of the kinds of scribbles.

Simpler ones may be a digit by chance: version 4 is certain of 18 % with one stroke of 6 points or two of 3, and of 4 %
of these.
"""
_ARC_STEP = 45  # degrees


def script_names() -> list[str]:
    """The names of the scripts, sorted."""
    return sorted(path.stem for path in LETTERS.glob("*.toml"))


def load_script(name: str) -> dict[str, list[Strokes]]:
    """The forms of each character of a script."""
    text = (LETTERS / f"{name}.toml").read_text(encoding="utf-8")
    return {character: [parse_form(form) for form in forms] for character, forms in tomllib.loads(text).items()}


def parse_form(text: str) -> Strokes:
    """The strokes of a form, from the text that the module's docstring explains.

    Raises:
        ValueError: a point is not two numbers, or an ellipse not six.
    """
    return [_parse_stroke(stroke) for stroke in text.split("/")]


def _parse_stroke(text: str) -> list[Piece]:
    pieces: list[Piece] = []
    corner: list[tuple[float, float]] = []
    for part in text.split("|"):
        points = [*corner, *(point for item in part.split() for point in _parse_item(item))]
        corner = points[-1:]
        if len(points) > 1:  # a corner at the first point of a stroke has no curve before it
            pieces.append(points)
    return pieces


def _parse_item(item: str) -> list[tuple[float, float]]:
    if not item.startswith("@"):
        x, y = (float(number) for number in item.split(","))
        return [(x, y)]
    x, y, a, b, begin, end = (float(number) for number in item[1:].split(","))
    angles = np.radians(np.linspace(begin, end, max(3, math.ceil(abs(end - begin) / _ARC_STEP) + 1)))
    return [(x + a * math.cos(angle), y + b * math.sin(angle)) for angle in angles]


def draw_letters(scripts: Iterable[str], drawings: int, random: Random) -> Images:
    """Draw every form of the scripts `drawings` times, in order: uint8 [forms * drawings, 28, 28]."""
    forms = [form for script in scripts for forms in load_script(script).values() for form in forms]
    return np.concatenate([_draw(form, drawings, random) for form in forms])


def _draw(form: Strokes, count: int, random: Random) -> Images:
    return pen.draw(lambda _: form, count, random)


def draw_scribbles(count: int, random: Random) -> Images:
    """Draw random strokes, the characters of no script: uint8 [count, 28, 28], about as many of each kind."""
    kinds = zip(SCRIBBLES, np.array_split(np.arange(count), len(SCRIBBLES)), strict=True)
    images = [pen.draw(partial(_scribble, *kind), len(part), random) for kind, part in kinds if len(part)]
    return np.concatenate(images)


def _scribble(strokes: int, points: int, uniform: Uniform) -> Strokes:
    return [[[(uniform(0, 100), uniform(0, 100)) for _ in range(points)]] for _ in range(strokes)]
