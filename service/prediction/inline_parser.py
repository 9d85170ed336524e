"""Where request bodies are parsed: the interface of a parser, and the parser in the process itself."""

import asyncio
from typing import Protocol

from service.imaging.reader import NormaliseOptions
from service.prediction.body_parser import ParsedBody, parse_body
from service.settings import Settings


class BodyParser(Protocol):
    """Parses request bodies, as `body_parser.parse_body` does. Thread-safe."""

    async def parse(self, body: bytes, content_type: str, options: NormaliseOptions) -> ParsedBody:
        """Parse a complete body without blocking the event loop; a cancelled call ends its work.

        Raises:
            RequestError: as `parse_body` raises it, or the body takes more time or memory than is allowed.
        """

    def parse_blocking(self, body: bytes, content_type: str, options: NormaliseOptions) -> ParsedBody:
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

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def parse(self, body: bytes, content_type: str, options: NormaliseOptions) -> ParsedBody:
        """Parse in a thread; a cancelled call does not end it."""
        return await asyncio.to_thread(self.parse_blocking, body, content_type, options)

    def parse_blocking(self, body: bytes, content_type: str, options: NormaliseOptions) -> ParsedBody:
        """Parse in the calling thread."""
        return parse_body(body, content_type, self._settings, options)

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """There is nothing to attach."""

    def close(self) -> None:
        """There is nothing to release."""
