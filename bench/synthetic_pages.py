"""Synthetic pages of numbers, as people photograph them: ruled and squared paper, a phone at the border, a lamp.

Each scene makes the bytes of a picture file from the images of one to four lines and a random generator; those of one
digit take one image, as the scenes of bench/synthetic_photos.py do. The names of the scenes are rows of the published
table, and seed the generator in bench/page_accuracy.py.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from PIL import Image, ImageFilter, ImageOps

from bench.synthetic_paper import GRIDS, Colour, PaperMaker, blackboard, coloured, grey, ruled, squared, white
from bench.synthetic_photos import Pixels, Random, Scene, add_lamp, add_noise, encode, encode_jpeg
from bench.synthetic_things import THINGS, cover_side
from bench.synthetic_writing import SIDES, Lines, Writing, write_lines

PageScene = Callable[[Lines, Random], bytes]
Finish = Callable[[Image.Image, float, Random], bytes]
"""From the page of mode RGB, the height of a digit in pixels and a random generator: the picture file."""

SHARES = (10, 20, 30)
"""Percent of the picture's height or width that a thing at its border covers."""
MARGINS_OF_CUT_OUT = (0.0, 0.2)


def scenes() -> dict[str, PageScene]:
    """All scenes of pages by name."""
    right, both = ("right",), ("left", "right")
    pages = (
        {"plain, scanned": Page(finish=save), "plain": Page(), "ruled": Page(paper=ruled)}
        | {f"squared, {name}": Page(paper=partial(squared, grid=grid)) for name, grid in GRIDS.items()}
        | {"coloured paper and ink": Page(paper=coloured), "chalk on a blackboard": Page(paper=blackboard)}
        | {"a lamp on one side: 40 % of its light": Page(finish=partial(photograph, darkest=0.4))}
        | {f"{thing} over {share} %": Page(thing=thing, share=share / 100) for thing in THINGS for share in SHARES}
        | {"5 degrees askew": Page(angle=5), "5 degrees askew, squared": Page(angle=5, paper=squared)}
        | {"lines that rise by 10 degrees": Page(Writing(slope=10))}
        | {"lines that fall by 10 degrees": Page(Writing(slope=-10))}
        | {"lines of different size": Page(Writing(sizes=(0.4, 1.0)))}
        | {"no margin on the right": Page(Writing(bare_sides=right), finish=save)}
        | {"no margin on the left and the right": Page(Writing(bare_sides=both), finish=save)}
        | {"no margin, a photo": Page(Writing(bare_sides=both))}
        | {"cropped to the ink": Page(Writing(bare_sides=SIDES), finish=save)}
        | {"close digits": Page(Writing(gap=(0.05, 0.12), is_close=True))}
        | {"touching digits": Page(Writing(gap=(0.1, 0.3), touching=0.4))}
        | {"an underline that touches": Page(Writing(underlined=True, leading=(0.6, 1.2)))}
        | {"a grey cut-out on white": Page(Writing(margin=MARGINS_OF_CUT_OUT), grey, finish=paste_on_white)}
        | {"phone, squared, lamp, 3 degrees": Page(paper=squared, thing="a phone", share=0.2, angle=3, finish=_dim)}
    )
    return {**pages, "a transparent canvas": draw_on_canvas}


def single_digit_scenes() -> dict[str, Scene]:
    """All scenes of one digit by name."""
    return {f"one digit, {name}": _with_one_digit(scene) for name, scene in scenes().items() if _fits_one_digit(name)}


@dataclass(frozen=True)
class Page:
    """A picture of lines of writing on paper.

    Attributes:
        writing: how the lines are written.
        paper: makes the paper, and chooses the pen.
        thing: what covers a random side of the picture: a name in THINGS.
        share: how much of the height or the width it covers, from 0 to 1.
        angle: degrees by which the page is turned, to either side.
        finish: makes the file.
    """

    writing: Writing = field(default_factory=Writing)
    paper: PaperMaker = white
    thing: str = ""
    share: float = 0
    angle: float = 0
    finish: Finish | None = None

    def __call__(self, lines: Lines, random: Random) -> bytes:
        """The picture file."""
        ink, height = write_lines(lines, self.writing, random)
        side, angle = str(random.choice(SIDES)), self.angle * random.choice([-1, 1])
        ink = ink.rotate(angle, Image.Resampling.BICUBIC, expand=True) if angle else ink
        if self.thing in THINGS and self.thing != "a shadow":
            ink = _make_room(ink, side, self.share)
        page, pen = _turn_paper(self.paper, ink.size, height, angle, random)
        page.paste(pen, mask=ink)
        if self.thing:
            page = cover_side(page, side, THINGS[self.thing], self.share, random)
        return (self.finish or photograph)(page, height, random)


def photograph(page: Image.Image, height: float, random: Random, darkest: float | None = None) -> bytes:
    """The page under a lamp as a phone's camera sees it: uneven light, blur and noise; a JPEG file."""
    lit = add_lamp(page, random, random.uniform(0.65, 0.95) if darkest is None else darkest)
    blurred = lit.filter(ImageFilter.GaussianBlur(height * random.uniform(0.005, 0.02)))
    return encode_jpeg(add_noise(blurred, random, random.uniform(1, 6)), int(random.integers(60, 93)))


def save(page: Image.Image, _: float, random: Random) -> bytes:
    """The page as it is: a PNG file or a JPEG file."""
    return encode(page) if random.random() < 0.5 else encode_jpeg(page, int(random.integers(60, 96)))


def paste_on_white(page: Image.Image, height: float, random: Random) -> bytes:
    """The page pasted on a white picture, with a little noise on the page only."""
    margins = tuple(round(height * random.uniform(0.3, 1.5)) for _ in SIDES)
    return save(ImageOps.expand(add_noise(page, random, 2), margins, (255, 255, 255)), height, random)


def draw_on_canvas(lines: Lines, random: Random) -> bytes:
    """The writing on a transparent ground: a PNG file with an alpha channel."""
    alpha, _ = write_lines(lines, Writing(), random)
    canvas = Image.new("RGBA", alpha.size, (*_canvas_colour(random), 0))
    canvas.putalpha(alpha)
    return encode(canvas)


def _canvas_colour(random: Random) -> Colour:
    return (0, 0, 0) if random.random() < 0.5 else (255, 255, 255)


def _dim(page: Image.Image, height: float, random: Random) -> bytes:
    return photograph(page, height, random, darkest=0.5)


def _make_room(ink: Image.Image, side: str, share: float) -> Image.Image:
    """Extend the page at one side, so that a thing that covers this share of the whole leaves the ink free."""
    depth, length = ink.size if side in {"left", "right"} else ink.size[::-1]
    room = round((share * depth + 0.03 * length) / (1 - share))
    return ImageOps.expand(ink, tuple(room if each == side else 0 for each in SIDES), 0)


def _turn_paper(
    paper: PaperMaker, size: tuple[int, int], height: float, angle: float, random: Random
) -> tuple[Image.Image, Colour]:
    """Paper of this size whose lines are turned, and the pen's colour."""
    margin = round(0.1 * max(size)) if angle else 0
    page, pen = paper((size[0] + 2 * margin, size[1] + 2 * margin), height, random)
    if not angle:
        return page, pen
    turned = page.rotate(angle, Image.Resampling.BICUBIC)
    return turned.crop((margin, margin, margin + size[0], margin + size[1])), pen


def _with_one_digit(scene: PageScene) -> Scene:
    def one_digit(image: Pixels, random: Random) -> bytes:
        return scene([[image]], random)

    return one_digit


def _fits_one_digit(name: str) -> bool:
    return not name.startswith(("lines ", "close ", "touching "))
