"""`digits predict`: pictures to a table, CSV, JSON Lines or Parquet."""

import sys
from functools import partial
from pathlib import Path

import click
from tqdm import tqdm

from digits.calls import Normalise
from digits.cli.files import find_pictures
from digits.cli.options import connect, service_options
from digits.cli.output import FORMATS, LineOutput, Output, ParquetOutput, StreamOutput, partial_path, to_text
from digits.cli.rows import build_row
from digits.cli.run import Results, Summary, predict_files, run
from digits.retries import Retries

MAX_ATTEMPTS = 1_000_000  # --wait is the limit
DEFAULT_CONNECTIONS = 4


@click.command()
@click.argument("pictures", nargs=-1, required=True)
@service_options
@click.option(
    "-f",
    "--format",
    "kind",
    type=click.Choice(FORMATS),
    help="Format of the output. [default: by the name of FILE; else a table on a terminal, CSV elsewhere]",
)
@click.option("-o", "--output", "path", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file.")
@click.option("--resume", is_flag=True, help="Continue FILE: pictures that it has are not sent again.")
@click.option("--overwrite", is_flag=True, help="Replace FILE if it exists.")
@click.option("--split", is_flag=True, help="Read every digit of each line of writing.")
@click.option("--normalise", type=click.Choice(["auto", "always", "never"]), help="As in the HTTP API.")
@click.option(
    "--connections", type=click.IntRange(1, 64), default=DEFAULT_CONNECTIONS, show_default=True, help="Connections."
)
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=300.0,
    show_default=True,
    help="Maximum seconds that one request waits for a busy service (429, 503).",
)
def predict(  # noqa: PLR0913, PLR0917 - one for each option
    pictures: tuple[str, ...],
    url: str,
    key: str | None,
    timeout: float,
    kind: str | None,
    path: Path | None,
    *,
    resume: bool,
    overwrite: bool,
    split: bool,
    normalise: Normalise | None,
    connections: int,
    wait: float,
) -> int:
    """Classify PICTURES: files, directories with all their pictures, or - for standard input.

    Exit code 1 if a picture failed; all that failed are listed on standard error.
    """
    check_options(path, kind, resume=resume, overwrite=overwrite)
    files = find_pictures(pictures)
    retries = Retries(attempts=MAX_ATTEMPTS, max_seconds=wait)
    with connect(url, key, timeout, retries=retries, connections=connections) as client:
        output = open_output(path, kind, files, split=split, resume=resume)
        missing = [name for name in files if not {name, to_text(name)} & output.known]
        known = len(files) - len(missing)
        with tqdm(total=len(files), initial=known, unit="picture", disable=hides_progress(path)) as progress:

            def report(results: Results) -> None:
                output.write([build_row(name, reading) for name, reading in results if not isinstance(reading, str)])
                progress.update(len(results))

            send = partial(predict_files, client, split=split, normalise=normalise)
            summary = run(send, missing, connections, report, in_order=path is None)
        output.finish()
    return report_failures(summary, len(missing), has_file=path is not None)


def hides_progress(path: Path | None) -> bool | None:
    """Whether the progress bar would be among the rows on the terminal; None: it depends on standard error."""
    return True if path is None and sys.stdout.isatty() else None


def check_options(path: Path | None, kind: str | None, *, resume: bool, overwrite: bool) -> None:
    """Check the options that depend on each other.

    Raises:
        click.UsageError: one of them cannot be used.
    """
    if path is None and (resume or overwrite):
        raise click.UsageError(f"{'--resume' if resume else '--overwrite'} needs --output FILE")
    if path is None and kind == "parquet":
        raise click.UsageError("--format parquet needs --output FILE")
    if path is not None and kind == "table":
        raise click.UsageError("a table is for the terminal; choose --format csv, jsonl or parquet for a file")
    if resume and overwrite:
        raise click.UsageError("--resume and --overwrite contradict each other; choose one")
    existing = [found for found in (path, partial_path(path)) if found.exists()] if path is not None else []
    if existing and not (resume or overwrite):
        raise click.UsageError(f"{existing[0]} exists; add --resume to continue, or --overwrite to begin again")


def open_output(path: Path | None, kind: str | None, files: list[str], *, split: bool, resume: bool) -> Output:
    """Open the output in its format.

    Raises:
        click.UsageError: the file cannot be written or continued, or its name has no format.
    """
    if path is None:
        return StreamOutput(sys.stdout, kind or ("table" if sys.stdout.isatty() else "csv"), files, split=split)
    kind = kind or path.suffix.lstrip(".").lower()
    if kind == "parquet":
        return ParquetOutput(path, split=split, resume=resume)
    if kind not in FORMATS:
        raise click.UsageError(f"the name {path} ends with no format; expected: .csv, .jsonl or .parquet, or --format")
    return LineOutput(path, kind, split=split, resume=resume)


def report_failures(summary: Summary, total: int, *, has_file: bool) -> int:
    """List what failed on standard error; return the exit code."""
    for name, sentence in summary.failed.items():
        print(f"digits: {name}: {sentence}", file=sys.stderr)
    if summary.error is not None:
        left = total - summary.predicted - len(summary.failed)
        advice = "; continue with --resume" if has_file else ""
        print(f"digits: {summary.error.sentence}; {left} of {total} pictures have no result{advice}", file=sys.stderr)
    elif summary.failed:
        print(f"digits: {len(summary.failed)} of {total} pictures failed", file=sys.stderr)
    return 1 if summary.failed or summary.error else 0
