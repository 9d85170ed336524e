"""What each command of `python -m training` does; all print to standard output.

TensorFlow takes seconds to import, so only the commands that compute import what needs it.
"""

import argparse
from collections.abc import Callable, Sequence

from training import dataset, publish
from training.errors import TrainingError
from training.recipe import Recipe

PICTURES = (".png", ".svg", ".pdf")


def train(options: argparse.Namespace) -> None:
    """Run a recipe and publish the result."""
    overrides = [*options.set, *([f"seed={options.seed}"] if options.seed is not None else [])]
    recipe = Recipe.load(options.recipe, overrides)
    data = dataset.load(options.data, any_data=options.any_data)
    from training import job  # noqa: PLC0415

    outcome = job.train(recipe, data, models=options.models, runs=options.runs, force=options.force)
    if outcome.version:
        print(f"published {outcome.version.path}: {_figures(outcome.version.manifest['metrics'])}")
    else:
        print(outcome.refused)


def compare(options: argparse.Namespace) -> None:
    """Print finished runs side by side and overlay their curves."""
    if options.out.suffix not in PICTURES:
        raise TrainingError(f"--out is {options.out}; allowed are files that end in {', '.join(PICTURES)}")
    from training import history, report  # noqa: PLC0415

    runs = [history.read(path) for path in options.paths]
    recipes = [run.summary["recipe"] for run in runs]
    same = [key for key in recipes[0] if all(recipe.get(key) == recipes[0][key] for recipe in recipes)]
    lines = {"": [run.name for run in runs]}
    lines |= {key: [str(recipe.get(key)) for recipe in recipes] for key in recipes[0] if key not in same}
    lines |= {key: [f"{run.summary['metrics'][key]:.4f}" for run in runs] for key in runs[0].summary["metrics"]}
    lines["seconds"] = [str(run.summary["seconds"]) for run in runs]
    for line in columns([[key, *values] for key, values in lines.items()]):
        print(line)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    report.overlay(runs, options.out)
    print(f"curves: {options.out}")


def list_versions(options: argparse.Namespace) -> None:
    """Print the versions, published and retired."""
    there = publish.versions(options.models)
    serving = publish.in_place(options.models)
    table = [["version", "accuracy", "recipe", "created", "state"]]
    for version in there:
        state = "retired" if version.retired else "serving" if version == serving else ""
        accuracy = "?" if version.accuracy is None else f"{version.accuracy:.4f}"
        recipe = version.manifest.get("recipe")
        name = recipe.get("name", "?") if isinstance(recipe, dict) else recipe or "?"
        created = version.manifest.get("created_at", "?")
        table.append([str(version.number), accuracy, str(name), str(created), state])
    for line in columns(table):
        print(line)


def evaluate_version(options: argparse.Namespace) -> None:
    """Measure a version from its files on the test part, and print what its manifest says beside it."""
    version = publish.get(options.models, options.number)
    test = dataset.load(options.data, any_data=options.any_data).test
    from training import evaluate, export  # noqa: PLC0415

    planned = (version.path / export.PLAN).exists()
    answers = (export.hold_against_each_other if planned else export.answers)(version.path, test.images)
    stated = version.manifest.get("metrics", {})
    table = [["figure", "measured", "manifest"]]
    for name, value in evaluate.measure(answers, test.labels).as_dict("test").items():
        table.append([name, f"{value:.6f}", f"{stated[name]:.6f}" if name in stated else "?"])
    for line in columns(table):
        print(line)


def retire(options: argparse.Namespace) -> None:
    """Take a version out of service."""
    place = publish.retire(options.models, options.number)
    now = publish.in_place(options.models)
    print(f"retired to {place}; serving now: {now.number if now else 'none'}")


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {
    "train": train,
    "compare": compare,
    "list": list_versions,
    "evaluate": evaluate_version,
    "retire": retire,
}


def columns(table: Sequence[Sequence[str]]) -> list[str]:
    """The rows of a table as lines, each column as wide as its widest cell."""
    widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]


def _figures(metrics: dict[str, float]) -> str:
    accuracy, entropy, ece = (metrics[f"test_{name}"] for name in ("accuracy", "cross_entropy", "ece"))
    return f"test accuracy {accuracy:.2%}, cross-entropy {entropy:.4f} per image, calibration error {ece:.2%}"
