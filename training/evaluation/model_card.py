"""What a colleague reads before a version goes live: the model card, in Markdown and as one HTML page."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from markdown import markdown

from training.evaluation.assessment import EvaluationReport
from training.fit.loop import Scores

CARD_FILE, HTML_FILE = "card.md", "index.html"
PLOTS = {
    "mistakes.png": "Every test image that it gets wrong: the true digit, as the given one.",
    "confusion.png": "True digits down, given digits across.",
    "reliability.png": "How often it is right, against how sure it is.",
    "accuracy.png": "Accuracy while it learnt.",
    "cross_entropy.png": "Cross-entropy while it learnt.",
    "samples.png": "Training digits, and the same as the recipe distorts them.",
    "weights.png": "The first layer: what each unit looks for (red) and looks away from (blue).",
}

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0 } th, td { padding: .2rem .8rem .2rem 0; text-align: left }
th { border-bottom: 1px solid #888 } td { border-bottom: 1px solid #ddd; font-variant-numeric: tabular-nums }
img { max-width: 100%; display: block } code { overflow-wrap: anywhere }
"""


def overfitting_summary(training: Scores, test: Scores, images: int) -> str:
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


def render_card(manifest: dict[str, Any], assessment: EvaluationReport, words: str) -> str:
    """The model card in Markdown: the manifest, the assessment, and the verdict in words."""
    dataset, recipe, metrics = manifest["dataset"], manifest["recipe"], manifest["metrics"]
    images = dataset["images"]
    sizes = "-".join(str(size) for size in (784, *recipe["layers"], 10))
    files = "\n".join(
        f"- `{file['name']}`, {file['size']} bytes, sha256 `{file['sha256']}`" for file in dataset["files"]
    )
    tables = {title: _markdown(table) for title, table in assessment.tables().items()}
    pictures = "\n\n".join(f"![{words}]({name})\n\n{words}" for name, words in PLOTS.items())
    return f"""# {manifest["name"]}: model card

A fully connected network, {sizes}, {manifest["parameters"]} parameters, {recipe["activation"]} activation,
trained on {dataset["name"]} with the recipe `{recipe["name"]}`, seed {manifest["seed"]}, {manifest["created_at"]},
code revision `{manifest["code_revision"]}`.

## For and not for
For pictures of one handwritten digit, brought into MNIST's form: 28x28, light ink on dark ground, centred.
Not for letters, for several digits in one picture, or for deciding anything by itself where a wrong
digit costs money or harms somebody.

## Limits
It answers any image with a digit. What is no digit it calls uncertain as often as the table below says,
and no more often; letters that look like a digit (O, l, S, Z) it takes for one. It has seen American
handwriting of the 1990s: a 1 with a long upstroke or a crossed 7 is rarer there than elsewhere.

## Data
{images["training"]} images trained it, {images["validation"]} chose temperature and threshold, and {images["test"]},
which decided nothing, gave the figures below.

{files}

## Results
{tables["Accuracy"]}

{words}

On the validation part {metrics["validation_accuracy"]:.2%} are right, with a cross-entropy of
{metrics["validation_cross_entropy"]:.5f}.

## Calibration
Softmax temperature {manifest["temperature"]:.4f}, fitted on the validation part and folded into the graph.

{tables["Calibration"]}

## Not a digit
Answers of a confidence under {manifest["thresholds"]["confidence"]:.4f} are called uncertain: 1 % of the validation
digits. AUROC is the chance that a test digit gets more confidence than such an image.

{tables["Not a digit"]}

## Robustness
{tables["Robustness"]}

## Pictures
{pictures}
"""


def render_html(card: str) -> str:
    """The card as one HTML page; it shows the pictures that lie beside it."""
    body = markdown(card, extensions=["tables"])
    head = f'<meta charset="utf-8"><title>Model card</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def _markdown(table: Sequence[Sequence[str]]) -> str:
    header, *rows = (f"| {' | '.join(row)} |" for row in table)
    return "\n".join([header, "|" + "---|" * len(table[0]), *rows])
