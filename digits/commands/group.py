"""The command line: options that all commands share, and errors as one line on standard error.

Exit codes: 0, 1 if the service or a picture failed, 2 if the arguments are wrong.
"""

import os
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import NoReturn

import click

from digits.commands.model import health, model
from digits.commands.predict import predict
from digits.commands.serve import serve
from digits.errors import DigitsError, InvalidAddress


def find_version() -> str:
    """Return the version of the distribution; a clone that is not installed has none."""
    try:
        return version("digits")
    except PackageNotFoundError:
        return "not installed"


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(find_version(), "-V", "--version", message="%(version)s")
def digits() -> None:
    """Read handwritten digits: send pictures to a Digits service, or start one."""


for command in (predict, serve, health, model):
    digits.add_command(command)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run a command, and exit with its code."""
    try:
        code = digits.main(arguments, standalone_mode=False)
    except click.ClickException as error:
        _exit(2, error.format_message())
    except InvalidAddress as error:
        _exit(2, error.sentence)
    except DigitsError as error:
        _exit(1, error.sentence)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:  # the reader of standard output has left, `head` for example
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the flush at exit fails again
        sys.exit(1)
    except OSError as error:
        _exit(1, str(error))
    sys.exit(code if isinstance(code, int) else 0)


def _exit(code: int, sentence: str) -> NoReturn:
    click.echo(f"digits: {' '.join(sentence.split())}", err=True)
    sys.exit(code)
