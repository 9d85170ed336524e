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
from training.evaluation.metrics import Bin, Floats, Metrics
from training.fit import loop
from training.model import network
from training.recipe import Recipe

Answer = Callable[[Images], Floats]
"""uint8 [N, 28, 28] -> probabilities [N, 10]."""
Table = list[list[str]]


@dataclass(frozen=True)
class Certainty:
    """How many of the test digits are called certain, and how many of those are right: 0 to 1."""

    threshold: float
    certain: float
    right: float


@dataclass(frozen=True)
class Stranger:
    """How a set of images that are no digits is told from the test digits by confidence.

    `uncertain` is the share that is called uncertain; without images `missing` says why.
    """

    name: str
    images: int
    auroc: float
    uncertain: float
    missing: str


@dataclass(frozen=True)
class Hardship:
    """Accuracy on test images that were made harder, and that of the yardstick, if there is one."""

    name: str
    accuracy: float
    yardstick: float | None


@dataclass(frozen=True)
class Assessment:
    """The answers to all of it."""

    answers: Floats  # to the test images
    metrics: Metrics
    interval: tuple[float, float]
    halves: tuple[float, float]  # MNIST's first 5,000 test images are from students, and harder
    certainty: Certainty
    reliability: list[Bin]
    strangers: list[Stranger]
    hardships: list[Hardship]
    yardstick: str

    def figures(self) -> dict[str, float]:
        """What the manifest states of the test part."""
        return self.metrics.as_dict("test") | {
            "test_accuracy_first_half": self.halves[0],
            "test_accuracy_second_half": self.halves[1],
            "test_certain": self.certainty.certain,
            "test_accuracy_certain": self.certainty.right,
        }

    def tables(self) -> dict[str, Table]:
        """The answers as tables of words, the first row their header, by title."""
        return {
            "Accuracy": self._accuracy(),
            "Calibration": _calibration(self.reliability),
            "Not a digit": _not_a_digit(self.strangers),
            "Robustness": self._robustness(),
        }

    def _accuracy(self) -> Table:
        low, high = self.interval
        return [
            ["of the test images", "", "95 % interval"],
            ["right", f"{self.metrics.accuracy:.2%}", f"{low:.2%} to {high:.2%}"],
            ["right, first half", f"{self.halves[0]:.2%}", ""],
            ["right, second half", f"{self.halves[1]:.2%}", ""],
            ["certain", f"{self.certainty.certain:.2%}", f"confidence of at least {self.certainty.threshold:.4f}"],
            ["right of the certain", f"{self.certainty.right:.2%}", ""],
            ["cross-entropy, nats", f"{self.metrics.cross_entropy:.5f}", ""],
            ["calibration error", f"{self.metrics.ece:.3%}", "15 bins"],
        ]

    def _robustness(self) -> Table:
        rows = [
            [row.name, f"{row.accuracy:.2%}", "" if row.yardstick is None else f"{row.yardstick:.2%}"]
            for row in self.hardships
        ]
        return [["test images", "accuracy", self.yardstick], *rows]


def assess(answer: Answer, data: Dataset, threshold: float, cache: Path, yardstick: Recipe | None) -> Assessment:
    """Put the questions.

    Args:
        answer: the exported network.
        data: its test part is asked; its training part trains the yardstick.
        threshold: answers of a lower confidence are uncertain.
        cache: where the probes keep what they fetch.
        yardstick: a recipe to train here and now, to compare with under hardship; seconds for `notebook`.
    """
    test, given = data.test, answer(data.test.images)
    right = given.argmax(axis=1) == test.labels
    certain = given.max(axis=1) >= threshold
    return Assessment(
        answers=given,
        metrics=evaluate.measure(given, test.labels),
        interval=evaluate.interval(int(right.sum()), len(test)),
        halves=(_share(right[: len(test) // 2]), _share(right[len(test) // 2 :])),
        certainty=Certainty(threshold, float(certain.mean()), _share(right[certain])),
        reliability=evaluate.reliability(given, test.labels),
        strangers=_strangers(answer, test, given.max(axis=1), threshold, cache),
        hardships=_hardships(answer, data, yardstick),
        yardstick=yardstick.name if yardstick else "",
    )


def _strangers(answer: Answer, test: Split, confidence: Floats, threshold: float, cache: Path) -> list[Stranger]:
    rows = []
    for probe in ood_sets.probes(test.images, cache):
        auroc = uncertain = float("nan")
        if len(probe.images):
            others = answer(probe.images).max(axis=1)
            auroc, uncertain = evaluate.separation(confidence, others), float(np.mean(others < threshold))
        rows.append(Stranger(probe.name, len(probe.images), auroc, uncertain, probe.missing))
    return rows


def _hardships(answer: Answer, data: Dataset, yardstick: Recipe | None) -> list[Hardship]:
    other = _trained(yardstick, data) if yardstick else None
    labels = data.test.labels
    rows = []
    for name, make in {"as they are": lambda images: images, **corruptions.hardships()}.items():
        images = make(data.test.images)
        accuracy = evaluate.accuracy(answer(images), labels)
        rows.append(Hardship(name, accuracy, evaluate.accuracy(other(images), labels) if other else None))
    return rows


def _trained(recipe: Recipe, data: Dataset) -> Answer:
    parameters = loop.train(recipe, data, lambda _: None)
    return lambda images: np.asarray(network.logits(parameters, network.to_pixels(images), recipe.activation))


def _calibration(bins: list[Bin]) -> Table:
    rows = [[str(one.images), f"{one.confidence:.2%}", f"{one.accuracy:.2%}"] for one in bins]
    return [["images", "mean confidence", "right"], *rows]


def _not_a_digit(strangers: list[Stranger]) -> Table:
    rows = [
        [
            row.name,
            str(row.images),
            *(("", row.missing) if row.missing else (f"{row.auroc:.4f}", f"{row.uncertain:.1%}")),
        ]
        for row in strangers
    ]
    return [["images of", "images", "AUROC", "called uncertain"], *rows]


def _share(right: npt.NDArray[np.bool_]) -> float:
    return float(right.mean()) if len(right) else 0.0
