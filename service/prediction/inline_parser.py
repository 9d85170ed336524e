"""Where request bodies are parsed: the interface of a parser, and the parser in the process itself."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from service.prediction.body_parser import ParsedBody
from service.prediction.protocol import BodyFormat


class BodyParser(Protocol):
    """Parses request bodies, as `protocols.parse_body` does. Thread-safe."""

    async def parse(self, body: bytes, body_format: BodyFormat) -> ParsedBody:
        """Parse a complete body without blocking the event loop; a cancelled call ends its work.

        Raises:
            RequestError: as `parse_body` raises it, or the body takes more time or memory than is allowed.
        """

    def parse_blocking(self, body: bytes, body_format: BodyFormat) -> ParsedBody:
        """Parse a complete body, in a thread other than that of the event loop.

        Raises:
            RequestError: as `parse` raises it.
        """

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Use this event loop; called before the first `parse_blocking`. Only the first call has an effect."""

    def close(self) -> None:
        """Release what the parser holds."""


class InlineParser:
    """Parses in the calling process, without limits on time and memory: for WSGI servers other than gunicorn."""

    def __init__(self, parse_body: Callable[[bytes, BodyFormat], ParsedBody]) -> None:
        self._parse_body = parse_body

    async def parse(self, body: bytes, body_format: BodyFormat) -> ParsedBody:
        """Parse in a thread; a cancelled call does not end it."""
        return await asyncio.to_thread(self._parse_body, body, body_format)

    def parse_blocking(self, body: bytes, body_format: BodyFormat) -> ParsedBody:
        """Parse in the calling thread."""
        return self._parse_body(body, body_format)

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """There is nothing to attach."""

    def close(self) -> None:
        """There is nothing to release."""
