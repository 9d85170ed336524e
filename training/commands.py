"""The commands of `python -m training`; all print to standard output.

TensorFlow takes seconds to import, so a module that needs it is imported in the commands that use it.
"""

import argparse
import os
import reprlib
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from training.atomic_write import atomic_write
from training.data import mnist
from training.errors import TrainingError
from training.publish import registry
from training.recipe import Recipe

if TYPE_CHECKING:
    from training.evaluation.service_client import ServiceClient
    from training.pipeline import RunResult

PLOT_SUFFIXES = (".png", ".svg", ".pdf")
MAX_SEED = 2**31 - 1
TEMPORARY_BYTES = 1 << 14
MAX_CELL = 60  # characters of a value from a file
SUMMARY = {
    "test_accuracy": "test",
    "test_accuracy_first_half": "first-half",
    "test_accuracy_second_half": "second-half",
    "validation_accuracy": "validation",
    "test_selective_accuracy": "selective",
    "test_ece": "ECE",
    "test_cross_entropy": "cross-entropy",
}
"""The metrics in the table of several seeds, and their column headers."""


def train(options: argparse.Namespace) -> None:
    """Train a recipe, or several seeds of it, or resume a run; publish the result."""
    overrides = [*options.set, *([f"seed={options.seed}"] if options.seed is not None else [])]
    if options.resume and (overrides or options.recipe or options.seeds):
        raise TrainingError("--resume uses the recipe and seed of the run: omit --recipe, --set, --seed and --seeds")
    if options.seeds and options.seed is not None:
        raise TrainingError("--seed and --seeds exclude each other: use one of them")
    recipe = Recipe.load(options.recipe or "best", overrides)
    baseline = _baseline_recipe(options)
    data = mnist.load(options.data, skip_checksums=options.skip_checksums)
    _check_temporary_directory()
    from training.pipeline import TrainingPipeline  # noqa: PLC0415

    pipeline = TrainingPipeline(data, options.models, options.runs, _cache(options), baseline, options.force)
    if options.seeds:
        results, result = pipeline.train_seeds(recipe, options.seeds)
        for line in format_table(_seeds_table(options.seeds, results)):
            print(line)
    else:
        result = pipeline.resume(options.resume) if options.resume else pipeline.train(recipe)
    if result.version:
        print(f"published {result.version.path}: {_format_metrics(result.version.metrics)}")
    else:
        print(result.rejection)


def seeds(text: str) -> range:
    """Parse a range of seeds, `0..4`, or a single seed, `3`.

    Raises:
        ValueError: the text is neither, the range is empty, or a seed is negative or above 2147483647.
    """
    first, _, last = text.partition("..")
    parsed = range(int(first), int(last or first) + 1)
    if not parsed or parsed[0] < 0 or parsed[-1] > MAX_SEED:
        raise ValueError(text)
    return parsed


def _seeds_table(seeds: range, results: Sequence["RunResult"]) -> list[list[str]]:
    """The metrics of each seed, their mean and their standard deviation."""
    minutes = [result.seconds / 60 for result in results]
    values = {name: [result.metrics[name] for result in results] for name in SUMMARY}
    spread = statistics.stdev if len(results) > 1 else lambda _: 0.0

    def format_value(name: str, value: float) -> str:
        return f"{value:.5f}" if name.endswith("entropy") else f"{value:.2%}"

    table = [["seed", *SUMMARY.values(), "minutes"]]
    for index, seed in enumerate(seeds):
        cells = (format_value(name, values[name][index]) for name in SUMMARY)
        table.append([str(seed), *cells, f"{minutes[index]:.1f}"])
    for label, statistic in (("mean", statistics.fmean), ("spread", spread)):
        cells = (format_value(name, statistic(values[name])) for name in SUMMARY)
        table.append([label, *cells, f"{statistic(minutes):.1f}"])
    return table


def compare(options: argparse.Namespace) -> None:
    """Print finished runs side by side and plot their test curves."""
    if options.out.suffix not in PLOT_SUFFIXES:
        raise TrainingError(f"--out is {options.out}; allowed are files that end in {', '.join(PLOT_SUFFIXES)}")
    from training.evaluation import plots  # noqa: PLC0415
    from training.fit import run_log  # noqa: PLC0415

    runs = [run_log.read(path) for path in options.paths]
    recipes = [run.summary["recipe"] for run in runs]
    differing = [key for key in recipes[0] if any(recipe.get(key) != recipes[0][key] for recipe in recipes)]
    metrics = [run.summary["metrics"] for run in runs]
    table = [["", *(_cell(run.name) for run in runs)]]
    table += [[_cell(key), *(_cell(recipe.get(key)) for recipe in recipes)] for key in differing]
    table += [[_cell(key), *(f"{m[key]:.4f}" if key in m else "?" for m in metrics)] for key in metrics[0]]
    table.append(["seconds", *(str(run.summary["seconds"]) for run in runs)])
    for line in format_table(table):
        print(line)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    plots.overlay({run.name: run.rows for run in runs}, options.out)
    print(f"curves: {options.out}")


def list_versions(options: argparse.Namespace) -> None:
    """Print all versions, published and retired."""
    versions = registry.list_versions(options.models)
    serving = registry.serving_version(options.models)
    table = [["version", "accuracy", "recipe", "created", "state"]]
    for version in versions:
        state = "retired" if version.retired else "serving" if version == serving else ""
        accuracy = "?" if version.accuracy is None else f"{version.accuracy:.4f}"
        recipe = version.manifest.get("recipe")
        name = recipe.get("name") if isinstance(recipe, dict) else recipe
        created = version.manifest.get("created_at")
        cells = ("?" if value is None else _cell(value) for value in (name, created))
        table.append([str(version.number), accuracy, *cells, state])
    for line in format_table(table):
        print(line)


def evaluate_version(options: argparse.Namespace) -> None:
    """Evaluate the files of a version on MNIST, or with --pictures on pictures of one's own, and print the results."""
    if options.pictures:
        _evaluate_pictures(options)
        return
    if options.url or options.key or options.out:
        raise TrainingError("--url, --key and --out are for pictures of your own: give their directory by --pictures")
    version = registry.get_version(options.models, options.number)
    registry.verify_files(version)
    baseline = _baseline_recipe(options)
    data = mnist.load(options.data, skip_checksums=options.skip_checksums)
    _check_temporary_directory()
    from training.evaluation.assessment import evaluate_model  # noqa: PLC0415
    from training.pipeline import train_baseline  # noqa: PLC0415
    from training.publish import saved_model  # noqa: PLC0415

    if (version.path / saved_model.TFLITE_FILE).exists():
        saved_model.verify_parity(version.path, data.test.images)
    predict = saved_model.load_predictor(version.path)
    trained_baseline = train_baseline(baseline, data) if baseline else None
    report = evaluate_model(predict, data.test, version.confidence_threshold, _cache(options), trained_baseline)
    stated = version.metrics
    table = [["metric", "measured", "manifest"]]
    for name, value in report.metrics_dict().items():
        table.append([name, f"{value:.6f}", f"{stated[name]:.6f}" if name in stated else "?"])
    for line in _format_tables({"": table} | report.tables()):
        print(line)


def _evaluate_pictures(options: argparse.Namespace) -> None:
    """Send labelled pictures to the service, and write tables, JSON and contact sheets of what is wrong."""
    from training.evaluation import contact_sheet, labelled_pictures, own_pictures, picture_report  # noqa: PLC0415

    if options.key and not options.url:
        raise TrainingError("--key is for a running service: give its address by --url")
    pictures = labelled_pictures.find_pictures(options.pictures)
    with _connect(options) as client:
        results = own_pictures.measure_pictures(pictures, client)
    lines = _format_tables(picture_report.make_tables(results))
    directory = options.out or Path("runs", f"{datetime.now():%Y%m%d-%H%M%S}-pictures")  # noqa: DTZ005 - as runs are
    directory.mkdir(parents=True, exist_ok=True)
    atomic_write(directory / "report.txt", "\n".join(lines))
    atomic_write(directory / "results.json", picture_report.to_json(results, options.number))
    sheets = contact_sheet.write_sheets([result for result in results if not result.is_right], directory)
    for line in lines:
        print(line)
    print("written to " + ", ".join([f"{directory}: report.txt", "results.json", *(path.name for path in sheets)]))


@contextmanager
def _connect(options: argparse.Namespace) -> Iterator["ServiceClient"]:
    """A client of the service at --url, or else of one that is started here with the version."""
    from training.evaluation.service_client import ServiceClient  # noqa: PLC0415
    from training.evaluation.service_process import serve_version  # noqa: PLC0415

    if options.url:
        key = options.key or os.environ.get("DIGITS_API_KEY", "")
        with ServiceClient(options.url, options.number, key) as client:
            yield client
        return
    version = registry.get_version(options.models, options.number)
    registry.verify_files(version)
    with (
        serve_version(version.path, version.number) as url,
        ServiceClient(url, version.number, use_environment=False) as client,
    ):
        yield client


def retire(options: argparse.Namespace) -> None:
    """Retire a version."""
    path = registry.retire(options.models, options.number)
    serving = registry.serving_version(options.models)
    print(f"retired to {path}; serving now: {serving.number if serving else 'none'}")


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {
    "train": train,
    "compare": compare,
    "list": list_versions,
    "evaluate": evaluate_version,
    "retire": retire,
}


def format_table(table: Sequence[Sequence[str]]) -> list[str]:
    """The rows of a table as lines of text, with aligned columns."""
    widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]


def _format_tables(tables: Mapping[str, Sequence[Sequence[str]]]) -> list[str]:
    """Tables by their titles as lines of text; a blank line follows each."""
    return [line for title, rows in tables.items() for line in [title, *format_table(rows), ""][not title :]]


def _check_temporary_directory() -> None:
    """TensorFlow compiles functions in the temporary directory, and fails with another error if that is full.

    Raises:
        TrainingError: it cannot be written.
    """
    try:
        with tempfile.TemporaryFile() as file:
            file.write(bytes(TEMPORARY_BYTES))
    except OSError as error:
        raise TrainingError(
            f"the temporary directory {tempfile.gettempdir()} cannot be written: {error.strerror or error}; free space "
            "there, or set TMPDIR to another directory"
        ) from error


def _cell(value: object) -> str:
    """A value from a file as text of a table: one line of printable characters, shortened if it is long."""
    text = value if isinstance(value, str) else reprlib.repr(value) if isinstance(value, list | dict) else str(value)
    text = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text[:MAX_CELL])
    return text if len(text) <= MAX_CELL else f"{text[: MAX_CELL - 3]}..."


def _cache(options: argparse.Namespace) -> Path:
    return Path(options.data) / "ood_sets"


def _baseline_recipe(options: argparse.Namespace) -> Recipe | None:
    return None if options.baseline == "none" else Recipe.load(options.baseline)


def _format_metrics(metrics: dict[str, float]) -> str:
    accuracy, entropy, ece = (metrics[f"test_{name}"] for name in ("accuracy", "cross_entropy", "ece"))
    return f"test accuracy {accuracy:.2%}, cross-entropy {entropy:.4f} per image, calibration error {ece:.2%}"
