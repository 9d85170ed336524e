"""Request bodies as they arrive: bounded each in bytes and in time, and all of them together in bytes."""

import asyncio
from contextlib import suppress

from service.errors import RequestTimeout, TooManyRequests
from service.prediction import body_parser
from service.server.asgi_types import Message, Receive
from service.settings import Settings

MAX_BUFFERED_BODIES = 8
"""Bodies of the largest size that a worker holds while they arrive, in bytes together; more get 429."""
LINGER_SECONDS = 2.0
"""How long a refused body is read on and thrown away: a connection closed at once could take the answer with it."""


class ClientDisconnected(Exception):
    """The client went away before its request was whole."""


class ReceiveBudget:
    """All the bodies that arrive at one worker."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.limit = MAX_BUFFERED_BODIES * settings.max_body_bytes
        self.used = 0


class BufferedBody:
    """A body that is here, with a length that its head told. `whole`: no more of it is to come."""

    __slots__ = ("_body",)
    complete = True

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def read(self) -> bytes:
        """All of it."""
        return self._body

    async def drain(self) -> None:
        """Read what is left of it: nothing."""


class StreamedBody:
    """One body that arrives. `whole`: no more of it is to come."""

    __slots__ = ("_budget", "_receive", "complete")

    def __init__(self, receive: Receive, uploads: ReceiveBudget) -> None:
        self._receive, self._budget = receive, uploads
        self.complete = False

    async def read(self) -> bytes:
        """All of it.

        Raises:
            TooLarge: it has more bytes than are allowed.
            TooBusy: so many bytes are arriving already that there is no room for more.
            TooSlow: it does not arrive in time.
            Gone: the client went away.
        """
        message = await self._receive()
        if not message.get("more_body") and "body" in message:
            self.complete = True
            body = message["body"]
            body_parser.check_body_size(len(body), self._budget.settings, at_least=True)
            return bytes(body)
        seconds = self._budget.settings.receive_timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                return await self._collect(message)
        except TimeoutError:
            raise RequestTimeout(f"the body did not arrive within {seconds} seconds") from None

    async def drain(self) -> None:
        """Read what is left of it, for a while."""
        if not self.complete:
            with suppress(TimeoutError):
                async with asyncio.timeout(LINGER_SECONDS):
                    while (await self._receive()).get("more_body"):
                        pass

    async def _collect(self, message: Message) -> bytes:
        uploads, chunks, length = self._budget, [], 0
        try:
            while True:
                if message["type"] == "http.disconnect":
                    raise ClientDisconnected
                chunk = message.get("body", b"")
                self.complete = not message.get("more_body")
                chunks.append(chunk)
                length += len(chunk)
                uploads.used += len(chunk)
                body_parser.check_body_size(length, uploads.settings, at_least=True)
                if uploads.used > uploads.limit:
                    raise TooManyRequests(f"more than {uploads.limit} bytes of bodies are arriving, which is the limit")
                if self.complete:
                    return b"".join(chunks)
                message = await self._receive()
        finally:
            uploads.used -= length
