"""What each command of `python -m training` does; all print to standard output.

TensorFlow takes seconds to import, so only the commands that compute import what needs it.
"""

import argparse
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from training.data import mnist
from training.errors import TrainingError
from training.publish import registry
from training.recipe import Recipe

if TYPE_CHECKING:
    from training.pipeline import RunResult

PICTURE_SUFFIXES = (".png", ".svg", ".pdf")
SUMMARY = {
    "test_accuracy": "test",
    "test_accuracy_first_half": "first-half",
    "test_accuracy_second_half": "second-half",
    "validation_accuracy": "validation",
    "test_accuracy_certain": "of-certain",
    "test_ece": "ECE",
    "test_cross_entropy": "cross-entropy",
}
"""The figures of a run that stand in the table of several seeds, and what they are called there."""


def train(options: argparse.Namespace) -> None:
    """Run a recipe, or several seeds of it, or go on with a run; publish the result."""
    overrides = [*options.set, *([f"seed={options.seed}"] if options.seed is not None else [])]
    if options.resume and (overrides or options.recipe or options.seeds):
        raise TrainingError("--resume takes the recipe and the seed of the run; no --recipe, --set, --seed or --seeds")
    if options.seeds and options.seed is not None:
        raise TrainingError("--seed and --seeds exclude each other")
    recipe = Recipe.load(options.recipe or "best", overrides)
    yardstick = _baseline(options)
    data = mnist.load(options.data, skip_checksums=options.skip_checksums)
    from training.pipeline import TrainingPipeline  # noqa: PLC0415

    job = TrainingPipeline(data, options.models, options.runs, _cache(options), yardstick, options.force)
    if options.seeds:
        outcomes, outcome = job.train_seeds(recipe, options.seeds)
        for line in format_table(_seeds_table(options.seeds, outcomes)):
            print(line)
    else:
        outcome = job.resume(options.resume) if options.resume else job.train(recipe)
    if outcome.version:
        print(f"published {outcome.version.path}: {_format_metrics(outcome.version.manifest['metrics'])}")
    else:
        print(outcome.rejection)


def seeds(text: str) -> range:
    """The seeds that `0..4` names, or `3` alone.

    Raises:
        ValueError: the text names none.
    """
    first, _, last = text.partition("..")
    named = range(int(first), int(last or first) + 1)
    if not named or named[0] < 0:
        raise ValueError(text)
    return named


def _seeds_table(seeds: range, outcomes: Sequence["RunResult"]) -> list[list[str]]:
    """What each seed reached, then mean and standard deviation."""
    minutes = [outcome.seconds / 60 for outcome in outcomes]
    figures = {name: [outcome.metrics[name] for outcome in outcomes] for name in SUMMARY}
    spread = statistics.stdev if len(outcomes) > 1 else lambda _: 0.0

    def shown(name: str, value: float) -> str:
        return f"{value:.5f}" if name.endswith("entropy") else f"{value:.2%}"

    table = [["seed", *SUMMARY.values(), "minutes"]]
    for index, seed in enumerate(seeds):
        table.append([str(seed), *(shown(name, figures[name][index]) for name in SUMMARY), f"{minutes[index]:.1f}"])
    for word, summary in (("mean", statistics.fmean), ("spread", spread)):
        table.append([word, *(shown(name, summary(figures[name])) for name in SUMMARY), f"{summary(minutes):.1f}"])
    return table


def compare(options: argparse.Namespace) -> None:
    """Print finished runs side by side and overlay their curves."""
    if options.out.suffix not in PICTURE_SUFFIXES:
        raise TrainingError(f"--out is {options.out}; allowed are files that end in {', '.join(PICTURE_SUFFIXES)}")
    from training.evaluation import plots  # noqa: PLC0415
    from training.fit import run_log  # noqa: PLC0415

    runs = [run_log.read(path) for path in options.paths]
    recipes = [run.summary["recipe"] for run in runs]
    same = [key for key in recipes[0] if all(recipe.get(key) == recipes[0][key] for recipe in recipes)]
    lines = {"": [run.name for run in runs]}
    lines |= {key: [str(recipe.get(key)) for recipe in recipes] for key in recipes[0] if key not in same}
    lines |= {key: [f"{run.summary['metrics'][key]:.4f}" for run in runs] for key in runs[0].summary["metrics"]}
    lines["seconds"] = [str(run.summary["seconds"]) for run in runs]
    for line in format_table([[key, *values] for key, values in lines.items()]):
        print(line)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    plots.overlay(runs, options.out)
    print(f"curves: {options.out}")


def list_versions(options: argparse.Namespace) -> None:
    """Print the versions, published and retired."""
    there = registry.list_versions(options.models)
    serving = registry.serving_version(options.models)
    table = [["version", "accuracy", "recipe", "created", "state"]]
    for version in there:
        state = "retired" if version.retired else "serving" if version == serving else ""
        accuracy = "?" if version.accuracy is None else f"{version.accuracy:.4f}"
        recipe = version.manifest.get("recipe")
        name = recipe.get("name", "?") if isinstance(recipe, dict) else recipe or "?"
        created = version.manifest.get("created_at", "?")
        table.append([str(version.number), accuracy, str(name), str(created), state])
    for line in format_table(table):
        print(line)


def evaluate_version(options: argparse.Namespace) -> None:
    """Put all questions to a version as it is on disk, and print its manifest's figures beside those measured."""
    version = registry.get_version(options.models, options.number)
    yardstick = _baseline(options)
    data = mnist.load(options.data, skip_checksums=options.skip_checksums)
    from training.evaluation import assessment as assess  # noqa: PLC0415
    from training.publish import saved_model  # noqa: PLC0415

    if (version.path / saved_model.TFLITE_FILE).exists():
        saved_model.verify_parity(version.path, data.test.images)
    answer = saved_model.load_predictor(version.path)
    assessment = assess.evaluate_model(answer, data, version.confidence_threshold, _cache(options), yardstick)
    stated = version.manifest.get("metrics", {})
    table = [["figure", "measured", "manifest"]]
    for name, value in assessment.metrics_dict().items():
        table.append([name, f"{value:.6f}", f"{stated[name]:.6f}" if name in stated else "?"])
    for title, rows in ({"": table} | assessment.tables()).items():
        for line in [title, *format_table(rows), ""][not title :]:
            print(line)


def retire(options: argparse.Namespace) -> None:
    """Take a version out of service."""
    place = registry.retire(options.models, options.number)
    now = registry.serving_version(options.models)
    print(f"retired to {place}; serving now: {now.number if now else 'none'}")


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {
    "train": train,
    "compare": compare,
    "list": list_versions,
    "evaluate": evaluate_version,
    "retire": retire,
}


def format_table(table: Sequence[Sequence[str]]) -> list[str]:
    """The rows of a table as lines, each column as wide as its widest cell."""
    widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]


def _cache(options: argparse.Namespace) -> Path:
    return Path(options.data) / "probes"


def _baseline(options: argparse.Namespace) -> Recipe | None:
    return None if options.baseline == "none" else Recipe.load(options.baseline)


def _format_metrics(metrics: dict[str, float]) -> str:
    accuracy, entropy, ece = (metrics[f"test_{name}"] for name in ("accuracy", "cross_entropy", "ece"))
    return f"test accuracy {accuracy:.2%}, cross-entropy {entropy:.4f} per image, calibration error {ece:.2%}"
