"""The options of the commands that talk to a service."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from digits.client import Client
from digits.connection import ADDRESS, TIMEOUT_SECONDS

Command = TypeVar("Command", bound=Callable[..., Any])

OPTIONS = (
    click.option("--url", envvar="DIGITS_URL", default=ADDRESS, show_default=True, help="Address of the service."),
    click.option("--key", envvar=["DIGITS_KEY", "DIGITS_API_KEY"], help="API key, if the service has one."),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=TIMEOUT_SECONDS,
        show_default=True,
        help="Seconds to wait for a response.",
    ),
)


def connects(command: Command) -> Command:
    """Add --url, --key and --timeout to a command."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def connect(url: str, key: str | None, timeout: float, connections: int = 1) -> Client:
    """Return the client that the options describe.

    Raises:
        InvalidAddress: the address is no URL of HTTP.
    """
    return Client(url or ADDRESS, key, timeout=timeout, connections=connections)
