"""Errors that name the number of a bad picture among several."""

from collections.abc import Callable
from typing import Any, TypeVar

from service.errors import RequestError

Parsed = TypeVar("Parsed")


def parse_numbered(entry: Any, number: int, count: int, parse_entry: Callable[[Any], Parsed]) -> Parsed:
    """Parse one of `count` entries; if there are several, an error names the number of this one, from 1.

    Raises:
        RequestError: as `parse_entry` raises it.
    """
    try:
        return parse_entry(entry)
    except RequestError as error:
        if count == 1:
            raise
        raise type(error)(f"picture {number} of {count}: {error}") from None
