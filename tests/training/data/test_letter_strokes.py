"""Handwritten letters and symbols: the table of strokes, its text, and the drawings."""

import numpy as np
import pytest
from scipy import ndimage

from training.data import letter_strokes
from training.data.glyphs import DIGIT_LOOKALIKES
from training.types import Images

LETTERS = {script: letter_strokes.load_script(script) for script in letter_strokes.script_names()}


def assert_mnist_form(images: Images) -> None:
    assert images.dtype == np.uint8
    assert images.shape[1:] == (28, 28)
    for image in images:
        rows, columns = np.nonzero(image)
        assert 18 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 20
        assert np.abs(np.array(ndimage.center_of_mass(image)) - 14).max() <= 1.5


def test_there_are_many_characters_of_many_scripts() -> None:
    assert {"latin", "greek", "cyrillic", "hebrew", "arabic", "devanagari", "hangul", "kana", "symbols"} <= set(LETTERS)
    assert min(len(characters) for characters in LETTERS.values()) >= 10
    assert sum(len(forms) for characters in LETTERS.values() for forms in characters.values()) > 350


@pytest.mark.parametrize("script", LETTERS)
def test_no_character_looks_like_a_digit(script: str) -> None:
    assert not [c for c in LETTERS[script] if c in DIGIT_LOOKALIKES or c.isdigit()]


@pytest.mark.parametrize("script", LETTERS)
def test_every_form_has_points_near_a_square_and_more_than_one_line(script: str) -> None:
    for character, forms in LETTERS[script].items():
        for form in forms:
            pieces = [piece for stroke in form for piece in stroke]
            assert min(len(piece) for piece in pieces) >= 2, character
            assert sum(len(piece) - 1 for piece in pieces) >= 2, character
            points = np.array([point for piece in pieces for point in piece])
            assert points.min() >= -50, character
            assert points.max() <= 150, character
            assert np.ptp(points, axis=0).max() >= 75, character


@pytest.mark.parametrize("script", LETTERS)
def test_every_form_is_drawn_in_mnist_form(script: str) -> None:
    forms = sum(len(forms) for forms in LETTERS[script].values())
    images = letter_strokes.draw_letters([script], 2, np.random.default_rng(0))
    assert len(images) == 2 * forms
    assert_mnist_form(images)
    assert np.all(np.count_nonzero(images > 100, axis=(1, 2)) >= 10)
    assert np.all(np.any(images[::2] != images[1::2], axis=(1, 2))), "two drawings of a form differ"


def test_drawings_are_a_function_of_the_generator() -> None:
    one, same, other = (
        np.concatenate([letter_strokes.draw_letters(["hebrew"], 1, random), letter_strokes.draw_scribbles(30, random)])
        for random in map(np.random.default_rng, (1, 1, 2))
    )
    np.testing.assert_array_equal(one, same)
    assert np.mean(np.any(one != other, axis=(1, 2))) > 0.95


def test_a_form_has_strokes_corners_and_ellipses() -> None:
    assert letter_strokes.parse_form("5,100 50,0 | 95,-10.5 / 22,64 80,62") == [
        [[(5, 100), (50, 0)], [(50, 0), (95, -10.5)]],
        [[(22, 64), (80, 62)]],
    ]
    [[ring]] = letter_strokes.parse_form("@50,40,30,20,0,360")
    assert len(ring) == 9
    np.testing.assert_allclose(ring[0], (80, 40))
    np.testing.assert_allclose(ring[2], (50, 60))
    np.testing.assert_allclose(ring[-1], ring[0])


@pytest.mark.parametrize("text", ["1,2 3", "1,2 a,b", "@1,2,3,4,5 1,2", "1,2,3 4,5"])
def test_a_form_with_an_incomplete_point_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match=r"values to unpack|could not convert"):
        letter_strokes.parse_form(text)


def test_scribbles_are_different_kinds_in_mnist_form() -> None:
    images = letter_strokes.draw_scribbles(100, np.random.default_rng(0))
    assert len(images) == 100
    assert_mnist_form(images)
    assert len(np.unique(images, axis=0)) == 100
    parts = [ndimage.label(image > 60)[1] for image in images]
    assert min(parts) == 1
    assert max(parts) >= 2
    assert len(letter_strokes.draw_scribbles(7, np.random.default_rng(0))) == 7
