from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from training.data.mnist import Split
from training.evaluation import plots
from training.evaluation.metrics import ReliabilityBin
from training.fit.loop import EvaluationRow, Scores
from training.fit.run_log import Run
from training.recipe import Recipe

ROWS = [
    EvaluationRow(step, Scores(0.9 + step / 1e4, 0.4), Scores(0.9, 0.4), Scores(0.88 + step / 1e4, 0.5))
    for step in (100, 200, 300)
]


def pixels(path: Path) -> np.typing.NDArray[np.uint8]:
    """The picture's grey levels, once it is known to be a PNG."""
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    return np.asarray(Image.open(path).convert("L"))


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are saved."""
    figures: list[Figure] = []
    save = Figure.savefig

    def remember(figure: Figure, path: Path, dpi: int) -> None:
        figures.append(figure)
        save(figure, path, dpi=dpi)

    monkeypatch.setattr(Figure, "savefig", remember)
    return figures


@pytest.mark.parametrize(("score", "panels"), [("accuracy", 2), ("cross_entropy", 1)])
def test_curves_show_training_thin_and_test_thick(score: str, panels: int, drawn: list[Figure], tmp_path: Path) -> None:
    plots.curves(ROWS, score, tmp_path / "curves.png")
    (figure,) = drawn
    assert len(figure.axes) == panels
    for axes in figure.axes:
        training, test = axes.lines
        assert training.get_linewidth() < test.get_linewidth() / 2
        for line, part in ((training, "training"), (test, "test")):
            assert line.get_label().__str__().startswith(part)
            np.testing.assert_array_equal(line.get_xdata(), [100, 200, 300])
            np.testing.assert_array_equal(line.get_ydata(), [getattr(getattr(row, part), score) for row in ROWS])
    if score == "accuracy":
        assert [axes.get_ylim() for axes in figure.axes] == [(0, 1), (0.85, 1.0)]
    height, width = pixels(tmp_path / "curves.png").shape
    assert height > 400
    assert width > 500 * panels


def test_overlay_has_the_test_curve_of_every_run(drawn: list[Figure], tmp_path: Path) -> None:
    runs = [Run(tmp_path / name, tuple(ROWS[:length]), {}) for name, length in (("one", 3), ("two", 2))]
    plots.overlay(runs, tmp_path / "overlay.png")
    whole, zoomed, entropy = drawn[0].axes
    for axes, score in ((whole, "accuracy"), (zoomed, "accuracy"), (entropy, "cross_entropy")):
        assert [line.get_label() for line in axes.lines] == ["one", "two"]
        for line, run in zip(axes.lines, runs, strict=True):
            np.testing.assert_array_equal(line.get_ydata(), [getattr(row.test, score) for row in run.rows])
    assert zoomed.get_ylim() == (0.85, 1.0)
    assert pixels(tmp_path / "overlay.png").std() > 0


def test_confusion_writes_every_count_and_shades_only_mistakes(drawn: list[Figure], tmp_path: Path) -> None:
    matrix = np.arange(100).reshape(10, 10) + 900
    plots.confusion(matrix, tmp_path / "confusion.png")
    (axes,) = drawn[0].axes
    assert {(*text.get_position(), text.get_text()) for text in axes.texts} == {
        (given, true, str(matrix[true, given])) for true in range(10) for given in range(10)
    }
    shades = np.asarray(axes.images[0].get_array())
    np.testing.assert_array_equal(shades, np.where(np.eye(10), 0, matrix))
    assert pixels(tmp_path / "confusion.png").shape > (500, 500)


def test_samples_show_fifty_digits_and_their_distortions(drawn: list[Figure], tmp_path: Path) -> None:
    images = np.zeros((60, 28, 28), np.uint8)
    images[:, 10:18, 10:18] = np.arange(1, 61)[:, None, None] * 4
    part = Split(images, np.zeros(60, np.uint8))
    for recipe in (Recipe.load("smoke"), Recipe.load("best", ["shift=2"])):
        plots.samples(part, recipe, tmp_path / "samples.png")
    plain, distorted = (np.asarray(figure.axes[0].images[0].get_array()) for figure in drawn)
    assert plain.shape == (140, 280)
    tiles = plain.reshape(5, 28, 10, 28).swapaxes(1, 2).reshape(50, 28, 28)
    np.testing.assert_array_equal(tiles, images[:50])
    np.testing.assert_array_equal(distorted[:140], plain)
    under = distorted[-140:].reshape(5, 28, 10, 28).swapaxes(1, 2).reshape(50, 28, 28)
    assert not np.allclose(under, images[:50])
    np.testing.assert_allclose(under.max(axis=(1, 2)), images[:50].max(axis=(1, 2)), rtol=0.1)


@pytest.mark.parametrize("recipe", ["smoke", "best"])
def test_samples_of_a_part_with_few_images_show_those(recipe: str, tmp_path: Path) -> None:
    part = Split(np.full((7, 28, 28), 99, np.uint8), np.zeros(7, np.uint8))
    plots.samples(part, Recipe.load(recipe), tmp_path / "samples.png")
    assert pixels(tmp_path / "samples.png").std() > 0


def test_reliability_has_a_dot_for_each_bin_and_its_interval(drawn: list[Figure], tmp_path: Path) -> None:
    bins = [ReliabilityBin(40, 0.6, 0.5), ReliabilityBin(9000, 0.99, 0.995)]
    plots.reliability(bins, tmp_path / "reliability.png")
    curve, counts = drawn[0].axes
    diagonal, dots = curve.lines
    np.testing.assert_array_equal(diagonal.get_xydata(), [[0, 0], [1, 1]])
    np.testing.assert_array_equal(dots.get_xydata(), [[0.6, 0.5], [0.99, 0.995]])
    (intervals,) = curve.collections
    spans = [np.asarray(path.vertices, float)[:, 1] for path in intervals.get_paths()]
    for span, one in zip(spans, bins, strict=True):
        assert span.min() < one.accuracy < span.max()
    assert np.ptp(spans[0]) > 10 * np.ptp(spans[1])
    assert [bar.get_height() for bar in counts.patches if isinstance(bar, Rectangle)] == [40, 9000]
    assert pixels(tmp_path / "reliability.png").std() > 0


@pytest.mark.parametrize("count", [0, 1, 35])
def test_mistakes_show_every_image_with_ink_on_paper(count: int, tmp_path: Path) -> None:
    images = np.zeros((count, 28, 28), np.uint8)
    images[:, 4:24, 4:24] = 255
    given = np.full(count, 7)
    plots.mistakes(images, np.full(count, 3), given, tmp_path / "mistakes.png")
    sheet = pixels(tmp_path / "mistakes.png")
    height, width = sheet.shape
    tiles = sheet.reshape(height // 76, 76, width // 64, 64).swapaxes(1, 2).reshape(-1, 76, 64)
    inked = [tile[20:40, 20:44].max() == 0 for tile in tiles]
    assert inked == [True] * count + [False] * (len(tiles) - count)
    assert [bool((tile[58:] < 200).any()) for tile in tiles] == inked, "the two digits under it"


def test_weights_are_one_picture_a_unit_each_in_its_own_scale(drawn: list[Figure], tmp_path: Path) -> None:
    matrix = (np.random.default_rng(0).normal(0, 1, (784, 41)) * np.arange(1, 42)).astype(np.float32)
    plots.weights(matrix, tmp_path / "weights.png")
    sheet = np.asarray(drawn[0].axes[0].images[0].get_array())
    assert sheet.shape == (3 * 28, 20 * 28)
    tiles = sheet.reshape(3, 28, 20, 28).swapaxes(1, 2).reshape(60, 784)
    np.testing.assert_allclose(np.abs(tiles[:41]).max(axis=1), 1, rtol=1e-6)
    for unit in (0, 21, 40):
        assert np.corrcoef(tiles[unit], matrix[:, unit])[0, 1] == pytest.approx(1)
    assert not tiles[41:].any()
