"""The model card of a version, in Markdown and HTML: Mitchell et al., "Model cards for model reporting" (2019)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from markdown import markdown

from training.evaluation.assessment import EvaluationReport
from training.types import Scores

CARD_FILE, HTML_FILE = "card.md", "index.html"
PLOTS = {
    "mistakes.png": "All misclassified test images: true digit, as predicted digit.",
    "confusion.png": "Confusion matrix of the test images: true digits in rows, predicted digits in columns.",
    "reliability.png": "Reliability: accuracy over confidence.",
    "accuracy.png": "Accuracy during training.",
    "cross_entropy.png": "Cross-entropy during training.",
    "samples.png": "Training images, and augmented copies of them.",
    "weights.png": "Weights of the first layer, one tile per unit: positive red, negative blue.",
}

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0 } th, td { padding: .2rem .8rem .2rem 0; text-align: left }
th { border-bottom: 1px solid #888 } td { border-bottom: 1px solid #ddd; font-variant-numeric: tabular-nums }
img { max-width: 100%; display: block } code { overflow-wrap: anywhere }
"""


def overfitting_summary(training: Scores, test: Scores, images: int) -> str:
    """Compare the final training and test scores, and conclude whether the model overfits.

    Args:
        training: scores of the final parameters on the training split, without augmentation.
        test: scores of the final parameters on the test split.
        images: size of the test split; twice the standard error of the test accuracy is the tolerated gap.
    """
    gap = training.accuracy - test.accuracy
    tolerance = 2 * float(np.sqrt(test.accuracy * (1 - test.accuracy) / images))
    scores = (
        f"Training accuracy {training.accuracy:.2%}, test accuracy {test.accuracy:.2%}: a gap of "
        f"{100 * gap:.2f} points; two standard errors of the test accuracy are {100 * tolerance:.2f}. "
        f"Cross-entropy per image {training.cross_entropy:.4f} (training) and {test.cross_entropy:.4f} (test). "
    )
    if gap <= tolerance:
        return scores + "No sign of overfitting."
    if test.cross_entropy > 2 * training.cross_entropy:
        return scores + (
            "The model overfits: it is overconfident on new images. Augmentation, weight decay or a smaller network "
            "would reduce the gap."
        )
    return scores + "The model overfits slightly: accuracy is higher on the training images."


def render_card(manifest: dict[str, Any], report: EvaluationReport, overfitting: str) -> str:
    """The model card in Markdown, from the manifest, the evaluation report and the overfitting summary."""
    dataset, recipe, metrics = manifest["dataset"], manifest["recipe"], manifest["metrics"]
    images = dataset["images"]
    sizes = "-".join(str(size) for size in (784, *recipe["layers"], 10))
    files = "\n".join(
        f"- `{file['name']}`, {file['size']} bytes, sha256 `{file['sha256']}`" for file in dataset["files"]
    )
    tables = {title: _markdown(table) for title, table in report.tables().items()}
    plots = "\n\n".join(f"![{caption}]({name})\n\n{caption}" for name, caption in PLOTS.items())
    return f"""# {manifest["name"]}: model card

A fully connected network, {sizes}, {manifest["parameters"]} parameters, {recipe["activation"]} activation,
trained on {dataset["name"]} with the recipe `{recipe["name"]}`, seed {manifest["seed"]}, {manifest["created_at"]},
code revision `{manifest["code_revision"]}`.

## Intended use
Images of one handwritten digit in MNIST's form: 28x28, light ink on a dark background, centred by mass.
Not intended for letters, for several digits in one image, or for decisions without review where a wrong
digit costs money or causes harm.

## Limitations
Every image is classified as a digit. Images that are no digits are marked as uncertain only as often as the
table of out-of-distribution sets shows; letters that look like a digit (O, l, S, Z) are classified as that digit.
{_hands(recipe)}

## Data
{images["training"]} training images, {images["validation"]} validation images (temperature and confidence threshold)
and {images["test"]} test images (used for evaluation only).

{files}

## Results
{tables["Accuracy"]}

{overfitting}

Validation accuracy {metrics["validation_accuracy"]:.2%}, cross-entropy
{metrics["validation_cross_entropy"]:.5f} per image.

## Calibration
Softmax temperature {manifest["temperature"]:.4f}, fitted on the validation split and folded into the last layer.

{tables["Calibration"]}

## Out-of-distribution sets
Predictions with a confidence below {manifest["thresholds"]["confidence"]:.4f} are uncertain: 1 % of the
validation images. AUROC is the probability that a test image has a higher confidence than an image of the set.

{tables["Out-of-distribution sets"]}

## Corruptions
{tables["Corruptions"]}

## Plots
{plots}
"""


def _hands(recipe: dict[str, Any]) -> str:
    """Whose handwriting the network has learnt."""
    american = "MNIST is American handwriting of the 1990s, in which a 1 with a long upstroke and a crossed 7 are rare."
    if not recipe["drawn_share"]:
        return american
    drawn = f"{recipe['drawn_share']:.0%} of the training images are digits that a program draws in the forms of other"
    return f"{american} {drawn} countries. Forms that it does not draw may be read wrong."


def render_html(card: str) -> str:
    """The card as an HTML page, which shows the plots in the same directory."""
    body = markdown(card, extensions=["tables"])
    head = f'<meta charset="utf-8"><title>Model card</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def _markdown(table: Sequence[Sequence[str]]) -> str:
    header, *rows = (f"| {' | '.join(row)} |" for row in table)
    return "\n".join([header, "|" + "---|" * len(table[0]), *rows])
