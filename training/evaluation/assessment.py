"""All that is asked of a version before it goes live: is it right, does it know when it is not, what upsets it?

The same questions are put to a version that is being published and, by `python -m training evaluate N`,
to the files of one that is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.data.glyphs import Images
from training.data.mnist import Dataset, Split
from training.evaluation import corruptions, ood_sets
from training.evaluation import metrics as evaluate
from training.evaluation.metrics import Floats, Metrics, ReliabilityBin
from training.fit import loop
from training.model import network
from training.recipe import Recipe

PredictFn = Callable[[Images], Floats]
"""uint8 [N, 28, 28] -> probabilities [N, 10]."""
Table = list[list[str]]


@dataclass(frozen=True)
class SelectiveAccuracy:
    """How many of the test digits are called certain, and how many of those are right: 0 to 1."""

    threshold: float
    coverage: float
    accuracy: float


@dataclass(frozen=True)
class OodResult:
    """How a set of images that are no digits is told from the test digits by confidence.

    `uncertain` is the share that is called uncertain; without images `missing` says why.
    """

    name: str
    images: int
    auroc: float
    uncertain: float
    missing: str


@dataclass(frozen=True)
class CorruptionResult:
    """Accuracy on test images that were made harder, and that of the yardstick, if there is one."""

    name: str
    accuracy: float
    baseline: float | None


@dataclass(frozen=True)
class EvaluationReport:
    """The answers to all of it."""

    answers: Floats  # to the test images
    metrics: Metrics
    interval: tuple[float, float]
    halves: tuple[float, float]  # MNIST's first 5,000 test images are from students, and harder
    selective: SelectiveAccuracy
    reliability: list[ReliabilityBin]
    ood: list[OodResult]
    corruptions: list[CorruptionResult]
    baseline: str

    def metrics_dict(self) -> dict[str, float]:
        """What the manifest states of the test part."""
        return self.metrics.as_dict("test") | {
            "test_accuracy_first_half": self.halves[0],
            "test_accuracy_second_half": self.halves[1],
            "test_certain": self.selective.coverage,
            "test_accuracy_certain": self.selective.accuracy,
        }

    def tables(self) -> dict[str, Table]:
        """The answers as tables of words, the first row their header, by title."""
        return {
            "Accuracy": self._accuracy_table(),
            "Calibration": _calibration_table(self.reliability),
            "Not a digit": _ood_table(self.ood),
            "Robustness": self._robustness_table(),
        }

    def _accuracy_table(self) -> Table:
        low, high = self.interval
        return [
            ["of the test images", "", "95 % interval"],
            ["right", f"{self.metrics.accuracy:.2%}", f"{low:.2%} to {high:.2%}"],
            ["right, first half", f"{self.halves[0]:.2%}", ""],
            ["right, second half", f"{self.halves[1]:.2%}", ""],
            ["certain", f"{self.selective.coverage:.2%}", f"confidence of at least {self.selective.threshold:.4f}"],
            ["right of the certain", f"{self.selective.accuracy:.2%}", ""],
            ["cross-entropy, nats", f"{self.metrics.cross_entropy:.5f}", ""],
            ["calibration error", f"{self.metrics.ece:.3%}", "15 bins"],
        ]

    def _robustness_table(self) -> Table:
        rows = [
            [row.name, f"{row.accuracy:.2%}", "" if row.baseline is None else f"{row.baseline:.2%}"]
            for row in self.corruptions
        ]
        return [["test images", "accuracy", self.baseline], *rows]


def evaluate_model(
    predict: PredictFn, data: Dataset, threshold: float, cache: Path, baseline: Recipe | None
) -> EvaluationReport:
    """Put the questions.

    Args:
        predict: the exported network.
        data: its test part is asked; its training part trains the yardstick.
        threshold: answers of a lower confidence are uncertain.
        cache: where the probes keep what they fetch.
        baseline: a recipe to train here and now, to compare with under hardship; seconds for `notebook`.
    """
    test, given = data.test, predict(data.test.images)
    right = given.argmax(axis=1) == test.labels
    certain = given.max(axis=1) >= threshold
    return EvaluationReport(
        answers=given,
        metrics=evaluate.compute_metrics(given, test.labels),
        interval=evaluate.wilson_interval(int(right.sum()), len(test)),
        halves=(_mean(right[: len(test) // 2]), _mean(right[len(test) // 2 :])),
        selective=SelectiveAccuracy(threshold, float(certain.mean()), _mean(right[certain])),
        reliability=evaluate.reliability(given, test.labels),
        ood=_ood_results(predict, test, given.max(axis=1), threshold, cache),
        corruptions=_corruption_results(predict, data, baseline),
        baseline=baseline.name if baseline else "",
    )


def _ood_results(answer: PredictFn, test: Split, confidence: Floats, threshold: float, cache: Path) -> list[OodResult]:
    rows = []
    for probe in ood_sets.load_ood_sets(test.images, cache):
        auroc = uncertain = float("nan")
        if len(probe.images):
            others = answer(probe.images).max(axis=1)
            auroc, uncertain = evaluate.auroc(confidence, others), float(np.mean(others < threshold))
        rows.append(OodResult(probe.name, len(probe.images), auroc, uncertain, probe.missing))
    return rows


def _corruption_results(answer: PredictFn, data: Dataset, yardstick: Recipe | None) -> list[CorruptionResult]:
    other = _trained(yardstick, data) if yardstick else None
    labels = data.test.labels
    rows = []
    for name, make in {"as they are": lambda images: images, **corruptions.corruptions()}.items():
        images = make(data.test.images)
        accuracy = evaluate.accuracy(answer(images), labels)
        rows.append(CorruptionResult(name, accuracy, evaluate.accuracy(other(images), labels) if other else None))
    return rows


def _trained(recipe: Recipe, data: Dataset) -> PredictFn:
    parameters = loop.train(recipe, data, lambda _: None)
    return lambda images: np.asarray(network.logits(parameters, network.to_pixels(images), recipe.activation))


def _calibration_table(bins: list[ReliabilityBin]) -> Table:
    rows = [[str(one.images), f"{one.confidence:.2%}", f"{one.accuracy:.2%}"] for one in bins]
    return [["images", "mean confidence", "right"], *rows]


def _ood_table(strangers: list[OodResult]) -> Table:
    rows = [
        [
            row.name,
            str(row.images),
            *(("", row.missing) if row.missing else (f"{row.auroc:.4f}", f"{row.uncertain:.1%}")),
        ]
        for row in strangers
    ]
    return [["images of", "images", "AUROC", "called uncertain"], *rows]


def _mean(right: npt.NDArray[np.bool_]) -> float:
    return float(right.mean()) if len(right) else 0.0
