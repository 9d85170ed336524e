"""The command `digits`: exit code 0 for success, 1 if something failed, 2 if the arguments are wrong.

Every error is one line on standard error.
"""

import os
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from io import TextIOWrapper
from pathlib import Path

import click

from digits.cli.options import group_options
from digits.cli.predict import predict
from digits.cli.serve import serve
from digits.cli.status import health, model
from digits.errors import DigitsError


def _installed_version() -> str:
    try:
        return version("digits")
    except PackageNotFoundError:  # a clone
        return "not installed"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(_installed_version(), prog_name="digits")
@group_options
def commands(**_: str | None) -> None:
    """Classify pictures of handwritten digits with a Digits service, or run one."""


for command in (predict, health, model, serve):
    commands.add_command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    if sys.stdout is None:  # closed, as with >&-
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - until the end of the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="surrogateescape")  # names of files that are not UTF-8
    try:
        code = commands.main(arguments, prog_name="digits", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message())
        return 2
    except click.ClickException as error:
        return _fail(error.format_message(), error.exit_code)
    except DigitsError as error:
        return _fail(error.sentence, 1)
    except click.Abort:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # requests may still be in flight; a second Ctrl-C ends them
        return _fail("interrupted", 1)
    except OSError as error:  # of the output: those of pictures and of the network are handled before
        _discard_output()
        sentence = f"{error.filename or 'standard output'} cannot be written: {error.strerror or error}"
        return 1 if isinstance(error, BrokenPipeError) else _fail(sentence, 1)  # `| head` has seen enough
    return code if isinstance(code, int) else 0


def _discard_output() -> None:
    """Let nothing fail when Python flushes standard output at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(sentence: str, code: int) -> int:
    print(f"digits: {' '.join(sentence.split())}", file=sys.stderr)
    return code
