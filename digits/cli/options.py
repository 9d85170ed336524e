"""Options of all commands that call the service."""

from collections.abc import Callable
from typing import TypeVar

import click
from click.core import ParameterSource

from digits.client import Client
from digits.connection import DEFAULT_TIMEOUT_SECONDS, DEFAULT_URL
from digits.retries import Retries

F = TypeVar("F", bound=Callable[..., object])


def group_options(group: F) -> F:
    """Add --url and --key before the command: `digits --url URL health`."""
    for name in ("--key", "--url"):
        group = click.option(name, help=f"The same as {name} of the command.")(group)
    return group


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
        click.option(
            "--key",
            envvar="DIGITS_KEY",
            callback=_prefer_group,
            help="The API key, if the service requires one. [env: DIGITS_KEY]",
        ),
        click.option(
            "--url",
            envvar="DIGITS_URL",
            default=DEFAULT_URL,
            callback=_prefer_group,
            help=f"Address of the service. [env: DIGITS_URL; default: {DEFAULT_URL}]",
        ),
    ):
        command = add(command)
    return command


def _prefer_group(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """The value that was given before the command, unless the command line has one after it."""
    name = option.name or ""
    is_own = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    given: str | None = context.find_root().params.get(name) if context.parent else None
    return value if is_own or given is None else given


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
