"""The plots of a run: training samples, curves, confusion matrix, reliability, errors, first layer."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from training.data import augment
from training.data.mnist import Split
from training.evaluation.metrics import ReliabilityBin, wilson_interval
from training.recipe import Recipe
from training.types import EvaluationRow, Images

SAMPLES = 50
ZOOM = (0.85, 1.0)
"""The accuracy range of the zoomed panel."""

Digits = npt.NDArray[np.integer[Any]]

_TILE, _TILES_PER_ROW, _UNITS_PER_ROW = (64, 76), 16, 20
_TITLES = {"accuracy": "Accuracy", "cross_entropy": "Cross-entropy per image, nats"}


def samples(split: Split, recipe: Recipe, path: Path) -> None:
    """Up to fifty images of a split and, below a line, an augmented copy of each."""
    images = split.images[:SAMPLES].astype(np.float32)
    sheet = _sheet(images)
    if augment.is_enabled(recipe):
        draws = augment.draw(recipe, (len(images),), (recipe.seed, 0))
        distorted = np.asarray(augment.distort(images, draws, recipe))
        line = np.full((2, sheet.shape[1]), 255, np.float32)
        sheet = np.concatenate([sheet, line, _sheet(distorted)])
    figure = Figure(figsize=(6, 6 * sheet.shape[0] / sheet.shape[1]))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(sheet, cmap="gray_r", vmin=0, vmax=255)
    axes.axis("off")
    figure.savefig(path, dpi=120)


def curves(rows: Sequence[EvaluationRow], score: str, path: Path) -> None:
    """A score over the iterations, training thin and test thick; accuracy has a second panel zoomed to 0.85-1.0."""
    figure, panels = _panels(2 if score == "accuracy" else 1)
    for axes in panels:
        iterations = [row.iteration for row in rows]
        training = [getattr(row.training, score) for row in rows]
        test = [getattr(row.test, score) for row in rows]
        axes.plot(iterations, training, linewidth=0.8, color="tab:blue", label="training (augmented batches)")
        axes.plot(iterations, test, linewidth=2.2, color="tab:red", label="test")
    _finish(figure, panels, score, path)


def overlay(runs: Mapping[str, Sequence[EvaluationRow]], path: Path) -> None:
    """The test curves of several runs, by name: accuracy, accuracy zoomed, cross-entropy."""
    figure, panels = _panels(3)
    for name, rows in runs.items():
        iterations = [row.iteration for row in rows]
        for axes, score in zip(panels, ("accuracy", "accuracy", "cross_entropy"), strict=True):
            values = [getattr(row.test, score) for row in rows]
            axes.plot(iterations, values, linewidth=1.5, label=_literal(name))
    panels[2].set_ylabel(_TITLES["cross_entropy"])
    _finish(figure, panels[:2], "accuracy", path)


def confusion(matrix: npt.NDArray[np.int64], path: Path) -> None:
    """Counts [10, 10], true digits in rows and predicted digits in columns; errors are shaded."""
    figure = Figure(figsize=(5.6, 5.2), layout="constrained")
    axes = figure.add_subplot()
    errors = matrix - np.diag(np.diag(matrix))
    axes.imshow(errors, cmap="Reds")
    for true, predicted in np.ndindex(*matrix.shape):
        weight = "bold" if true == predicted else "normal"
        colour = "white" if 2 * errors[true, predicted] > errors.max() else "black"
        count = str(matrix[true, predicted])
        axes.text(predicted, true, count, ha="center", va="center", fontsize=8, weight=weight, color=colour)
    axes.set(xticks=range(10), yticks=range(10), xlabel="predicted digit", ylabel="true digit")
    figure.savefig(path, dpi=120)


def reliability(bins: Sequence[ReliabilityBin], path: Path) -> None:
    """Accuracy over mean confidence, a dot per bin with its 95 % interval, above the number of images per bin."""
    figure = Figure(figsize=(5.6, 5.6), layout="constrained")
    axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, label="calibrated")
    confidences = [b.confidence for b in bins]
    intervals = [wilson_interval(round(b.accuracy * b.images), b.images) for b in bins]
    lows, highs = [low for low, _ in intervals], [high for _, high in intervals]
    axes.vlines(confidences, lows, highs, color="tab:red", linewidth=1)
    axes.plot(confidences, [b.accuracy for b in bins], "o", color="tab:red", label="test images, 95 % interval")
    axes.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    counts.bar(confidences, [b.images for b in bins], width=0.03, color="tab:blue")
    counts.set(yscale="log", ylabel="images", xlabel="confidence")
    figure.savefig(path, dpi=120)


def mistakes(images: Images, true: Digits, predicted: Digits, path: Path) -> None:
    """All images [N, 28, 28] on one sheet, each above its true and its predicted digit [N]."""
    rows = max(1, -(-len(images) // _TILES_PER_ROW))
    sheet = Image.new("L", (_TILES_PER_ROW * _TILE[0], rows * _TILE[1]), 255)
    canvas = ImageDraw.Draw(sheet)
    for index, (image, label, digit) in enumerate(zip(images, true, predicted, strict=True)):
        left, top = index % _TILES_PER_ROW * _TILE[0], index // _TILES_PER_ROW * _TILE[1]
        sheet.paste(Image.fromarray(255 - image).resize((56, 56), Image.Resampling.BICUBIC), (left + 4, top + 2))
        canvas.text((left + 20, top + 60), f"{label} as {digit}", fill=0, anchor="lt")
    sheet.save(path)


def weights(matrix: npt.NDArray[np.float32], path: Path) -> None:
    """The first layer [784, units], one tile per unit, each scaled on its own: positive red, negative blue."""
    units = matrix.T.reshape(-1, 28, 28)
    units = units / np.abs(units).max(axis=(1, 2), keepdims=True)
    sheet = _sheet(units.astype(np.float32), _UNITS_PER_ROW)
    figure = Figure(figsize=(10, 10 * sheet.shape[0] / sheet.shape[1]))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(sheet, cmap="RdBu_r", vmin=-1, vmax=1)
    axes.axis("off")
    figure.savefig(path, dpi=120)


def _literal(name: str) -> str:
    """A label that Matplotlib shows as it is: no formula, no name of a hidden line, no glyph that its font lacks."""
    text = name.encode("ascii", "backslashreplace").decode().replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def _sheet(images: npt.NDArray[np.float32], columns: int = 10) -> npt.NDArray[np.float32]:
    """Images [N, 28, 28] -> one image [28 rows, 28 columns]; the last row is padded with 0."""
    images = np.pad(images, ((0, -len(images) % columns), (0, 0), (0, 0)))
    return images.reshape(-1, columns, 28, 28).transpose(0, 2, 1, 3).reshape(-1, 28 * columns)


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(5.4 * count, 4.2), layout="constrained")
    return figure, list(np.ravel(figure.subplots(1, count)))


def _finish(figure: Figure, panels: Sequence[Axes], score: str, path: Path) -> None:
    for axes in figure.axes:
        axes.set_xlabel("iterations")
        axes.grid(alpha=0.3)
    for axes in panels:
        axes.set_ylabel(_TITLES[score])
    if score == "accuracy":
        panels[0].set_ylim(0, 1)
        panels[1].set_ylim(*ZOOM)
    figure.axes[-1].legend(fontsize=8)
    figure.savefig(path, dpi=120)
