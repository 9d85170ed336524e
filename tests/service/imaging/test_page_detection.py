"""Tests page detection on drawn bars, frames and sheets on a table, whose edges are known."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from service.imaging.geometry import Box
from service.imaging.page_detection import _bar_height, _find_sheet_on_table, _has_straight_sides, find_page
from tests.service.payloads import Pixels

SIDE = 300


def draw_page(level: int = 230) -> Pixels:
    """A page with a 0 on it."""
    radius = np.hypot(*np.ogrid[-SIDE // 2 : SIDE // 2, -SIDE // 2 : SIDE // 2])
    return np.where((radius > 60) & (radius < 85), 30, level).astype(np.uint8)


def put_on_table(margins: tuple[int, int, int, int], *, table: int = 40, noise: float = 0) -> Pixels:
    """The page with margins of table above, below, left and right."""
    pixels = np.pad(draw_page(), (margins[:2], margins[2:]), constant_values=table)
    return np.clip(pixels + np.random.default_rng(0).normal(0, noise, pixels.shape), 0, 255).astype(np.uint8)


def assert_within(found: Box, expected: Box, tolerance: int) -> None:
    """Check that a box lies inside of the expected one, and hardly loses anything of it."""
    assert found.top >= expected.top
    assert found.left >= expected.left
    assert found.bottom <= expected.bottom
    assert found.right <= expected.right
    assert np.abs(np.subtract(found, expected)).max() <= tolerance


@pytest.mark.parametrize(
    "pixels",
    [draw_page(), 255 - draw_page(), draw_page()[100:200], np.kron(draw_page(), np.ones((4, 4), np.uint8))],
)
def test_a_page_that_fills_the_picture_is_the_whole_picture(pixels: Pixels) -> None:
    assert find_page(Image.fromarray(pixels)) == (0, pixels.shape[0], 0, pixels.shape[1])


@pytest.mark.parametrize(
    ("margins", "table"),
    [((1, 1, 1, 1), 0), ((3, 3, 3, 3), 90), ((12, 12, 12, 12), 0), ((80, 80, 0, 0), 0), ((0, 0, 100, 90), 20)],
)
def test_crops_bars_and_frames(margins: tuple[int, int, int, int], table: int) -> None:
    top, _, left, _ = margins
    found = find_page(Image.fromarray(put_on_table(margins, table=table)))
    assert_within(found, Box(top, top + SIDE, left, left + SIDE), 20)


@pytest.mark.parametrize(
    ("margins", "expected"),
    [
        ((80, 80, 0, 0), (84, 376, 0, 300)),
        ((0, 0, 100, 90), (0, 300, 104, 396)),
        ((40, 60, 20, 30), (44, 336, 24, 316)),
    ],
)
def test_cuts_two_analysed_pixels_inside_the_bars(
    margins: tuple[int, int, int, int], expected: tuple[int, int, int, int]
) -> None:
    """The picture is analysed at half of its size, so the inset is four pixels; a border without a bar has none."""
    assert find_page(Image.fromarray(put_on_table(margins, table=0))) == expected


def test_crops_a_drawn_frame_with_a_margin_around_it() -> None:
    picture = Image.fromarray(np.pad(draw_page(255), 40, constant_values=255))
    ImageDraw.Draw(picture).rectangle((30, 30, 349, 349), outline=60, width=5)
    assert_within(find_page(picture), Box(35, 345, 35, 345), 20)


@pytest.mark.parametrize("noise", [4, 20])
@pytest.mark.parametrize("margins", [(70, 90, 110, 60), (100, 20, 30, 150)])
def test_finds_a_sheet_on_a_table(noise: float, margins: tuple[int, int, int, int]) -> None:
    """With a noise of 4, the table makes uniform bars; with 20 it does not, and the sheet has to be found."""
    top, _, left, _ = margins
    found = find_page(Image.fromarray(put_on_table(margins, noise=noise)))
    assert_within(found, Box(top, top + SIDE, left, left + SIDE), 30)


def draw_sheet(height: int, width: int, *, ink: int = 20) -> Pixels:
    """A bright sheet in the middle of a dark table of 200 x 200 pixels, with a square of ink in its middle."""
    pixels = np.full((200, 200), 40, np.uint8)
    top, left = (200 - height) // 2, (200 - width) // 2
    pixels[top : top + height, left : left + width] = 230
    pixels[100 - ink // 2 : 100 + ink // 2, 100 - ink // 2 : 100 + ink // 2] = 40
    return pixels


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (draw_sheet(120, 140), (46, 154, 37, 163)),
        (draw_sheet(100, 100), (55, 145, 55, 145)),
        (draw_sheet(98, 100), None),
        (draw_sheet(120, 140, ink=0), None),
        (draw_sheet(120, 140, ink=4), None),
        (draw_sheet(120, 140, ink=8), (46, 154, 37, 163)),
        (draw_sheet(120, 140, ink=80), None),
    ],
    ids=["large", "a quarter", "less than a quarter", "blank", "with a speck", "with little ink", "mostly ink"],
)
def test_a_sheet_covers_a_quarter_of_the_picture_and_is_written_on(
    pixels: Pixels, expected: tuple[int, int, int, int] | None
) -> None:
    assert _find_sheet_on_table(Image.fromarray(pixels)) == expected


def test_a_disc_is_not_a_sheet() -> None:
    disc = np.where(np.hypot(*np.ogrid[-100:100, -100:100]) < 85, 230, 40).astype(np.uint8)
    disc[90:110, 90:110] = 40
    assert _find_sheet_on_table(Image.fromarray(disc)) is None
    assert _find_sheet_on_table(Image.fromarray(np.full((200, 200), 90, np.uint8))) is None


@pytest.mark.parametrize("side", range(4))
@pytest.mark.parametrize(("missing", "straight"), [(15, True), (16, False)])
def test_a_component_covers_85_percent_of_each_side(side: int, missing: int, *, straight: bool) -> None:
    sheet = np.ones((100, 100), bool)
    sheet[:4, 40 : 40 + missing] = False
    assert _has_straight_sides(np.rot90(sheet, side), 3, 3) is straight
    assert _has_straight_sides(np.rot90(sheet, side), 4, 4)


def rows_of(*levels: int) -> Pixels:
    return np.repeat(np.array(levels, np.int16)[:, None], 50, axis=1)


@pytest.mark.parametrize(
    ("rows", "height"),
    [
        (rows_of(*[0] * 3, *[48] * 7), 3),
        (rows_of(*[0] * 3, *[47] * 7), 0),
        (rows_of(*[0] * 5, *[255] * 5), 0),
        (rows_of(*[0] * 4, *[255] * 6), 4),
        (rows_of(*[255] * 2, *[0] * 2, *[255] * 16), 4),
        (rows_of(*[200] * 10), 0),
        (rows_of(0, 24, *[100] * 6), 2),
        (rows_of(0, 25, *[100] * 6), 0),
        (rows_of(*[0, 255] * 2, 0, *[255] * 12), 4),
    ],
    ids=[
        "48 levels darker",
        "47 levels darker",
        "half of the rows",
        "less than half",
        "two bands",
        "uniform",
        "24 levels of variation",
        "25 levels of variation",
        "four bands of five",
    ],
)
def test_a_bar_is_uniform_and_differs_from_the_next_row(rows: Pixels, height: int) -> None:
    assert _bar_height(rows) == height


def test_a_varied_row_is_not_a_bar() -> None:
    rows = rows_of(*[0] * 3, *[200] * 7)
    rows[:3, 10:20] = 25
    assert _bar_height(rows) == 0
    rows[:3, 10:20] = 24
    assert _bar_height(rows) == 3


@pytest.mark.parametrize(("bottom", "expected"), [(20, (24, 276)), (90, (0, 300))])
def test_opposite_bars_have_one_colour(bottom: int, expected: tuple[int, int]) -> None:
    pixels = np.full((300, 300), 230, np.uint8)
    pixels[100:200, 140:160] = 0
    pixels[:20], pixels[280:] = 20, bottom
    found = find_page(Image.fromarray(pixels))
    assert (found.top, found.bottom) == expected


@pytest.mark.parametrize(
    "ink",
    [(0, 60, 0, 300), (0, 300, 0, 60), (0, 300, 0, 300)],
    ids=["a bar above", "a bar at the left", "all"],
)
def test_thick_strokes_are_neither_frame_nor_sheet(ink: tuple[int, int, int, int]) -> None:
    pixels = np.full((SIDE, SIDE), 255, np.uint8)
    top, bottom, left, right = ink
    pixels[top:bottom, left:right] = 0
    found = find_page(Image.fromarray(pixels))
    assert found.top <= top
    assert found.left <= left
    assert found.bottom >= bottom
    assert found.right >= right


@pytest.mark.parametrize(("side", "expected"), [(28, (0, 28, 0, 28)), (55, (0, 55, 0, 55)), (56, (14, 42, 14, 42))])
def test_a_picture_below_56_pixels_is_all_page(side: int, expected: tuple[int, int, int, int]) -> None:
    pixels = np.zeros((side, side), np.uint8)
    pixels[12:-12, 12:-12] = 255
    assert find_page(Image.fromarray(pixels)) == expected


def test_the_box_ends_with_a_picture_of_odd_size() -> None:
    pixels = np.full((301, 303), 255, np.uint8)
    pixels[100:200, 140:160] = 0
    assert find_page(Image.fromarray(pixels)) == (0, 301, 0, 303)
