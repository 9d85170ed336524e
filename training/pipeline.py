"""The training pipeline from the data to a published version.

data -> teachers -> training loop -> validation: temperature, threshold -> SavedModel, TFLite model
     -> test: evaluation report -> model card, plots -> gate -> models/digits/N
"""

import dataclasses
import json
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from training.data.mnist import Dataset, Split
from training.errors import TrainingError
from training.evaluation import metrics, model_card, plots
from training.evaluation.assessment import Baseline, EvaluationReport, evaluate_model
from training.evaluation.metrics import Floats
from training.fit import loop, run_log, teacher
from training.fit.run_log import RunError, RunLogger
from training.model import network
from training.model.network import Parameters
from training.publish import provenance, registry, saved_model
from training.publish.registry import GateRejected, Version
from training.recipe import Recipe
from training.types import EvaluationRow, Images, Probabilities

CHECKPOINT_FILE = "student.npz"
REPORT_FILES = (
    model_card.CARD_FILE,
    model_card.HTML_FILE,
    *model_card.PLOTS,
    "assessment.json",
    "history.csv",
    "recipe.toml",
)
HEADER = f"{'iteration':>9} {'accuracy':>9} {'cross-entropy':>13}   {'training':>9} {'validation':>10}"


class DivergedError(TrainingError):
    """The parameters are not finite."""


@dataclass(frozen=True)
class RunResult:
    """The directory of a run, its metrics, its training time, and the published version or the gate's rejection."""

    run: Path
    metrics: dict[str, float]
    seconds: float
    version: Version | None = None
    rejection: GateRejected | None = None


@dataclass(frozen=True)
class TrainingPipeline:
    """Trains, evaluates and publishes recipes.

    Args:
        data: the data set.
        models: the model directory.
        runs: the directory of the runs.
        cache: the directory of downloaded OOD sets.
        baseline: a recipe to train for the comparison on corrupted images.
        force: publish although the gate rejects the candidate.
    """

    data: Dataset
    models: Path
    runs: Path
    cache: Path
    baseline: Recipe | None = None
    force: bool = False

    def train(self, recipe: Recipe) -> RunResult:
        """Train a recipe and publish the result if it passes the gate."""
        with RunLogger.create(self.runs, recipe) as logger:
            return self._run(recipe, logger, publishing=True)

    def resume(self, run: Path) -> RunResult:
        """Continue a run from its last checkpoint, with the same result as without interruption, and publish it.

        Raises:
            RunError: the directory is not that of a run, or cannot be written.
        CheckpointError: its checkpoint is damaged.
            RecipeError, RenamedKeysError: its recipe.toml is not a recipe of this release.
        """
        if not (run / "recipe.toml").exists():
            raise RunError(f"{run} is not the directory of a run: it has no recipe.toml")
        recipe = Recipe.load(str(run / "recipe.toml"))
        iteration = int(loop.load_state(recipe, run / CHECKPOINT_FILE).iteration)
        with RunLogger.resume(run, iteration) as logger:
            return self._run(recipe, logger, publishing=True)

    def train_seeds(self, recipe: Recipe, seeds: range) -> tuple[list[RunResult], RunResult]:
        """Train a recipe with each seed and publish the run with the best validation score.

        Returns:
            The results of all seeds, and the result of the run that was published or rejected.
        """
        results = []
        for seed in seeds:
            seeded = dataclasses.replace(recipe, seed=seed)
            with RunLogger.create(self.runs, seeded) as logger:
                results.append(self._run(seeded, logger, publishing=False))
        best = max(results, key=lambda result: _validation_score(result.metrics))
        return results, self.resume(best.run)

    def _run(self, recipe: Recipe, logger: RunLogger, *, publishing: bool) -> RunResult:
        print(f"{recipe.name}, seed {recipe.seed}: {recipe.parameters} parameters; run in {logger.path}")
        parameters = _train_with_progress(recipe, self.data, logger)
        seconds = logger.seconds
        if not all(np.isfinite(array).all() for layer in parameters for array in layer):
            raise DivergedError(
                f"the training of {logger.path} has diverged: reduce learning_rate, {recipe.learning_rate:g}"
            )
        with registry.staging(self.models) as directory:
            manifest, report = self._export_and_evaluate(recipe, parameters, directory)
            overfitting = _overfitting_summary(recipe, self.data, parameters)
            print(overfitting)
            with run_log.writing(logger.path):
                _write_plots(logger, recipe, self.data, parameters, report)
                _write_report(logger.path, model_card.render_card(manifest, report, overfitting), report)
            _copy_report(logger.path, directory / "report")
            summary = {"seconds": seconds, "metrics": manifest["metrics"], "overfitting": overfitting}
            logger.finish({"recipe": recipe.as_dict(), **summary})
            result = RunResult(logger.path, manifest["metrics"], seconds)
            return self._publish(result, directory, manifest) if publishing else result

    def _publish(self, result: RunResult, directory: Path, manifest: dict[str, Any]) -> RunResult:
        try:
            if not self.force:
                registry.check_gate(self.models, result.metrics["test_accuracy"])
        except GateRejected as rejection:
            return dataclasses.replace(result, rejection=rejection)
        return dataclasses.replace(result, version=registry.publish(self.models, directory, manifest))

    def _export_and_evaluate(
        self, recipe: Recipe, parameters: Parameters, directory: Path
    ) -> tuple[dict[str, Any], EvaluationReport]:
        """Export into `directory` and evaluate the exported files: the manifest without `files`, and the report."""
        data = self.data
        temperature = metrics.fit_temperature(_logits(recipe, parameters, data.validation), data.validation.labels)
        saved_model.export(parameters, recipe.activation, temperature, directory)
        probabilities = saved_model.verify_parity(directory, data.test.images)
        predict = saved_model.load_predictor(directory)
        validation_probabilities = predict(data.validation.images)
        threshold = metrics.confidence_threshold(validation_probabilities)
        report = evaluate_model(predict, data.test, threshold, self.cache, self._trained_baseline)
        manifest = provenance.collect(recipe, data) | {
            "parameters": network.parameter_count(parameters),
            "metrics": report.metrics_dict()
            | metrics.compute_metrics(validation_probabilities, data.validation.labels).as_dict("validation"),
            "temperature": temperature,
            "thresholds": {"confidence": threshold},
            "reference": metrics.reference_statistics(probabilities),
        }
        return manifest, report

    @cached_property
    def _trained_baseline(self) -> Baseline | None:
        return train_baseline(self.baseline, self.data) if self.baseline else None


def train_baseline(recipe: Recipe, data: Dataset) -> Baseline:
    """Train a recipe without publishing it; takes seconds for `notebook`."""
    parameters = loop.train(recipe, data, lambda _: None)

    def predict(images: Images) -> Probabilities:
        pixels = network.to_pixels(tf.constant(images))
        return np.asarray(tf.nn.softmax(network.logits(parameters, pixels, recipe.activation)))

    return Baseline(recipe.name, predict)


def _validation_score(scores: dict[str, float]) -> tuple[float, float]:
    return scores["validation_accuracy"], -scores["validation_cross_entropy"]


def _overfitting_summary(recipe: Recipe, data: Dataset, parameters: Parameters) -> str:
    training = loop.score(parameters, data.training, recipe.activation)
    test = loop.score(parameters, data.test, recipe.activation)
    return model_card.overfitting_summary(training, test, len(data.test))


def _train_with_progress(recipe: Recipe, data: Dataset, logger: RunLogger) -> Parameters:
    ensemble = teacher.train_teachers(recipe, data, logger.path)
    print(f"accuracy and cross-entropy (sum) on the {len(data.test)} test images; accuracy on training and validation")
    print(HEADER)
    iteration = logger.rows[-1].iteration if logger.rows else 0
    with tqdm(total=recipe.iterations, initial=iteration, unit="it", leave=False, disable=None) as bar:

        def on_evaluation(row: EvaluationRow) -> None:
            logger.log(row)
            bar.update(row.iteration - bar.n)
            if row.iteration % recipe.print_every == 0 or row.iteration == recipe.iterations:
                bar.write(_format_row(row, len(data.test)))

        checkpoint_path = logger.path / CHECKPOINT_FILE
        return loop.train(recipe, data, on_evaluation, teacher=ensemble, checkpoint_path=checkpoint_path)


def _format_row(row: EvaluationRow, images: int) -> str:
    return (
        f"{row.iteration:>9} {row.test.accuracy:>9.4f} {images * row.test.cross_entropy:>13.1f}   "
        f"{row.training.accuracy:>9.4f} {row.validation.accuracy:>10.4f}"
    )


def _logits(recipe: Recipe, parameters: Parameters, split: Split) -> Floats:
    pixels = network.to_pixels(tf.constant(split.images))
    return np.asarray(network.logits(parameters, pixels, recipe.activation))


def _write_plots(
    logger: RunLogger, recipe: Recipe, data: Dataset, parameters: Parameters, report: EvaluationReport
) -> None:
    """Write the plots of the report into the run's directory."""
    run = logger.path
    plots.samples(data.training, recipe, run / "samples.png")
    for score in ("accuracy", "cross_entropy"):
        plots.curves(logger.rows, score, run / f"{score}.png")
    plots.confusion(metrics.confusion(report.probabilities, data.test.labels), run / "confusion.png")
    plots.reliability(report.reliability, run / "reliability.png")
    predicted = report.probabilities.argmax(axis=1)
    wrong = predicted != data.test.labels
    plots.mistakes(data.test.images[wrong], data.test.labels[wrong], predicted[wrong], run / "mistakes.png")
    plots.weights(np.asarray(parameters[0].weights), run / "weights.png")


def _write_report(run: Path, card: str, report: EvaluationReport) -> None:
    """Write the text of the report into the run's directory."""
    (run / "assessment.json").write_text(json.dumps(report.tables(), indent=2) + "\n")
    (run / model_card.CARD_FILE).write_text(card)
    (run / model_card.HTML_FILE).write_text(model_card.render_html(card))


def _copy_report(run: Path, destination: Path) -> None:
    destination.mkdir()
    for name in REPORT_FILES:
        shutil.copyfile(run / name, destination / name)
