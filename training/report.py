"""The pictures and the words of a run: sample digits, curves, confusion matrix, verdict, model card."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training import augment
from training.dataset import Part
from training.history import Run
from training.loop import Row, Scores
from training.recipe import Recipe

SAMPLES = 50
ZOOM = (0.85, 1.0)
"""The accuracies of the zoomed curve."""

_TITLES = {"accuracy": "Accuracy", "cross_entropy": "Cross-entropy per image, nats"}


def samples(part: Part, recipe: Recipe, path: Path) -> None:
    """Up to fifty images of a part and, under a line, one distortion of each as the recipe makes it."""
    images = part.images[:SAMPLES].astype(np.float32)
    sheet = _sheet(images)
    if augment.distorts(recipe):
        draws = augment.draw(recipe, (len(images),), (recipe.seed, 0))
        distorted = np.asarray(augment.distort(images, draws, recipe))
        line = np.full((2, sheet.shape[1]), 255, np.float32)
        sheet = np.concatenate([sheet, line, _sheet(distorted)])
    figure = Figure(figsize=(6, 6 * sheet.shape[0] / sheet.shape[1]))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(sheet, cmap="gray_r", vmin=0, vmax=255)
    axes.axis("off")
    figure.savefig(path, dpi=120)


def curves(rows: Sequence[Row], score: str, path: Path) -> None:
    """A score against iterations: training thin, test thick; accuracy also zoomed to 0.85-1.0."""
    figure, panels = _panels(2 if score == "accuracy" else 1)
    for axes in panels:
        iterations = [row.iteration for row in rows]
        training = [getattr(row.training, score) for row in rows]
        test = [getattr(row.test, score) for row in rows]
        axes.plot(iterations, training, linewidth=0.8, color="tab:blue", label="training (batches as seen)")
        axes.plot(iterations, test, linewidth=2.2, color="tab:red", label="test")
    _finish(figure, panels, score, path)


def overlay(runs: Iterable[Run], path: Path) -> None:
    """The test curves of several runs over each other: accuracy whole and zoomed, cross-entropy."""
    figure, panels = _panels(3)
    for run in runs:
        iterations = [row.iteration for row in run.rows]
        for axes, score in zip(panels, ("accuracy", "accuracy", "cross_entropy"), strict=True):
            values = [getattr(row.test, score) for row in run.rows]
            axes.plot(iterations, values, linewidth=1.5, label=run.name)
    panels[2].set_ylabel(_TITLES["cross_entropy"])
    _finish(figure, panels[:2], "accuracy", path)


def confusion(matrix: npt.NDArray[np.int64], path: Path) -> None:
    """Counts [10, 10], true digits down and given digits across; the mistakes are shaded."""
    figure = Figure(figsize=(5.6, 5.2), layout="constrained")
    axes = figure.add_subplot()
    mistakes = matrix - np.diag(np.diag(matrix))
    axes.imshow(mistakes, cmap="Reds")
    for true, given in np.ndindex(*matrix.shape):
        weight = "bold" if true == given else "normal"
        colour = "white" if 2 * mistakes[true, given] > mistakes.max() else "black"
        count = str(matrix[true, given])
        axes.text(given, true, count, ha="center", va="center", fontsize=8, weight=weight, color=colour)
    axes.set(xticks=range(10), yticks=range(10), xlabel="given digit", ylabel="true digit")
    figure.savefig(path, dpi=120)


def verdict(training: Scores, test: Scores, images: int) -> str:
    """The gap between training and test at the end, and what it says about overfitting.

    Args:
        training: of the final weights on the undistorted training part.
        test: of the final weights on the test part.
        images: how many images the test part has; it decides how much of the gap may be chance.
    """
    gap = training.accuracy - test.accuracy
    chance = 2 * float(np.sqrt(test.accuracy * (1 - test.accuracy) / images))
    figures = (
        f"Training accuracy {training.accuracy:.2%}, test accuracy {test.accuracy:.2%}: a gap of "
        f"{100 * gap:.2f} points, where the size of the test set alone makes for {100 * chance:.2f}. "
        f"Cross-entropy per image {training.cross_entropy:.4f} and {test.cross_entropy:.4f}. "
    )
    if gap <= chance:
        return figures + "No sign of overfitting: what it learnt holds for new images."
    if test.cross_entropy > 2 * training.cross_entropy:
        return figures + (
            "It overfits: it has learnt training images by heart, and is too sure of new ones. Distortion, "
            "weight decay or a smaller network would close the gap."
        )
    return figures + "It overfits a little: it does better on images that it has seen."


def card(manifest: dict[str, Any], words: str) -> str:
    """The model card in Markdown, from the manifest."""
    metrics, dataset, recipe = manifest["metrics"], manifest["dataset"], manifest["recipe"]
    images = dataset["images"]
    sizes = "-".join(str(size) for size in (784, *recipe["layers"], 10))
    files = "\n".join(
        f"- `{file['name']}`, {file['size']} bytes, sha256 `{file['sha256']}`" for file in dataset["files"]
    )
    figures = "\n".join(f"| {name.replace('_', ' ')} | {value:.5f} |" for name, value in metrics.items())
    return f"""# {manifest["name"]}: model card

A fully connected network, {sizes}, {manifest["parameters"]} parameters, {recipe["activation"]} activation,
trained on {dataset["name"]} with the recipe `{recipe["name"]}`, seed {manifest["seed"]}.

## For and not for
For pictures of one handwritten digit, brought into MNIST's form: 28x28, light ink on dark ground, centred.
Not for letters, for several digits in one picture, or for deciding anything by itself where a wrong
digit costs money or harms somebody: it answers any image, and can be sure and wrong.

## Data
{images["training"]} images trained it, {images["validation"]} chose temperature and threshold, and {images["test"]},
which decided nothing, gave the test figures below.

{files}

## Results
| figure | value |
|---|---|
{figures}

{words}

Softmax temperature {manifest["temperature"]:.4f}, folded into the graph. Answers of a confidence under
{manifest["thresholds"]["confidence"]:.4f} are called uncertain: 1 % of the validation digits.

![confusion](confusion.png) ![accuracy](accuracy.png) ![cross-entropy](cross_entropy.png)
"""


def _sheet(images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """images [N, 28, 28] -> one picture [28 rows, 280], ten images a row; the last row is filled up with 0."""
    images = np.pad(images, ((0, -len(images) % 10), (0, 0), (0, 0)))
    return images.reshape(-1, 10, 28, 28).transpose(0, 2, 1, 3).reshape(-1, 280)


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
