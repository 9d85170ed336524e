"""Plots: the data in the figures and the pixels in the files."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from training.data.mnist import Split
from training.evaluation import plots
from training.evaluation.metrics import ReliabilityBin
from training.recipe import Recipe
from training.types import EvaluationRow, Scores

ROWS = [
    EvaluationRow(step, Scores(0.9 + step / 1e4, 0.4), Scores(0.9, 0.4), Scores(0.88 + step / 1e4, 0.5))
    for step in (100, 200, 300)
]


def pixels(path: Path) -> np.typing.NDArray[np.uint8]:
    """The grey levels of a PNG file."""
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    return np.asarray(Image.open(path).convert("L"))


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that have been saved."""
    saved: list[Figure] = []
    save = Figure.savefig

    def record(figure: Figure, path: Path, dpi: int) -> None:
        saved.append(figure)
        save(figure, path, dpi=dpi)

    monkeypatch.setattr(Figure, "savefig", record)
    return saved


@pytest.mark.parametrize(("score", "panels"), [("accuracy", 2), ("cross_entropy", 1)])
def test_curves_draw_training_thin_and_test_thick(
    score: str, panels: int, figures: list[Figure], tmp_path: Path
) -> None:
    plots.curves(ROWS, score, tmp_path / "curves.png")
    (figure,) = figures
    assert len(figure.axes) == panels
    for axes in figure.axes:
        training, test = axes.lines
        assert training.get_linewidth() < test.get_linewidth() / 2
        for line, split in ((training, "training"), (test, "test")):
            assert line.get_label().__str__().startswith(split)
            np.testing.assert_array_equal(line.get_xdata(), [100, 200, 300])
            np.testing.assert_array_equal(line.get_ydata(), [getattr(getattr(row, split), score) for row in ROWS])
    if score == "accuracy":
        assert [axes.get_ylim() for axes in figure.axes] == [(0, 1), (0.85, 1.0)]
    height, width = pixels(tmp_path / "curves.png").shape
    assert height > 400
    assert width > 500 * panels


def test_overlay_has_the_test_curve_of_every_run(figures: list[Figure], tmp_path: Path) -> None:
    runs = {"one": ROWS, "two": ROWS[:2]}
    plots.overlay(runs, tmp_path / "overlay.png")
    accuracy, zoomed, entropy = figures[0].axes
    for axes, score in ((accuracy, "accuracy"), (zoomed, "accuracy"), (entropy, "cross_entropy")):
        assert [line.get_label() for line in axes.lines] == ["one", "two"]
        for line, rows in zip(axes.lines, runs.values(), strict=True):
            np.testing.assert_array_equal(line.get_ydata(), [getattr(row.test, score) for row in rows])
    assert zoomed.get_ylim() == (0.85, 1.0)
    assert pixels(tmp_path / "overlay.png").std() > 0


def test_confusion_shows_every_count_and_shades_errors_only(figures: list[Figure], tmp_path: Path) -> None:
    matrix = np.arange(100).reshape(10, 10) + 900
    plots.confusion(matrix, tmp_path / "confusion.png")
    (axes,) = figures[0].axes
    assert {(*text.get_position(), text.get_text()) for text in axes.texts} == {
        (predicted, true, str(matrix[true, predicted])) for true in range(10) for predicted in range(10)
    }
    shades = np.asarray(axes.images[0].get_array())
    np.testing.assert_array_equal(shades, np.where(np.eye(10), 0, matrix))
    assert pixels(tmp_path / "confusion.png").shape > (500, 500)


def test_samples_show_fifty_images_and_their_augmented_copies(figures: list[Figure], tmp_path: Path) -> None:
    images = np.zeros((60, 28, 28), np.uint8)
    images[:, 10:18, 10:18] = np.arange(1, 61)[:, None, None] * 4
    split = Split(images, np.zeros(60, np.uint8))
    for recipe in (Recipe.load("smoke"), Recipe.load("best", ["shift=2"])):
        plots.samples(split, recipe, tmp_path / "samples.png")
    plain, augmented = (np.asarray(figure.axes[0].images[0].get_array()) for figure in figures)
    assert plain.shape == (140, 280)
    tiles = plain.reshape(5, 28, 10, 28).swapaxes(1, 2).reshape(50, 28, 28)
    np.testing.assert_array_equal(tiles, images[:50])
    np.testing.assert_array_equal(augmented[:140], plain)
    copies = augmented[-140:].reshape(5, 28, 10, 28).swapaxes(1, 2).reshape(50, 28, 28)
    assert not np.allclose(copies, images[:50])
    np.testing.assert_allclose(copies.max(axis=(1, 2)), images[:50].max(axis=(1, 2)), rtol=0.1)


@pytest.mark.parametrize("recipe", ["smoke", "best"])
def test_samples_of_a_small_split_show_all_images(recipe: str, tmp_path: Path) -> None:
    split = Split(np.full((7, 28, 28), 99, np.uint8), np.zeros(7, np.uint8))
    plots.samples(split, Recipe.load(recipe), tmp_path / "samples.png")
    assert pixels(tmp_path / "samples.png").std() > 0


def test_reliability_shows_each_bin_with_its_interval(figures: list[Figure], tmp_path: Path) -> None:
    bins = [ReliabilityBin(40, 0.6, 0.5), ReliabilityBin(9000, 0.99, 0.995)]
    plots.reliability(bins, tmp_path / "reliability.png")
    curve, counts = figures[0].axes
    diagonal, dots = curve.lines
    np.testing.assert_array_equal(diagonal.get_xydata(), [[0, 0], [1, 1]])
    np.testing.assert_array_equal(dots.get_xydata(), [[0.6, 0.5], [0.99, 0.995]])
    (intervals,) = curve.collections
    spans = [np.asarray(path.vertices, float)[:, 1] for path in intervals.get_paths()]
    for span, b in zip(spans, bins, strict=True):
        assert span.min() < b.accuracy < span.max()
    assert np.ptp(spans[0]) > 10 * np.ptp(spans[1])
    assert [bar.get_height() for bar in counts.patches if isinstance(bar, Rectangle)] == [40, 9000]
    assert pixels(tmp_path / "reliability.png").std() > 0


@pytest.mark.parametrize("count", [0, 1, 35])
def test_mistakes_show_every_image_with_its_digits(count: int, tmp_path: Path) -> None:
    images = np.zeros((count, 28, 28), np.uint8)
    images[:, 4:24, 4:24] = 255
    predicted = np.full(count, 7)
    plots.mistakes(images, np.full(count, 3), predicted, tmp_path / "mistakes.png")
    sheet = pixels(tmp_path / "mistakes.png")
    height, width = sheet.shape
    tiles = sheet.reshape(height // 76, 76, width // 64, 64).swapaxes(1, 2).reshape(-1, 76, 64)
    inked = [tile[20:40, 20:44].max() == 0 for tile in tiles]
    assert inked == [True] * count + [False] * (len(tiles) - count)
    assert [bool((tile[58:] < 200).any()) for tile in tiles] == inked, "the two digits below it"


def test_weights_are_one_tile_per_unit_each_scaled_on_its_own(figures: list[Figure], tmp_path: Path) -> None:
    matrix = (np.random.default_rng(0).normal(0, 1, (784, 41)) * np.arange(1, 42)).astype(np.float32)
    plots.weights(matrix, tmp_path / "weights.png")
    sheet = np.asarray(figures[0].axes[0].images[0].get_array())
    assert sheet.shape == (3 * 28, 20 * 28)
    tiles = sheet.reshape(3, 28, 20, 28).swapaxes(1, 2).reshape(60, 784)
    np.testing.assert_allclose(np.abs(tiles[:41]).max(axis=1), 1, rtol=1e-6)
    for unit in (0, 21, 40):
        assert np.corrcoef(tiles[unit], matrix[:, unit])[0, 1] == pytest.approx(1)
    assert not tiles[41:].any()
