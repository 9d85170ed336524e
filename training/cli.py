"""The command line of the training pipeline.

python -m training train --recipe best
python -m training train --recipe notebook --set layers=300,100 --set learning_rate=0.01
python -m training train --recipe best --seeds 0..4
python -m training train --resume runs/A
python -m training compare runs/A runs/B
python -m training list | evaluate N | retire N
python -m training evaluate N --pictures DIR
"""

import argparse
import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from training.commands import COMMANDS, seeds
from training.errors import TrainingError

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code. An error is one line on standard error and exit code 2."""
    options = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A run shows its progress in a pipe or a file too; a name in a file may have characters that cannot be encoded.
        sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")
    try:
        COMMANDS[options.command](options)
    except KeyboardInterrupt:
        _print_error("interrupted; `list` shows the published versions")
        return 130
    except Exception as error:
        if not _can_be_corrected(error):
            raise
        reason = "there is not enough memory" if isinstance(error, MemoryError) else _one_line(str(error))
        _print_error(f"python -m training {options.command}: {reason}")
        return 2
    return 0


def _can_be_corrected(error: Exception) -> bool:
    """Whether the user can correct the cause: a disk, memory, a file. Any other error is a defect, with a traceback."""
    tensorflow = sys.modules.get("tensorflow")  # its errors are those of files and memory in its runtime
    operation_failed = tensorflow is not None and isinstance(error, tensorflow.errors.OpError)
    return operation_failed or isinstance(error, TrainingError | OSError | MemoryError)


def _print_error(line: str) -> None:
    """Print the line, unless standard error cannot be written either: then the exit code has to suffice."""
    with suppress(OSError):
        print(line, file=sys.stderr)
    for stream in filter(None, (sys.stdout, sys.stderr)):  # None: closed by the caller
        try:
            stream.flush()
        except OSError:  # the interpreter would fail again when it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _one_line(text: str) -> str:
    """The text in one line, without control characters."""
    line = " ".join(text.split())
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m training", description="Train, publish and manage versions of the model.")
    _add_models_option(parser, Path("models/digits"))
    commands = parser.add_subparsers(dest="command", required=True)

    train = commands.add_parser("train", help="train a recipe and publish the result")
    train.add_argument("--recipe", help="a name in training/recipes or a .toml file (best)")
    train.add_argument("--seed", help="short for --set seed=SEED")
    train.add_argument("--seeds", type=seeds, metavar="0..4", help="train several, publish the best on validation")
    train.add_argument("--resume", type=Path, metavar="RUN", help="continue an interrupted run")
    train.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a key of the recipe")
    train.add_argument("--runs", type=Path, default=Path("runs"), help="the directory of the runs (%(default)s)")
    train.add_argument("--force", action="store_true", help="publish although the gate rejects the result")
    _add_evaluation_options(train)

    compare = commands.add_parser("compare", help="print finished runs side by side and plot their curves")
    compare.add_argument("paths", type=Path, nargs="+", metavar="RUN")
    compare.add_argument(
        "--out", type=Path, default=Path("runs/compare.png"), help="the file of the plot (%(default)s)"
    )

    commands.add_parser("list", help="print all versions, published and retired")
    evaluate = commands.add_parser("evaluate", help="evaluate the files of a version")
    evaluate.add_argument("number", type=int, metavar="N")
    _add_picture_options(evaluate)
    _add_evaluation_options(evaluate)
    retire = commands.add_parser("retire", help="retire a version: a rollback to the previous one")
    retire.add_argument("number", type=int, metavar="N")
    for command in commands.choices.values():
        _add_models_option(command, argparse.SUPPRESS)  # allowed before and after the command
    return parser


def _add_models_option(parser: argparse.ArgumentParser, default: Path | str) -> None:
    parser.add_argument("--models", type=Path, default=default, help="the model directory (models/digits)")


def _add_picture_options(parser: argparse.ArgumentParser) -> None:
    pictures = parser.add_argument_group("your own pictures", "instead of MNIST's test images")
    pictures.add_argument(
        "--pictures", type=Path, metavar="DIR", help="pictures in folders named after their label: DIR/7/*, DIR/2024/*"
    )
    pictures.add_argument("--url", help="a running service with version N (one is started for the time of the command)")
    pictures.add_argument("--key", help="the API key of the service at --url (the variable DIGITS_API_KEY)")
    pictures.add_argument("--out", type=Path, metavar="DIR", help="the directory of the report (runs/TIME-pictures)")


def _add_evaluation_options(parser: argparse.ArgumentParser) -> None:
    _add_data_options(parser)
    baseline = "recipe to train for comparison on corrupted images, or none (%(default)s)"
    parser.add_argument("--baseline", default="notebook", metavar="RECIPE", help=baseline)


def _add_data_options(parser: argparse.ArgumentParser) -> None:
    default = Path(os.environ.get("DIGITS_DATA", "data/mnist"))
    parser.add_argument("--data", type=Path, default=default, help="the directory of MNIST (%(default)s)")
    parser.add_argument("--skip-checksums", action="store_true", help="accept other IDX data than MNIST")
