import numpy as np
import pytest
from scipy import ndimage

from training.data import outliers
from training.data.glyphs import Images
from training.data.outliers import OutlierPool
from training.recipe import Recipe

RECIPE = Recipe.load("smoke", ["outliers_per_batch=8"])
KINDS = {"PAIRS": 60, "FIELDS": 80}


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outliers, "FONTS", ("cmtt10",))
    for name, count in KINDS.items():
        monkeypatch.setattr(outliers, name, count)


@pytest.fixture
def digits() -> Images:
    """Twenty bars, each in grey of its own."""
    images = np.zeros((20, 28, 28), np.uint8)
    images[:, 5:23, 12:16] = np.arange(150, 250, 5)[:, None, None]
    return images


def test_the_bank_follows_from_its_seed(digits: Images) -> None:
    one, same, other = (outliers.build_pool(digits, seed) for seed in (3, 3, 4))
    for kind in ("shapes", "fields"):
        images = getattr(one, kind)
        assert images.dtype == np.uint8
        assert images.shape[1:] == (28, 28)
        np.testing.assert_array_equal(images, getattr(same, kind))
        assert np.mean(np.any(images != getattr(other, kind), axis=(1, 2))) > 0.5


def test_shapes_are_letters_and_pairs(digits: Images) -> None:
    shapes = outliers.build_pool(digits, 0).glyphs
    pairs, letters = shapes[-60:], shapes[:-60]
    assert len(letters) > outliers.ASCII_TIMES * 40
    assert len(np.unique(letters, axis=0)) > 100
    assert {ndimage.label(pair > 60)[1] for pair in pairs} == {2}


def test_fields_are_even_noisy_and_smooth(digits: Images) -> None:
    fields = outliers.build_pool(digits, 0).textures.astype(float)
    assert len(fields) == 80
    spread = fields.std(axis=(1, 2))
    steps = np.abs(np.diff(fields, axis=2)).mean(axis=(1, 2))
    assert 1 < np.sum(spread == 0) < 30
    rough = steps[spread > 0] / spread[spread > 0]
    assert np.sum(rough > 0.9) > 5
    assert np.sum(rough < 0.4) > 20


def test_drawing_distorts_shapes_and_leaves_fields_alone() -> None:
    shape, field = np.zeros((2, 28, 28), np.uint8)
    shape[6:22, 8:20] = 200
    field[:] = np.random.default_rng(0).integers(0, 256, (28, 28))
    bank = OutlierPool(shape[None], field[None])
    drawn = outliers.sample(bank, 400, RECIPE, (1, 2))
    assert drawn.shape == (400, 28, 28)
    same = np.all(drawn == field, axis=(1, 2))
    assert same.sum() == 72
    assert 16 < same[:200].sum() < 56, "in random order"
    shapes = drawn[~same]
    assert len(np.unique(shapes, axis=0)) == 328
    assert not np.any(np.all(shapes == shape, axis=(1, 2)))
    centres = np.array([ndimage.center_of_mass(image) for image in shapes]) - 13.5
    assert 1 < np.abs(centres).max() < 6
    np.testing.assert_array_equal(drawn, outliers.sample(bank, 400, RECIPE, (1, 2)))
    assert not np.array_equal(drawn, outliers.sample(bank, 400, RECIPE, (1, 3)))


def test_the_fonts_are_text_fonts_that_come_with_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    names = {path.stem for path in outliers.fonts()}
    assert {"DejaVuSans", "DejaVuSerif-Bold", "STIXGeneral", "cmr10"} <= names
    assert not {name for name in names if "Display" in name or "Siz" in name}
