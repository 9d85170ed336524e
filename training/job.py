"""The job from end to end: train, evaluate, export, report, publish.

data -> loop.train -> validation: temperature, threshold -> SavedModel + plan -> test: figures
     -> report -> gate -> models/digits/N
"""

import platform
import shutil
import subprocess
import time
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from training import evaluate, export, loop, network, publish, report
from training.dataset import Dataset, Part
from training.history import Recorder
from training.loop import Row
from training.network import Parameters
from training.publish import GateRefused, Version
from training.recipe import Recipe

NAME = "digits"
PACKAGES = ("tensorflow", "keras", "numpy", "ai-edge-litert")
REPORT = ("card.md", "accuracy.png", "cross_entropy.png", "confusion.png", "samples.png", "history.csv", "recipe.toml")
HEADER = f"{'iteration':>9} {'accuracy':>9} {'cross-entropy':>13}   {'training':>9} {'validation':>10}"


@dataclass(frozen=True)
class Outcome:
    """Where the run is, and the version it published or why it did not."""

    run: Path
    version: Version | None
    refused: GateRefused | None


def train(recipe: Recipe, data: Dataset, *, models: Path, runs: Path, force: bool = False) -> Outcome:
    """Run a recipe to its end and publish the result if it passes the gate, or in any case with `force`."""
    with Recorder(runs, recipe) as recorder:
        began = time.monotonic()
        parameters = _train_with_progress(recipe, data, recorder)
        seconds = round(time.monotonic() - began, 1)
        words = _verdict(recipe, data, parameters)
        print(words)
        _write_pictures(recorder, recipe, data)
        with publish.staging(models) as directory:
            manifest, answers = _build(recipe, data, parameters, directory)
            report.confusion(evaluate.confusion(answers, data.test.labels), recorder.path / "confusion.png")
            (recorder.path / "card.md").write_text(report.card(manifest, words))
            _copy_report(recorder.path, directory / "report")
            summary = {"recipe": recipe.as_dict(), "seconds": seconds, "metrics": manifest["metrics"], "words": words}
            recorder.finish(summary)
            return _publish(recorder.path, models, directory, manifest, force=force)


def _publish(run: Path, models: Path, directory: Path, manifest: dict[str, Any], *, force: bool) -> Outcome:
    try:
        if not force:
            publish.check_gate(models, manifest["metrics"]["test_accuracy"])
    except GateRefused as refusal:
        return Outcome(run, None, refusal)
    return Outcome(run, publish.publish(models, directory, manifest), None)


def _verdict(recipe: Recipe, data: Dataset, parameters: Parameters) -> str:
    trained = loop.score(parameters, data.training, recipe.activation)
    tested = loop.score(parameters, data.test, recipe.activation)
    return report.verdict(trained, tested, len(data.test))


def _train_with_progress(recipe: Recipe, data: Dataset, recorder: Recorder) -> Parameters:
    print(f"{recipe.name}, seed {recipe.seed}: {recipe.parameters} parameters; run in {recorder.path}")
    print(f"accuracy and cross-entropy (summed) are of the {len(data.test)} test images")
    print(HEADER)
    with tqdm(total=recipe.iterations, unit="it", leave=False, disable=None) as bar:

        def observe(row: Row) -> None:
            recorder.add(row)
            bar.update(row.iteration - bar.n)
            if row.iteration % recipe.print_every == 0 or row.iteration == recipe.iterations:
                bar.write(_line(row, len(data.test)))

        return loop.train(recipe, data, observe)


def _line(row: Row, images: int) -> str:
    return (
        f"{row.iteration:>9} {row.test.accuracy:>9.4f} {images * row.test.cross_entropy:>13.1f}   "
        f"{row.training.accuracy:>9.4f} {row.validation.accuracy:>10.4f}"
    )


def _build(
    recipe: Recipe, data: Dataset, parameters: Parameters, directory: Path
) -> tuple[dict[str, Any], export.Probabilities]:
    """Export into `directory` and measure what was exported: the manifest, but for its files; the test answers."""
    temperature = evaluate.fit_temperature(_logits(recipe, parameters, data.validation), data.validation.labels)
    export.export(parameters, recipe.activation, temperature, directory)
    answers = export.hold_against_each_other(directory, data.test.images)
    on_validation = export.answers(directory, data.validation.images)
    manifest = {
        "name": NAME,
        "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "recipe": recipe.as_dict(),
        "seed": recipe.seed,
        "code_revision": _revision(),
        "packages": {"python": platform.python_version()} | {name: _installed(name) for name in PACKAGES},
        "dataset": {
            "name": data.name,
            "images": {part: len(getattr(data, part)) for part in ("training", "validation", "test")},
            "files": [asdict(file) for file in data.files],
        },
        "parameters": network.count(parameters),
        "metrics": evaluate.measure(answers, data.test.labels).as_dict("test")
        | evaluate.measure(on_validation, data.validation.labels).as_dict("validation"),
        "temperature": temperature,
        "thresholds": {"confidence": evaluate.uncertain_below(on_validation)},
        "reference": evaluate.reference(answers),
    }
    return manifest, answers


def _logits(recipe: Recipe, parameters: Parameters, part: Part) -> evaluate.Floats:
    pixels = network.as_pixels(tf.constant(part.images))
    return np.asarray(network.logits(parameters, pixels, recipe.activation))


def _write_pictures(recorder: Recorder, recipe: Recipe, data: Dataset) -> None:
    report.samples(data.training, recipe, recorder.path / "samples.png")
    for score in ("accuracy", "cross_entropy"):
        report.curves(recorder.rows, score, recorder.path / f"{score}.png")


def _copy_report(run: Path, report_directory: Path) -> None:
    report_directory.mkdir()
    for name in REPORT:
        shutil.copyfile(run / name, report_directory / name)


def _installed(package: str) -> str:
    """The package's version; TensorFlow's goes by one of two names."""
    names = (package, f"{package}-cpu") if package == "tensorflow" else (package,)
    for name in names:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "unknown"


def _revision() -> str:
    """The commit that the code is at, with `+` if files were changed since; "unknown" outside of git."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        code = ["status", "--porcelain", "--", "."]
        changed = subprocess.run([*git, *code], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{head}+" if changed else head
