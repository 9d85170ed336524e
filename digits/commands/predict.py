"""`digits predict`: the digits on any number of pictures, as a table or a file."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from digits.client import Client
from digits.commands.files import STDIN, find_pictures
from digits.commands.options import connect, connects
from digits.commands.output import LineOutput, Output, ParquetOutput, StreamOutput, TableOutput
from digits.commands.records import csv_format, json_lines_format, make_record
from digits.connection import CONNECTIONS
from digits.errors import DigitsError
from digits.exchanges import Options
from digits.sources import Source

FORMATS = ("table", "csv", "jsonl", "parquet")
SUFFIXES = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
NORMALISE = ("auto", "always", "never")


@click.command()
@click.argument("pictures", nargs=-1, required=True)
@connects
@click.option("--split", is_flag=True, help="Read every digit on each picture, line by line.")
@click.option("--normalise", type=click.Choice(NORMALISE), help="Whether pictures are brought to MNIST's form.")
@click.option(
    "-f",
    "--format",
    "name",
    type=click.Choice(FORMATS),
    help="[default: by the end of FILE's name; without a file a table on a terminal, else csv]",
)
@click.option("-o", "--output", "path", metavar="FILE", help="Write the results to a file.")
@click.option("--resume", is_flag=True, help="Send only pictures that FILE has no result of, and add these.")
@click.option(
    "--connections",
    type=click.IntRange(1, 256),
    default=CONNECTIONS,
    show_default=True,
    help="Maximum number of requests at once.",
)
def predict(  # noqa: PLR0913, PLR0917 - one for each option
    pictures: Sequence[str],
    url: str,
    key: str | None,
    timeout: float,
    normalise: str | None,
    name: str | None,
    path: str | None,
    connections: int,
    *,
    split: bool,
    resume: bool,
) -> None:
    """Predict the digits on PICTURES: files, folders, or - for standard input.

    Exit code 1 if a picture failed; those are listed on standard error.
    """
    found = find_pictures(pictures)
    failures: list[str] = []
    with connect(url, key, timeout, connections) as client:
        output = open_output(name, path, split=split, resume=resume)
        names = [picture for picture in found if picture not in output.done]
        try:
            options = Options(split, normalise, probabilities=False)
            failures.extend(write_results(client, names, output, options, ordered=path is None))
        finally:
            output.finish(found)
            for sentence in failures:
                click.echo(f"digits: {sentence}", err=True)
    if failures:
        click.echo(f"digits: {len(failures)} of {len(names)} pictures failed", err=True)
        sys.exit(1)


def open_output(name: str | None, path: str | None, *, split: bool, resume: bool) -> Output:
    """Return what the options --format, --output, --split and --resume describe.

    Raises:
        UsageError: the options contradict each other, or the file cannot be written.
    """
    if path is None:
        if resume or name == "parquet":
            raise click.UsageError(f"{'--resume' if resume else '--format parquet'} needs --output FILE")
        if (name or ("table" if sys.stdout.isatty() else "csv")) == "table":
            return TableOutput()
        return StreamOutput(json_lines_format() if name == "jsonl" else csv_format(split=split))
    file = Path(path).resolve()
    name = name or SUFFIXES.get(file.suffix.lower(), "csv")
    if name == "table":
        raise click.UsageError("a table is for the terminal; choose csv, jsonl or parquet for a file")
    if file.exists() and not file.is_file():
        raise click.UsageError(f"{path} is no file; without --output, results are written to standard output")
    try:
        if name == "parquet":
            return ParquetOutput(file, split=split, resume=resume)
        return LineOutput(file, csv_format(split=split) if name == "csv" else json_lines_format(), resume=resume)
    except OSError as error:
        raise click.UsageError(f"{path} cannot be written: {error.strerror or error}") from None


def write_results(
    client: Client, names: Sequence[str], output: Output, options: Options, *, ordered: bool
) -> Iterator[str]:
    """Send pictures and write their results; yield a sentence for each picture that failed.

    Raises:
        DigitsError: an error that every further picture would meet too.
        OSError: a result cannot be written.
    """
    hidden = len(names) < 2 or not sys.stderr.isatty() or (isinstance(output, StreamOutput) and sys.stdout.isatty())
    outcomes = client.try_predict_many(map(_open_source, names), options, ordered=ordered)
    with click.progressbar(length=len(names), file=sys.stderr, show_pos=True, hidden=hidden) as bar:
        for outcome in outcomes:
            name = names[outcome.number - 1]
            if isinstance(outcome.result, DigitsError):
                yield f"{name}: {outcome.result.sentence}"
            else:
                output.add(make_record(name, outcome.result))
            bar.update(1)


def _open_source(name: str) -> Source:
    return sys.stdin.buffer.read() if name == STDIN else name
