import numpy as np
import pytest
from PIL import Image, ImageDraw

from service.imaging import page_detection
from service.imaging.geometry import Box
from tests.service.payloads import Pixels

SIDE = 300


def paper(level: int = 230) -> Pixels:
    """A page with a 0 on it."""
    away = np.hypot(*np.ogrid[-SIDE // 2 : SIDE // 2, -SIDE // 2 : SIDE // 2])
    return np.where((away > 60) & (away < 85), 30, level).astype(np.uint8)


def on_table(top: int, bottom: int, left: int, right: int, table: int = 40) -> Pixels:
    return np.pad(paper(), ((top, bottom), (left, right)), constant_values=table)


def about(found: Box, expected: Box, within: int = 20) -> None:
    """The page and next to nothing else, and hardly less than the page."""
    assert found.top >= expected.top
    assert found.left >= expected.left
    assert found.bottom <= expected.bottom
    assert found.right <= expected.right
    assert np.abs(np.subtract(found, expected)).max() <= within


@pytest.mark.parametrize(
    "pixels", [paper(), 255 - paper(), paper()[100:200], np.kron(paper(), np.ones((4, 4), np.uint8))]
)
def test_a_page_that_fills_the_picture_is_all_of_it(pixels: Pixels) -> None:
    assert page_detection.find_page(Image.fromarray(pixels)) == (0, pixels.shape[0], 0, pixels.shape[1])


@pytest.mark.parametrize(
    ("margins", "table"),
    [((1, 1, 1, 1), 0), ((3, 3, 3, 3), 90), ((12, 12, 12, 12), 0), ((80, 80, 0, 0), 0), ((0, 0, 100, 90), 20)],
)
def test_bars_and_frames_around_it_are_no_page(margins: tuple[int, int, int, int], table: int) -> None:
    top, _, left, _ = margins
    found = page_detection.find_page(Image.fromarray(on_table(*margins, table=table)))
    about(found, Box(top, top + SIDE, left, left + SIDE))


def test_a_drawn_frame_with_a_margin_around_it_is_peeled_off() -> None:
    picture = Image.fromarray(np.pad(paper(255), 40, constant_values=255))
    ImageDraw.Draw(picture).rectangle((30, 30, 349, 349), outline=60, width=5)
    about(page_detection.find_page(picture), Box(35, 345, 35, 345))


def test_the_table_that_a_page_lies_on_is_no_page() -> None:
    random = np.random.default_rng(0)
    pixels = on_table(70, 90, 110, 60) + random.normal(0, 4, (SIDE + 160, SIDE + 170))
    found = page_detection.find_page(Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)))
    about(found, Box(70, 70 + SIDE, 110, 110 + SIDE), within=30)


@pytest.mark.parametrize(
    "ink",
    [(0, 60, 0, 300), (0, 300, 0, 60), (0, 300, 0, 300)],
    ids=["a bar above", "a bar at the left", "all"],
)
def test_thick_strokes_are_no_frame_and_no_sheet(ink: tuple[int, int, int, int]) -> None:
    pixels = np.full((SIDE, SIDE), 255, np.uint8)
    top, bottom, left, right = ink
    pixels[top:bottom, left:right] = 0
    found = page_detection.find_page(Image.fromarray(pixels))
    assert found.top <= top
    assert found.left <= left
    assert found.bottom >= bottom
    assert found.right >= right


def test_a_small_picture_is_all_page() -> None:
    assert page_detection.find_page(Image.fromarray(np.pad(np.full((20, 20), 255, np.uint8), 4))) == (0, 28, 0, 28)
