"""Request bodies while they arrive: each bounded in bytes and in time, and all of them together in bytes."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from service.errors import RequestTimeout, TooManyRequests
from service.prediction import body_parser
from service.server.asgi_types import Message, Receive
from service.settings import Settings

MAX_BUFFERED_BODIES = 8
"""Times the largest body: what a worker buffers of bodies that are still arriving; more are rejected with 429."""
LINGER_SECONDS = 2.0
"""How long a rejected body is received and discarded: closing at once could discard the response with it (RFC 9112,
section 9.6)."""


class ClientDisconnected(Exception):
    """The client disconnected before its request was complete."""


class ReceiveBudget:
    """The bytes of all bodies that are arriving at one worker."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.limit = MAX_BUFFERED_BODIES * settings.max_body_bytes
        self.used = 0


class BufferedBody:
    """A body that has arrived. `complete`: nothing more of it will arrive.

    `on_disconnect` is called once if the client disconnects before the response is sent.
    """

    __slots__ = ("_body", "on_disconnect")
    complete = True

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.on_disconnect: Callable[[], None] | None = None

    async def read(self) -> bytes:
        """The complete body."""
        return self._body

    async def drain(self) -> None:
        """Receive and discard the rest of it: nothing."""


class StreamedBody:
    """A body that is arriving. `complete`: nothing more of it will arrive."""

    __slots__ = ("_budget", "_receive", "complete")

    def __init__(self, receive: Receive, budget: ReceiveBudget) -> None:
        self._receive, self._budget = receive, budget
        self.complete = False

    async def read(self) -> bytes:
        """Receive the complete body.

        Raises:
            PayloadTooLarge: it has more bytes than are allowed.
            TooManyRequests: too many bytes of bodies are arriving already.
            RequestTimeout: it does not arrive in time.
            ClientDisconnected: the client disconnected.
        """
        seconds = self._budget.settings.receive_timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                message = await self._receive()
                if message.get("more_body") or "body" not in message:
                    return await self._collect(message)
        except TimeoutError:
            raise RequestTimeout(f"the body did not arrive within {seconds} seconds") from None
        self.complete = True
        body = message["body"]
        body_parser.check_body_size(len(body), self._budget.settings, at_least=True)
        return bytes(body)

    async def drain(self) -> None:
        """Receive and discard the rest of it, for LINGER_SECONDS at most."""
        if not self.complete:
            with suppress(TimeoutError):
                async with asyncio.timeout(LINGER_SECONDS):
                    while (await self._receive()).get("more_body"):
                        pass

    async def _collect(self, message: Message) -> bytes:
        budget, chunks, length = self._budget, [], 0
        try:
            while True:
                if message["type"] == "http.disconnect":
                    raise ClientDisconnected
                chunk = message.get("body", b"")
                self.complete = not message.get("more_body")
                chunks.append(chunk)
                length += len(chunk)
                budget.used += len(chunk)
                body_parser.check_body_size(length, budget.settings, at_least=True)
                if budget.used > budget.limit:
                    raise TooManyRequests(f"more than {budget.limit} bytes of bodies are arriving, which is the limit")
                if self.complete:
                    return b"".join(chunks)
                message = await self._receive()
        finally:
            budget.used -= length
