"""Synthetic images in MNIST's form."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from scipy import ndimage

from training.data import glyphs
from training.data.mnist import Dataset
from training.errors import DataError

SANS = Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
ASCII = (0x21, 0x7E)


def test_mnist_form_restores_enlarged_and_shifted_mnist_digits(mnist: Dataset) -> None:
    images = mnist.test.images[:200]
    large = np.pad(images.repeat(4, axis=1).repeat(4, axis=2), ((0, 0), (9, 30), (25, 0)))
    restored = np.array([glyphs.to_mnist_form(picture) for picture in large]).astype(float)
    error = np.abs(restored - images).mean(axis=(1, 2))
    assert np.mean(error < 1) > 0.8


@pytest.mark.parametrize("shape", [(300, 40), (17, 260), (5, 5), (90, 90)])
def test_mnist_form_fills_a_box_of_twenty_pixels_and_centres_the_mass(shape: tuple[int, int]) -> None:
    picture = np.zeros((400, 420), np.uint8)
    picture[31 : 31 + shape[0], 77 : 77 + shape[1]] = np.linspace(90, 255, shape[1]).astype(np.uint8)
    image = glyphs.to_mnist_form(picture)
    rows, columns = np.nonzero(image)
    assert image.shape == (28, 28)
    assert image.dtype == np.uint8
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20
    assert np.abs(np.array(ndimage.center_of_mass(image)) - 14).max() <= 0.51


def test_non_digit_characters_exclude_digits_and_lookalikes() -> None:
    characters = "".join(glyphs.non_digit_characters(SANS, [ASCII, (0xC0, 0xFF), (0xE000, 0xE0FF)]))
    assert set("AXkw&%#@?+=ÄÑü") <= set(characters)
    assert not set("0123456789OoIlSZq|/.,ÓöÌ½²") & set(characters)
    assert characters.isprintable()


def test_glyphs_are_in_mnist_form_and_thickened_by_bold() -> None:
    thin, bold, fat = (glyphs.render_glyphs(SANS, "AB", [pixels] * 2) for pixels in (0, 1, 3))
    assert np.array(thin).shape == (2, 28, 28)
    assert not np.array_equal(thin[0], thin[1])
    for letter in (0, 1):
        ink = [int(images[letter].sum()) for images in (thin, bold, fat)]
        assert ink == sorted(ink)
        assert ink[2] > 1.2 * ink[0]
    upper, lower = np.nonzero(thin[0][:12].sum(axis=0))[0], np.nonzero(thin[0][14:].sum(axis=0))[0]
    assert np.ptp(upper) < np.ptp(lower), "an A is narrower at its top"


def test_blank_glyphs_are_omitted() -> None:
    assert len(glyphs.render_glyphs(SANS, ["A", " ", "\u00a0", "B"], [0] * 4)) == 2


def test_side_by_side_contains_both_digits() -> None:
    left, right = np.zeros((2, 3, 28, 28), np.uint8)
    left[:, 4:24, 12:15] = 255
    right[:, 4:24, 8:20] = 255
    pairs = glyphs.side_by_side(left, right)
    assert pairs.shape == (3, 28, 28)
    columns = np.nonzero(pairs[0].sum(axis=0) > 500)[0]
    (gap,) = np.nonzero(np.diff(columns) > 1)[0]
    widths = gap + 1, len(columns) - gap - 1
    assert widths[1] > 2 * widths[0]


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty", "missing", "a directory", "text"])
def test_a_damaged_font_is_named_in_one_sentence(damage: str, tmp_path: Path) -> None:
    content, font = SANS.read_bytes(), tmp_path / "font.ttf"
    if damage == "a directory":
        font.mkdir()
    elif damage != "missing":
        contents = {
            "truncated": content[:5000],
            "garbage": content[:12] + bytes(5000),
            "empty": b"",
            "text": b"no font",
        }
        font.write_bytes(contents[damage])
    for use in (glyphs.non_digit_characters, lambda font, _: glyphs.render_glyphs(font, "A", [0])):
        with pytest.raises(DataError, match=f"the font {font} cannot be used") as caught:
            use(font, [ASCII])
        assert "\n" not in str(caught.value)


def test_a_font_with_changed_bytes_gives_glyphs_or_a_sentence(tmp_path: Path) -> None:
    valid, font, random = SANS.read_bytes(), tmp_path / "font.ttf", np.random.default_rng(0)
    named = 0
    for _ in range(60):
        content = bytearray(valid)
        for position in random.integers(0, random.choice([300, len(content)]), 20):
            content[position] = random.integers(256)
        font.write_bytes(content)
        try:
            text = glyphs.non_digit_characters(font, [ASCII])
            images = glyphs.render_glyphs(font, text, [0] * len(text))
            assert all(image.shape == (28, 28) for image in images)
        except DataError:
            named += 1
    assert named > 5
