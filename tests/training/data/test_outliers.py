"""The pool of outliers: glyphs, pairs, drawings and textures, and sampling from it."""

import numpy as np
import pytest
from scipy import ndimage

from training.data import letter_strokes, outliers
from training.data.outliers import OutlierPool
from training.recipe import Recipe
from training.types import Images

RECIPE = Recipe.load("smoke", ["outliers_per_batch=8"])
SIZES = {"PAIRS": 60, "TEXTURES": 80, "DRAWINGS": 1, "SCRIBBLES": 40}


@pytest.fixture(autouse=True)
def _small_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outliers, "FONTS", ("cmtt10",))
    monkeypatch.setattr(outliers, "DRAWN_SCRIPTS", ("hebrew", "latin"))
    for name, count in SIZES.items():
        monkeypatch.setattr(outliers, name, count)


@pytest.fixture
def digits() -> Images:
    """Twenty bars of different grey levels."""
    images = np.zeros((20, 28, 28), np.uint8)
    images[:, 5:23, 12:16] = np.arange(150, 250, 5)[:, None, None]
    return images


def test_the_pool_is_a_function_of_the_seed(digits: Images) -> None:
    one, same, other = (outliers.build_pool(digits, seed) for seed in (3, 3, 4))
    for kind in OutlierPool._fields:
        images = getattr(one, kind)
        assert images.dtype == np.uint8
        assert images.shape[1:] == (28, 28)
        np.testing.assert_array_equal(images, getattr(same, kind))
        assert np.mean(np.any(images != getattr(other, kind), axis=(1, 2))) > 0.5


def test_glyphs_are_characters_and_pairs_of_digits(digits: Images) -> None:
    glyphs = outliers.build_pool(digits, 0).glyphs
    pairs, letters = glyphs[-60:], glyphs[:-60]
    assert len(letters) > outliers.ASCII_REPEATS * 40
    assert len(np.unique(letters, axis=0)) > 100
    assert {ndimage.label(pair > 60)[1] for pair in pairs} == {2}


def test_textures_are_uniform_noisy_and_smooth(digits: Images) -> None:
    textures = outliers.build_pool(digits, 0).textures.astype(float)
    assert len(textures) == 80
    spread = textures.std(axis=(1, 2))
    steps = np.abs(np.diff(textures, axis=2)).mean(axis=(1, 2))
    assert 1 < np.sum(spread == 0) < 30
    rough = steps[spread > 0] / spread[spread > 0]
    assert np.sum(rough > 0.9) > 5
    assert np.sum(rough < 0.4) > 20


def test_drawings_are_letters_and_scribbles(digits: Images) -> None:
    drawings = outliers.build_pool(digits, 0).drawings
    forms = {
        script: letter_strokes.draw_letters([script], 1, np.random.default_rng(0)) for script in ("hebrew", "latin")
    }
    assert len(drawings) == len(forms["hebrew"]) + 3 * len(forms["latin"]) + 40
    assert len(np.unique(drawings, axis=0)) == len(drawings)


def test_sampling_distorts_glyphs_strongly_and_drawings_mildly_but_not_textures() -> None:
    glyph, drawing, texture = np.zeros((3, 28, 28), np.uint8)
    glyph[6:22, 8:20] = 200
    drawing[4:24, 12:16] = 100
    texture[:] = np.random.default_rng(0).integers(0, 256, (28, 28))
    pool = OutlierPool(glyph[None], drawing[None], texture[None])
    recipe = Recipe.load("smoke", ["outliers_per_batch=8", "rotation=5", "shift=0.5"])
    sampled = outliers.sample(pool, 400, recipe, (1, 2))
    assert sampled.shape == (400, 28, 28)
    textures = np.all(sampled == texture, axis=(1, 2))
    assert textures.sum() == 72
    assert 16 < textures[:200].sum() < 56, "the order is not random"
    drawn = ~textures & (sampled.max(axis=(1, 2)) <= 100)
    assert drawn.sum() == 164
    for kind, original, low, high in ((drawn, drawing, 0, 1.5), (~textures & ~drawn, glyph, 1, 6)):
        images = sampled[kind]
        assert len(np.unique(images, axis=0)) > 0.8 * len(images)
        assert np.mean(np.all(images == original, axis=(1, 2))) < 0.1, "a rotation of almost 0 changes nothing"
        centres = np.array([ndimage.center_of_mass(image) for image in images]) - 13.5
        assert low < np.abs(centres).max() < high
    np.testing.assert_array_equal(sampled, outliers.sample(pool, 400, recipe, (1, 2)))
    assert not np.array_equal(sampled, outliers.sample(pool, 400, recipe, (1, 3)))


def test_no_script_of_the_pool_is_held_out() -> None:
    assert set(outliers.DRAWN_SCRIPTS) < set(letter_strokes.script_names())


def test_fonts_are_the_text_fonts_of_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    names = {path.stem for path in outliers.fonts()}
    assert {"DejaVuSans", "DejaVuSerif-Bold", "STIXGeneral", "cmr10"} <= names
    assert not {name for name in names if "Display" in name or "Siz" in name}


def test_few_outliers_need_not_have_every_kind(digits: Images) -> None:
    pool = outliers.build_pool(digits, 0)
    for count in (1, 2, 3):
        assert outliers.sample(pool, count, RECIPE, (0, 0)).shape == (count, 28, 28)
