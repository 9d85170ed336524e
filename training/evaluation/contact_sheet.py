"""Contact sheets of the pictures that were read wrong or refused, each beside what the network was given.

A tile has label and answer, the picture as it was sent, the images 28x28 of its digits, and the name of the file. The
images are shown as the network gets them: light ink on dark ground. They stand on the right of the picture, or below a
wide one, with one line for each number.
"""

import io
import textwrap
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from training.atomic_write import atomic_write
from training.evaluation.labelled_pictures import PILLOW_ERRORS, LabelledPicture
from training.evaluation.own_pictures import PictureResult
from training.evaluation.picture_report import describe_answer

COLUMNS = 5
TILES_PER_SHEET = 50
TILE = (272, 204)
"""Width and height in pixels."""

Box = tuple[int, int, int, int]
"""Left, top, width and height in pixels."""

_MARGIN, _TOP = 8, 50
_SIDE_BY_SIDE = (_MARGIN, _TOP, 124, 124), (_MARGIN + 132, _TOP, 124, 124)
_STACKED = (_MARGIN, _TOP, 256, 80), (_MARGIN, _TOP + 84, 256, 42)
"""The boxes of the picture and of its digits."""
_WIDE = 1.6  # ratio of the sides from which a picture is larger in the upper box than in the left one
_PAPER, _TILE_COLOUR, _TEXT, _FAINT, _CERTAIN = "#d5dae1", "white", "#1a1a1a", "#6b7280", "#b42318"
_TRANSPARENT = "#bfc4cb"  # the ground of transparent pictures: black and white ink can be seen on it
_FONTS = Path(mpl.get_data_path(), "fonts", "ttf")


def write_sheets(results: Sequence[PictureResult], directory: Path) -> list[Path]:
    """Write wrong-1.png, wrong-2.png ... with up to 50 of the results on each; returns their paths."""
    paths: list[Path] = []
    for begin in range(0, len(results), TILES_PER_SHEET):
        path = directory / f"wrong-{len(paths) + 1}.png"
        stream = io.BytesIO()
        draw_sheet(results[begin : begin + TILES_PER_SHEET]).save(stream, "PNG")
        atomic_write(path, stream.getvalue())
        paths.append(path)
    return paths


def draw_sheet(results: Sequence[PictureResult]) -> Image.Image:
    """One sheet with a tile for each result, in rows of five."""
    rows, (width, height) = -(-len(results) // COLUMNS), TILE
    columns = min(COLUMNS, len(results))
    size = (columns * (width + _MARGIN) + _MARGIN, rows * (height + _MARGIN) + _MARGIN)
    sheet = Image.new("RGB", size, _PAPER)
    for index, result in enumerate(results):
        left, top = index % COLUMNS * (width + _MARGIN), index // COLUMNS * (height + _MARGIN)
        sheet.paste(draw_tile(result), (left + _MARGIN, top + _MARGIN))
    return sheet


def draw_tile(result: PictureResult) -> Image.Image:
    """The tile of one result."""
    tile = Image.new("RGB", TILE, _TILE_COLOUR)
    canvas = ImageDraw.Draw(tile)
    _draw_heading(canvas, result)
    picture = read_picture(result.picture, (256, 124))
    is_wide = picture is not None and picture.width > _WIDE * picture.height
    box, digits_box = _STACKED if is_wide else _SIDE_BY_SIDE
    if picture:
        _paste(tile, picture, box)
    else:
        canvas.text(box[:2], "cannot be shown", _FAINT, _font(11))
    for image, image_box in zip(result.images, _divide(digits_box, result), strict=False):
        _paste(tile, Image.fromarray(image), image_box)
    if not result.prediction:
        _draw_lines(canvas, result.refusal, digits_box)
    name = _shorten(result.picture.name, _font(10), TILE[0] - 2 * _MARGIN)
    canvas.text((_MARGIN, TILE[1] - _MARGIN), name, _FAINT, _font(10), anchor="ls")
    return tile


def read_picture(source: LabelledPicture, size: tuple[int, int]) -> Image.Image | None:
    """A picture in RGB, upright, and not larger than `size`; None if Pillow cannot read it."""
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(source.read())) as file:
            warnings.simplefilter("ignore")
            file.draft("RGB", size)
            picture = ImageOps.exif_transpose(file)
            if picture.mode.startswith(("I", "F")):
                picture = ImageOps.autocontrast(_to_8_bits(picture))
            picture = picture.convert("RGBA")
            picture.thumbnail(size)
            ground = Image.new("RGBA", picture.size, _TRANSPARENT)
            return Image.alpha_composite(ground, picture).convert("RGB")
    except PILLOW_ERRORS:
        return None


def _to_8_bits(picture: Image.Image) -> Image.Image:
    """A picture of 16 or 32 bits in 8 bits, from its darkest to its lightest pixel."""
    levels = np.asarray(picture, np.float64)
    scaled = (levels - levels.min()) / max(np.ptp(levels), 1e-9)
    return Image.fromarray((255 * np.nan_to_num(scaled)).astype(np.uint8))


def _draw_heading(canvas: ImageDraw.ImageDraw, result: PictureResult) -> None:
    """Label and answer, in two lines if they are long, above the confidence."""
    label, answer = "_".join(result.picture.label), describe_answer(result)
    answer = f"read as {answer}" if result.prediction else answer
    width = TILE[0] - 2 * _MARGIN
    size = next((size for size in (17, 14) if _font(size, bold=True).getlength(f"{label} {answer}") <= width), None)
    if size:
        canvas.text((_MARGIN, 23), f"{label} {answer}", _TEXT, _font(size, bold=True), anchor="ls")
    else:
        for bottom, text in ((15, label), (28, answer)):
            font = _font(11, bold=True)
            canvas.text((_MARGIN, bottom), _shorten(text, font, width), _TEXT, font, anchor="ls")
    if result.prediction:
        state, colour = ("certain", _CERTAIN) if result.is_certain else ("uncertain", _FAINT)
        canvas.text((_MARGIN, 42), f"{result.prediction.confidence:.1%}, {state}", colour, _font(11), anchor="ls")


def _divide(box: Box, result: PictureResult) -> list[Box]:
    """A square in the box for each digit, one line for each number."""
    numbers = result.prediction.numbers if result.prediction else ()
    left, top, width, height = box
    side = min(width // max(map(len, numbers), default=1), height // max(len(numbers), 1))
    squares = [(left + x * side, top + y * side) for y, number in enumerate(numbers) for x in range(len(number))]
    return [(x, y, max(side - 2, 1), max(side - 2, 1)) for x, y in squares]


def _draw_lines(canvas: ImageDraw.ImageDraw, text: str, box: Box) -> None:
    """Draw a text into a box, as much of it as fits."""
    left, top, width, height = box
    lines = textwrap.wrap(text, width // 6)[: height // 13]
    canvas.multiline_text((left, top), "\n".join(lines), _TEXT, _font(10))


def _paste(tile: Image.Image, picture: Image.Image, box: Box) -> None:
    """Paste a picture into the upper left corner of a box, as large as it fits, with a thin frame."""
    left, top, width, height = box
    scale = min(width / picture.width, height / picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    resample = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX
    tile.paste(picture.convert("RGB").resize(size, resample), (left, top))
    ImageDraw.Draw(tile).rectangle((left - 1, top - 1, left + size[0], top + size[1]), outline=_TRANSPARENT)


def _shorten(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """The text, or as much of its end as fits into the width in pixels."""
    if font.getlength(text) <= width:
        return text
    return next(f"...{text[begin:]}" for begin in range(len(text)) if font.getlength(f"...{text[begin:]}") <= width)


@cache
def _font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(_FONTS / f"DejaVuSans{'-Bold' if bold else ''}.ttf", size)
