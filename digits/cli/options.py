"""Options of all commands that call the service."""

from collections.abc import Callable
from typing import TypeVar

import click

from digits.client import Client
from digits.connection import DEFAULT_TIMEOUT_SECONDS, DEFAULT_URL
from digits.retries import Retries

F = TypeVar("F", bound=Callable[..., object])


def service_options(command: F) -> F:
    """Add --url, --key and --timeout."""
    for add in (
        click.option(
            "--timeout",
            type=click.FloatRange(min=0, min_open=True),
            default=DEFAULT_TIMEOUT_SECONDS,
            show_default=True,
            help="Seconds for a connection, and for each part of a response.",
        ),
        click.option("--key", envvar="DIGITS_KEY", help="The API key, if the service requires one. [env: DIGITS_KEY]"),
        click.option(
            "--url",
            envvar="DIGITS_URL",
            default=DEFAULT_URL,
            help=f"Address of the service. [env: DIGITS_URL; default: {DEFAULT_URL}]",
        ),
    ):
        command = add(command)
    return command


def connect(
    url: str, key: str | None, timeout: float, *, retries: Retries | None = None, connections: int = 1
) -> Client:
    """Make a client.

    Raises:
        click.UsageError: the address or the key is invalid.
    """
    try:
        return Client(url, key=key, timeout=timeout, retries=retries, connections=connections)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
