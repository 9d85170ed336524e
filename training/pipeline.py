"""The job from end to end: teach, train, evaluate, export, assess, report, publish.

data -> teachers -> loop.train -> validation: temperature, threshold -> SavedModel + plan
     -> test: assessment -> report -> gate -> models/digits/N
"""

import dataclasses
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from training.data.mnist import Dataset, Split
from training.evaluation import assessment as assess
from training.evaluation import metrics as evaluate
from training.evaluation import model_card, plots
from training.evaluation.assessment import EvaluationReport
from training.fit import checkpoint, loop, optimisers, teacher
from training.fit.loop import EvaluationRow
from training.fit.run_log import RunError, RunLogger
from training.model import network
from training.model.network import Parameters
from training.publish import provenance, registry, saved_model
from training.publish.registry import GateRejected, Version
from training.recipe import Recipe

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


@dataclass(frozen=True)
class RunResult:
    """Where the run is, what it reached, and the version it published or why it did not."""

    run: Path
    metrics: dict[str, float]
    seconds: float
    version: Version | None = None
    rejection: GateRejected | None = None


@dataclass(frozen=True)
class TrainingPipeline:
    """What all runs of a job have in common.

    `yardstick` is a recipe to compare with under hardship; `force` publishes in spite of the gate.
    """

    data: Dataset
    models: Path
    runs: Path
    cache: Path
    baseline: Recipe | None = None
    force: bool = False

    def train(self, recipe: Recipe) -> RunResult:
        """Run a recipe to its end and publish the result if it passes the gate."""
        with RunLogger.create(self.runs, recipe) as recorder:
            return self._run(recipe, recorder, publishing=True)

    def resume(self, run: Path) -> RunResult:
        """Go on with a run from its last checkpoint, as if it had never been broken off, and publish the result.

        Raises:
            RunError: the directory is not that of a run.
        """
        if not (run / "recipe.toml").exists():
            raise RunError(f"{run} is not the directory of a run: it has no recipe.toml")
        recipe = Recipe.load(str(run / "recipe.toml"))
        saved, done = run / CHECKPOINT_FILE, 0
        if saved.exists():
            done = int(checkpoint.load(saved, optimisers.initial_state(recipe)).iteration)
        with RunLogger.resume(run, done) as recorder:
            return self._run(recipe, recorder, publishing=True)

    def train_seeds(self, recipe: Recipe, seeds: range) -> tuple[list[RunResult], RunResult]:
        """Run a recipe with each seed, and publish the run that does best on the validation part.

        Returns:
            What each seed reached, and the outcome of the one that was to be published.
        """
        outcomes = []
        for seed in seeds:
            seeded = dataclasses.replace(recipe, seed=seed)
            with RunLogger.create(self.runs, seeded) as recorder:
                outcomes.append(self._run(seeded, recorder, publishing=False))
        best = max(outcomes, key=lambda outcome: _validation_score(outcome.metrics))
        return outcomes, self.resume(best.run)

    def _run(self, recipe: Recipe, recorder: RunLogger, *, publishing: bool) -> RunResult:
        print(f"{recipe.name}, seed {recipe.seed}: {recipe.parameters} parameters; run in {recorder.path}")
        parameters = _train_with_progress(recipe, self.data, recorder)
        seconds = recorder.seconds
        with registry.staging(self.models) as directory:
            stated, assessment = self._export_and_evaluate(recipe, parameters, directory)
            words = _overfitting_summary(recipe, self.data, parameters)
            print(words)
            _write_plots(recorder, recipe, self.data, parameters, assessment)
            _write_report(recorder.path, model_card.render_card(stated, assessment, words), assessment)
            _copy_report(recorder.path, directory / "report")
            metrics = stated["metrics"]
            recorder.finish({"recipe": recipe.as_dict(), "seconds": seconds, "metrics": metrics, "words": words})
            outcome = RunResult(recorder.path, metrics, seconds)
            return self._publish(outcome, directory, stated) if publishing else outcome

    def _publish(self, outcome: RunResult, directory: Path, stated: dict[str, Any]) -> RunResult:
        try:
            if not self.force:
                registry.check_gate(self.models, outcome.metrics["test_accuracy"])
        except GateRejected as refusal:
            return dataclasses.replace(outcome, rejection=refusal)
        return dataclasses.replace(outcome, version=registry.publish(self.models, directory, stated))

    def _export_and_evaluate(
        self, recipe: Recipe, parameters: Parameters, directory: Path
    ) -> tuple[dict[str, Any], EvaluationReport]:
        """Export into `directory` and measure what was exported: the manifest, but for its files, and all the rest."""
        data = self.data
        temperature = evaluate.fit_temperature(_logits(recipe, parameters, data.validation), data.validation.labels)
        saved_model.export(parameters, recipe.activation, temperature, directory)
        answers = saved_model.verify_parity(directory, data.test.images)
        answer = saved_model.load_predictor(directory)
        on_validation = answer(data.validation.images)
        threshold = evaluate.confidence_threshold(on_validation)
        assessment = assess.evaluate_model(answer, data, threshold, self.cache, self.baseline)
        stated = provenance.collect(recipe, data) | {
            "parameters": network.parameter_count(parameters),
            "metrics": assessment.metrics_dict()
            | evaluate.compute_metrics(on_validation, data.validation.labels).as_dict("validation"),
            "temperature": temperature,
            "thresholds": {"confidence": threshold},
            "reference": evaluate.reference_statistics(answers),
        }
        return stated, assessment


def _validation_score(metrics: dict[str, float]) -> tuple[float, float]:
    return metrics["validation_accuracy"], -metrics["validation_cross_entropy"]


def _overfitting_summary(recipe: Recipe, data: Dataset, parameters: Parameters) -> str:
    trained = loop.score(parameters, data.training, recipe.activation)
    tested = loop.score(parameters, data.test, recipe.activation)
    return model_card.overfitting_summary(trained, tested, len(data.test))


def _train_with_progress(recipe: Recipe, data: Dataset, recorder: RunLogger) -> Parameters:
    teachers = teacher.train_teachers(recipe, data, recorder.path)
    print(f"accuracy and cross-entropy (summed) are of the {len(data.test)} test images")
    print(HEADER)
    done = recorder.rows[-1].iteration if recorder.rows else 0
    with tqdm(total=recipe.iterations, initial=done, unit="it", leave=False, disable=None) as bar:

        def observe(row: EvaluationRow) -> None:
            recorder.log(row)
            bar.update(row.iteration - bar.n)
            if row.iteration % recipe.print_every == 0 or row.iteration == recipe.iterations:
                bar.write(_format_row(row, len(data.test)))

        return loop.train(recipe, data, observe, teacher=teachers, checkpoint_path=recorder.path / CHECKPOINT_FILE)


def _format_row(row: EvaluationRow, images: int) -> str:
    return (
        f"{row.iteration:>9} {row.test.accuracy:>9.4f} {images * row.test.cross_entropy:>13.1f}   "
        f"{row.training.accuracy:>9.4f} {row.validation.accuracy:>10.4f}"
    )


def _logits(recipe: Recipe, parameters: Parameters, part: Split) -> evaluate.Floats:
    pixels = network.to_pixels(tf.constant(part.images))
    return np.asarray(network.logits(parameters, pixels, recipe.activation))


def _write_plots(
    recorder: RunLogger, recipe: Recipe, data: Dataset, parameters: Parameters, assessment: EvaluationReport
) -> None:
    """The pictures of the report, into the run's directory."""
    run = recorder.path
    plots.samples(data.training, recipe, run / "samples.png")
    for score in ("accuracy", "cross_entropy"):
        plots.curves(recorder.rows, score, run / f"{score}.png")
    plots.confusion(evaluate.confusion(assessment.answers, data.test.labels), run / "confusion.png")
    plots.reliability(assessment.reliability, run / "reliability.png")
    given = assessment.answers.argmax(axis=1)
    wrong = given != data.test.labels
    plots.mistakes(data.test.images[wrong], data.test.labels[wrong], given[wrong], run / "mistakes.png")
    plots.weights(np.asarray(parameters[0].weights), run / "weights.png")


def _write_report(run: Path, card: str, assessment: EvaluationReport) -> None:
    """The words of the report, into the run's directory."""
    (run / "assessment.json").write_text(json.dumps(assessment.tables(), indent=2) + "\n")
    (run / model_card.CARD_FILE).write_text(card)
    (run / model_card.HTML_FILE).write_text(model_card.render_html(card))


def _copy_report(run: Path, report_directory: Path) -> None:
    report_directory.mkdir()
    for name in REPORT_FILES:
        shutil.copyfile(run / name, report_directory / name)
