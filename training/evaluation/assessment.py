"""Evaluation of an exported version: accuracy, calibration, selective accuracy, OOD detection, corruptions.

The pipeline evaluates a candidate with it, `python -m training evaluate N` the files of a published version.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from training.data.mnist import Split
from training.evaluation import metrics, ood_sets
from training.evaluation.corruptions import corruptions
from training.evaluation.metrics import Floats, Metrics, ReliabilityBin
from training.types import Images, Probabilities

PredictFn = Callable[[Images], Probabilities]
"""Images uint8 [N, 28, 28] -> probabilities [N, 10]."""
Table = list[list[str]]


class Baseline(NamedTuple):
    """A model to compare with, and the name of its column in the table of corruptions."""

    name: str
    predict: PredictFn


@dataclass(frozen=True)
class SelectiveAccuracy:
    """The share of the test images with a confidence of at least `threshold`, and the accuracy on these: 0 to 1."""

    threshold: float
    coverage: float
    accuracy: float


@dataclass(frozen=True)
class OodResult:
    """How well the confidence separates an OOD set from the test images.

    `uncertain` is the share of the set below the threshold; if the set has no images, `missing` is the reason.
    """

    name: str
    images: int
    auroc: float
    uncertain: float
    missing: str


@dataclass(frozen=True)
class CorruptionResult:
    """The accuracy on corrupted test images, and that of the baseline if there is one."""

    name: str
    accuracy: float
    baseline: float | None


@dataclass(frozen=True)
class EvaluationReport:
    """All results of an evaluation. `probabilities` are those of the test images."""

    probabilities: Probabilities
    metrics: Metrics
    interval: tuple[float, float]
    halves: tuple[float, float]  # accuracy; MNIST's first 5,000 test images, written by students, are harder
    selective: SelectiveAccuracy
    reliability: list[ReliabilityBin]
    ood: list[OodResult]
    corruptions: list[CorruptionResult]
    baseline_name: str

    def metrics_dict(self) -> dict[str, float]:
        """The metrics of the test split, by their names in the manifest."""
        return self.metrics.as_dict("test") | {
            "test_accuracy_first_half": self.halves[0],
            "test_accuracy_second_half": self.halves[1],
            "test_coverage": self.selective.coverage,
            "test_selective_accuracy": self.selective.accuracy,
        }

    def tables(self) -> dict[str, Table]:
        """The results as tables of text, by title; the first row of a table is its header."""
        return {
            "Accuracy": self._accuracy_table(),
            "Calibration": _calibration_table(self.reliability),
            "Out-of-distribution sets": _ood_table(self.ood),
            "Corruptions": self._corruption_table(),
        }

    def _accuracy_table(self) -> Table:
        low, high = self.interval
        return [
            ["test images", "", ""],
            ["accuracy", f"{self.metrics.accuracy:.2%}", f"95 % interval {low:.2%} to {high:.2%}"],
            ["accuracy, first half", f"{self.halves[0]:.2%}", ""],
            ["accuracy, second half", f"{self.halves[1]:.2%}", ""],
            ["coverage", f"{self.selective.coverage:.2%}", f"confidence of at least {self.selective.threshold:.4f}"],
            ["selective accuracy", f"{self.selective.accuracy:.2%}", "of the covered images"],
            ["cross-entropy, nats", f"{self.metrics.cross_entropy:.5f}", ""],
            ["calibration error", f"{self.metrics.ece:.3%}", "15 bins"],
        ]

    def _corruption_table(self) -> Table:
        rows = [
            [row.name, f"{row.accuracy:.2%}", "" if row.baseline is None else f"{row.baseline:.2%}"]
            for row in self.corruptions
        ]
        return [["test images", "accuracy", self.baseline_name], *rows]


def evaluate_model(
    predict: PredictFn, test: Split, threshold: float, cache: Path, baseline: Baseline | None
) -> EvaluationReport:
    """Evaluate a model on the test split, on corrupted test images and on the OOD sets.

    Args:
        predict: the exported model.
        test: the test split.
        threshold: predictions of a lower confidence are uncertain.
        cache: the directory of downloaded OOD sets.
        baseline: a model to compare with on the corruptions.
    """
    probabilities = predict(test.images)
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == test.labels
    covered = confidence >= threshold
    half = len(test) // 2
    return EvaluationReport(
        probabilities=probabilities,
        metrics=metrics.compute_metrics(probabilities, test.labels),
        interval=metrics.wilson_interval(int(correct.sum()), len(test)),
        halves=(_mean(correct[:half]), _mean(correct[half:])),
        selective=SelectiveAccuracy(threshold, float(covered.mean()), _mean(correct[covered])),
        reliability=metrics.reliability(probabilities, test.labels),
        ood=_ood_results(predict, test, confidence, threshold, cache),
        corruptions=_corruption_results(predict, test, baseline),
        baseline_name=baseline.name if baseline else "",
    )


def _ood_results(predict: PredictFn, test: Split, confidence: Floats, threshold: float, cache: Path) -> list[OodResult]:
    results = []
    for ood_set in ood_sets.load_ood_sets(test.images, cache):
        auroc = uncertain = float("nan")
        if len(ood_set.images):
            ood_confidence = predict(ood_set.images).max(axis=1)
            auroc = metrics.auroc(confidence, ood_confidence)
            uncertain = float(np.mean(ood_confidence < threshold))
        results.append(OodResult(ood_set.name, len(ood_set.images), auroc, uncertain, ood_set.missing))
    return results


def _corruption_results(predict: PredictFn, test: Split, baseline: Baseline | None) -> list[CorruptionResult]:
    results = []
    for name, corrupt in {"uncorrupted": lambda images: images, **corruptions()}.items():
        images = corrupt(test.images)
        accuracy = metrics.accuracy(predict(images), test.labels)
        other = metrics.accuracy(baseline.predict(images), test.labels) if baseline else None
        results.append(CorruptionResult(name, accuracy, other))
    return results


def _calibration_table(bins: list[ReliabilityBin]) -> Table:
    rows = [[str(b.images), f"{b.confidence:.2%}", f"{b.accuracy:.2%}"] for b in bins]
    return [["images", "mean confidence", "accuracy"], *rows]


def _ood_table(results: list[OodResult]) -> Table:
    rows = []
    for result in results:
        scores = ["", result.missing] if result.missing else [f"{result.auroc:.4f}", f"{result.uncertain:.1%}"]
        rows.append([result.name, str(result.images), *scores])
    return [["set", "images", "AUROC", "uncertain"], *rows]


def _mean(correct: npt.NDArray[np.bool_]) -> float:
    return float(correct.mean()) if len(correct) else 0.0
