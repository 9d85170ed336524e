"""Responses that clients do not read: each bounded in time, and all of a worker together in bytes.

A response that the kernel does not take at once waits in the connection's buffer. A client that never reads would keep
it there for good, and 60 clients with 10,000 predictions each keep more than 200 MB.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

MAX_UNSENT_BYTES = 64 << 20
"""Of one worker, in all buffers: about 25 responses with 10,000 predictions and their probabilities."""
TICK_SECONDS = 1.0


class Sender(Protocol):
    """A connection with a response that the client has not received completely."""

    @property
    def unsent_bytes(self) -> int:
        """Bytes in the buffer of the connection."""

    def abort(self) -> None:
        """Close the connection at once, and discard its buffer."""


class SendBudget:
    """The unsent responses of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, timeout: float, on_abort: Callable[[str], None]) -> None:
        """Create it, without responses.

        Args:
            loop: calls back when responses are due.
            timeout: seconds that a response may wait for its client.
            on_abort: called with the reason of each abort: `timeout`, or `memory` if MAX_UNSENT_BYTES were exceeded.
        """
        self._loop, self._timeout, self._on_abort = loop, timeout, on_abort
        self._waiting_since: dict[Sender, float] = {}
        """In the event loop's time, the oldest first."""
        self._ticking = False

    def register(self, sender: Sender) -> None:
        """A response waits for its client from now on, unless it has waited already."""
        self._waiting_since.setdefault(sender, self._loop.time())
        self._abort_over_limit(sender)
        if not self._ticking:
            self._ticking = True
            self._loop.call_later(TICK_SECONDS, self._tick)

    def release(self, sender: Sender) -> None:
        """The client has received the response, or its connection is lost."""
        self._waiting_since.pop(sender, None)

    def _abort_over_limit(self, newest: Sender) -> None:
        """Abort the oldest ones; not the newest one, which may be over the limit on its own."""
        unsent = {sender: sender.unsent_bytes for sender in self._waiting_since}
        total = sum(unsent.values())
        for sender, size in unsent.items():
            if total <= MAX_UNSENT_BYTES:
                return
            if sender is not newest:
                total -= size
                self._abort(sender, "memory")

    def _tick(self) -> None:
        now = self._loop.time()
        for sender in [each for each, since in self._waiting_since.items() if now - since >= self._timeout]:
            self._abort(sender, "timeout")
        self._ticking = bool(self._waiting_since)
        if self._ticking:
            self._loop.call_later(TICK_SECONDS, self._tick)

    def _abort(self, sender: Sender, reason: str) -> None:
        self.release(sender)
        self._on_abort(reason)
        sender.abort()
