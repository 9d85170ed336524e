from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from training import plots
from training.dataset import Part
from training.history import Run
from training.loop import Row, Scores
from training.recipe import Recipe

ROWS = [
    Row(step, Scores(0.9 + step / 1e4, 0.4), Scores(0.9, 0.4), Scores(0.88 + step / 1e4, 0.5))
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
    part = Part(images, np.zeros(60, np.uint8))
    for recipe in (Recipe.load("quick"), Recipe.load("best", ["shift=2"])):
        plots.samples(part, recipe, tmp_path / "samples.png")
    plain, distorted = (np.asarray(figure.axes[0].images[0].get_array()) for figure in drawn)
    assert plain.shape == (140, 280)
    tiles = plain.reshape(5, 28, 10, 28).swapaxes(1, 2).reshape(50, 28, 28)
    np.testing.assert_array_equal(tiles, images[:50])
    np.testing.assert_array_equal(distorted[:140], plain)
    under = distorted[-140:].reshape(5, 28, 10, 28).swapaxes(1, 2).reshape(50, 28, 28)
    assert not np.allclose(under, images[:50])
    np.testing.assert_allclose(under.max(axis=(1, 2)), images[:50].max(axis=(1, 2)), rtol=0.1)


@pytest.mark.parametrize("recipe", ["quick", "best"])
def test_samples_of_a_part_with_few_images_show_those(recipe: str, tmp_path: Path) -> None:
    part = Part(np.full((7, 28, 28), 99, np.uint8), np.zeros(7, np.uint8))
    plots.samples(part, Recipe.load(recipe), tmp_path / "samples.png")
    assert pixels(tmp_path / "samples.png").std() > 0
