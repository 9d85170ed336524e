"""Tests page detection on drawn sheets, tables, telephones, shadows and fat digits, whose ink and edges are known."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from service.imaging import page_detection
from service.imaging.ink import Ink, extract_ink, fit_ink_model, reduce_picture
from service.imaging.page_detection import Paper, find_paper
from service.imaging.reader import THUMBNAIL_SIDE, _fit_model
from service.types import GreyImage, Mask, Pixels

SIDE = 384
SHARES, SIDES = [0.1, 0.2, 0.3], range(4)
Stroke = tuple[float, float, float, float]
"""Left, top, right and bottom of an ellipse, or of a vertical line, as fractions of SIDE."""
Draw = Callable[[Pixels, int], Pixels]
"""From a picture [H, W, 3] and the rows that are to be covered at its foot: the picture with a thing there."""


def draw_digit(height: int = SIDE, width: int = SIDE, radius: int = 60) -> Mask:
    """The mask of a 0 of this radius in the upper half, clear of the lowest third."""
    rows, columns = np.ogrid[:height, :width]
    away = np.hypot(rows - 0.35 * height, 0.8 * (columns - 0.5 * width))
    return np.asarray((away > 0.75 * radius) & (away < radius))


DIGIT = draw_digit()


def draw_page(*, paper: tuple[int, int, int] = (225, 222, 214), pen: tuple[int, int, int] = (35, 40, 90)) -> Pixels:
    page = np.where(DIGIT[..., None], np.array(pen), np.array(paper))
    return np.asarray(np.clip(page + np.random.default_rng(0).normal(0, 2, page.shape), 0, 255), np.uint8)


def extract(picture: Pixels) -> tuple[Ink, Paper | None]:
    """The ink and the paper of a picture, as the reader extracts them."""
    thumbnail, _ = reduce_picture(picture, THUMBNAIL_SIDE)
    paper = find_paper(thumbnail)
    return extract_ink(picture, _fit_model(thumbnail, paper) if paper else fit_ink_model(thumbnail)), paper


def assert_ink_is(found: Ink, digit: Mask, where: Mask | None = None) -> None:
    """Check that the pixels above the high threshold are the digit, and hardly any others are above the low one."""
    area = np.ones(digit.shape, bool) if where is None else where
    grown = np.asarray(Image.fromarray(digit).convert("L").filter(ImageFilter.MaxFilter(7))) > 0
    assert (found.high_mask & digit).sum() > 0.9 * digit.sum()
    assert not (found.high_mask & ~grown & area).any()
    assert (found.low_mask & ~grown & area).sum() < 5


def draw_phone(page: Pixels, covered: int) -> Pixels:
    """A telephone with a black frame and a coloured screen."""
    picture = Image.fromarray(page)
    top = page.shape[0] - covered
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, top, SIDE, SIDE), fill=(22, 22, 25))
    draw.rectangle((12, top + 12, SIDE - 13, SIDE), fill=(90, 150, 210))
    return np.asarray(picture)


def draw_table(page: Pixels, covered: int) -> Pixels:
    """Brown wood with a grain."""
    picture = page.copy()
    grain = np.random.default_rng(1).normal(0, 6, (covered, 1, 1))
    picture[-covered:] = np.clip(np.array((95, 65, 40)) + grain, 0, 255)
    return picture


def draw_hard_shadow(page: Pixels, covered: int) -> Pixels:
    picture = page.copy()
    picture[-covered:] = (0.55 * page[-covered:]).astype(np.uint8)
    return picture


def draw_soft_shadow(page: Pixels, covered: int) -> Pixels:
    light = np.interp(np.arange(SIDE), [SIDE - covered - 20, SIDE - covered + 20], [1, 0.5])
    return np.asarray(page * light[:, None, None], np.uint8)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("draw", [draw_phone, draw_table, draw_hard_shadow, draw_soft_shadow])
def test_ink_is_the_digit_and_nothing_else_beside_a_dark_thing(draw: Draw, share: float, side: int) -> None:
    """Nothing else is inside of the thing or of the page, apart from the edge between the two."""
    covered = round(share * SIDE)
    picture = np.ascontiguousarray(np.rot90(draw(draw_page(), covered), side))
    found, _ = extract(picture)
    clear = np.ones((SIDE, SIDE), bool)
    clear[SIDE - covered - 24 : SIDE - covered + 24] = False
    assert_ink_is(found, np.ascontiguousarray(np.rot90(DIGIT, side)), np.rot90(clear, side))


@pytest.mark.parametrize("draw", [draw_phone, draw_table])
@pytest.mark.parametrize("share", SHARES)
def test_a_phone_and_a_table_are_surroundings(draw: Draw, share: float) -> None:
    _, paper = extract(draw(draw_page(), round(share * SIDE)))
    assert paper is not None
    assert paper.has_surroundings
    edge = round((1 - share) * len(paper.mask))
    assert paper.mask[: edge - 4].all()
    assert not paper.mask[edge + 1 :].any()


@pytest.mark.parametrize("light", [0.5, 0.6, 0.75])
def test_a_shadow_that_crosses_a_digit_keeps_the_whole_digit(light: float) -> None:
    page = draw_page()
    for picture in (page, page.transpose(1, 0, 2)):
        shaded = picture.copy()
        shaded[round(0.35 * SIDE) :] = (light * picture[round(0.35 * SIDE) :]).astype(np.uint8)
        found, paper = extract(shaded)
        digit = DIGIT if picture is page else DIGIT.T
        assert paper is None or not paper.has_surroundings
        assert (found.low_mask & digit).sum() > 0.95 * digit.sum()


@pytest.mark.parametrize("ground", [180, 205, 225])
def test_a_grey_cut_out_pasted_on_white_is_the_paper(ground: int) -> None:
    picture = np.full((SIDE, SIDE, 3), 255, np.uint8)
    picture[40:260, 70:310] = ground
    picture[DIGIT] = 50
    found, paper = extract(picture)
    assert paper is not None
    expected = np.zeros(paper.mask.shape, bool)
    expected[10:65, 18:77] = True
    assert (paper.mask & expected).sum() > 0.9 * expected.sum()
    assert not (paper.mask & ~expected).any()
    assert_ink_is(found, DIGIT)


@pytest.mark.parametrize("angle", [-30, -12, 0, 5, 20, 45])
@pytest.mark.parametrize("table", [(60, 42, 30), (30, 40, 70), (110, 110, 115)])
def test_finds_a_sheet_that_lies_askew_on_a_table(angle: float, table: tuple[int, int, int]) -> None:
    sheet = np.zeros((SIDE, SIDE), np.uint8)
    sheet[84:300, 84:300] = 255
    ring = np.hypot(*np.ogrid[-SIDE // 2 : SIDE // 2, -SIDE // 2 : SIDE // 2])
    digit = (ring > 38) & (ring < 52)
    turned = np.asarray(Image.fromarray(sheet).rotate(angle)) > 127
    picture = np.where(turned[..., None], np.array((228, 225, 220)), np.array(table)).astype(np.uint8)
    picture[digit] = (40, 40, 60)
    found, paper = extract(picture)
    assert paper is not None
    assert paper.has_surroundings
    small = np.asarray(Image.fromarray(turned).resize(paper.mask.shape[::-1]))
    assert (paper.mask & small).sum() > 0.85 * small.sum()
    assert (paper.mask & ~small).sum() < 0.03 * small.sum()
    assert_ink_is(found, digit)


def draw_fat(strokes: list[Stroke], width: float, *, ink: int, paper: int) -> Pixels:
    """Strokes of this width, as of a felt pen."""
    picture = Image.new("L", (SIDE, SIDE), paper)
    draw = ImageDraw.Draw(picture)
    for left, top, right, bottom in strokes:
        points = [round(SIDE * value) for value in (left, top, right, bottom)]
        if left == right:
            draw.line(points, fill=ink, width=round(SIDE * width))
        else:
            draw.ellipse(points, outline=ink, width=round(SIDE * width))
    return np.asarray(picture)


FAT: dict[str, list[Stroke]] = {
    "0": [(0.15, 0.08, 0.85, 0.92)],
    "0 to the border": [(0.0, 0.0, 1.0, 1.0)],
    "8": [(0.25, 0.05, 0.75, 0.53), (0.2, 0.4, 0.8, 0.95)],
    "1": [(0.5, 0.08, 0.5, 0.92)],
}


@pytest.mark.parametrize("digit", FAT)
@pytest.mark.parametrize("width", [0.08, 0.14, 0.2])
@pytest.mark.parametrize(("ink", "paper"), [(20, 240), (240, 20), (60, 200)])
def test_a_fat_digit_is_no_sheet(digit: str, width: float, ink: int, paper: int) -> None:
    picture = draw_fat(FAT[digit], width, ink=ink, paper=paper)
    found, page = extract(picture)
    strokes = picture == ink
    assert page is None or not page.has_surroundings
    assert (found.low_mask & strokes).sum() > 0.95 * strokes.sum()


@pytest.mark.parametrize("level", [30, 225])
@pytest.mark.parametrize("shape", [(260, 200), (200, 60), (300, 300)])
def test_a_digit_cropped_to_its_ink_is_ink(shape: tuple[int, int], level: int) -> None:
    height, width = shape
    picture = Image.new("L", (width, height), 255 - level)
    ImageDraw.Draw(picture).line((0, height // 3, width // 2, 0, width // 2, height), fill=level, width=width // 6)
    pixels = np.asarray(picture)
    found, paper = extract(pixels)
    assert paper is None or not paper.has_surroundings
    assert (found.low_mask == (pixels == level)).mean() > 0.97


@pytest.mark.parametrize("pixels", [np.full((90, 90), 200, np.uint8), np.full((90, 90, 3), 200, np.uint8)])
def test_a_uniform_picture_has_no_page(pixels: Pixels) -> None:
    assert find_paper(pixels) is None


@pytest.mark.parametrize("paper", [230, 25])
def test_a_page_that_fills_the_picture_is_no_sheet(paper: int) -> None:
    picture = np.where(DIGIT, 255 - paper, paper).astype(np.uint8)
    assert find_paper(reduce_picture(picture, THUMBNAIL_SIDE)[0]) is None
    assert_ink_is(extract(picture)[0], DIGIT)


@pytest.mark.parametrize("margins", [(80, 80, 0, 0), (0, 0, 90, 100), (70, 60, 50, 80)], ids=str)
@pytest.mark.parametrize("noise", [0, 4])
@pytest.mark.parametrize("table", [20, 50])
def test_bars_and_tables_around_a_page_are_surroundings(
    margins: tuple[int, int, int, int], noise: float, table: int
) -> None:
    page = np.where(DIGIT, 30, 230)
    picture = np.pad(page, (margins[:2], margins[2:]), constant_values=table)
    noisy = np.clip(picture + np.random.default_rng(0).normal(0, noise, picture.shape), 0, 255).astype(np.uint8)
    found, paper = extract(noisy)
    assert paper is not None
    assert paper.has_surroundings
    assert_ink_is(found, np.pad(DIGIT, (margins[:2], margins[2:])))


def draw_sheet(height: int, width: int, *, ink: int) -> Pixels:
    """A bright sheet in the middle of a dark table of 96 x 96 pixels, with a line of this length on it."""
    pixels = np.full((96, 96), 40, np.uint8)
    top, left = (96 - height) // 2, (96 - width) // 2
    pixels[top : top + height, left : left + width] = 230
    if ink:
        pixels[48 - ink // 2 : 48 + ink // 2, 47:49] = 90
    return pixels


@pytest.mark.parametrize(
    ("pixels", "is_sheet"),
    [
        (draw_sheet(60, 66, ink=24), True),
        (draw_sheet(48, 40, ink=20), True),
        (draw_sheet(60, 66, ink=0), False),
        (draw_sheet(60, 66, ink=2), False),
        (draw_sheet(22, 30, ink=10), False),
    ],
    ids=["large", "smaller", "blank", "with a speck", "less than 8 percent"],
)
def test_a_sheet_is_large_enough_and_written_on(pixels: Pixels, *, is_sheet: bool) -> None:
    assert (find_paper(pixels) is not None) is is_sheet


@pytest.mark.parametrize("ink", [(0, 77, 0, 384), (0, 384, 0, 77)], ids=["above", "at the left"])
def test_a_bar_alone_is_ink(ink: tuple[int, int, int, int]) -> None:
    picture = np.full((SIDE, SIDE), 255, np.uint8)
    top, bottom, left, right = ink
    picture[top:bottom, left:right] = 0
    assert find_paper(reduce_picture(picture, THUMBNAIL_SIDE)[0]) is None


def test_the_range_within_three_pixels_is_that_of_the_channel_with_the_largest() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
    padded = np.pad(picture.astype(int), ((1, 1), (1, 1), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))
    expected = np.ptp(windows.reshape(9, 12, 3, 9), axis=3).max(axis=2)
    np.testing.assert_array_equal(page_detection._step_heights(picture), expected)


@pytest.mark.parametrize("channels", [(), (3,)])
def test_unknown_pixels_have_the_value_of_the_nearest_known_one(channels: tuple[int, ...]) -> None:
    values: GreyImage = np.random.default_rng(0).integers(0, 256, (8, 8, *channels), np.uint8)
    known = np.zeros((8, 8), bool)
    known[:3], known[7, 7] = True, True
    found = page_detection._nearest_values(values, known)
    np.testing.assert_array_equal(found[:3], values[:3])
    np.testing.assert_array_equal(found[3], values[2])
    np.testing.assert_array_equal(found[6, 7], values[7, 7])
    np.testing.assert_array_equal(found[4, 0], values[2, 0])


def test_a_border_length_counts_each_pixel_once() -> None:
    labels = np.zeros((5, 7), np.int32)
    labels[:, 6], labels[4] = 1, 2
    labels[2, 3] = 3
    assert page_detection._border_lengths(labels, 4).tolist() == [9, 4, 7, 0]


@pytest.mark.parametrize(
    ("light", "is_shadow"), [((0.5, 0.5, 0.5), True), ((0.2, 0.2, 0.2), False), ((0.8, 0.7, 0.5), False)]
)
def test_a_shadow_has_the_tint_of_the_paper_and_half_of_its_light(
    light: tuple[float, float, float], *, is_shadow: bool
) -> None:
    thumbnail = np.full((40, 40, 3), 220.0)
    thumbnail[20:] *= light
    paper = np.arange(40)[:, None] + np.zeros(40) < 20
    assert page_detection._is_shadow(thumbnail.astype(np.uint8), paper) is is_shadow
    assert page_detection._is_shadow(thumbnail.astype(np.uint8), ~paper) is is_shadow


def test_the_model_of_a_picture_without_surroundings_has_none() -> None:
    model = fit_ink_model(reduce_picture(draw_page(), THUMBNAIL_SIDE)[0])
    assert model.surroundings is None
