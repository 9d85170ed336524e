"""Rejects predict requests over the limit with 429, before a request object is built, and at a bounded rate.

A rejection costs a third of the time of a response. Clients that retry at once would use most of the CPU. A token
bucket sends at most MAX_REJECTIONS_PER_SECOND; other connections are paused, and rejected within
RETRY_AFTER_SECONDS.
"""

import asyncio
from collections import deque
from math import ceil
from typing import Protocol

from service.responses import RETRY_AFTER_SECONDS

MAX_REJECTIONS_PER_SECOND = 500
"""Of one worker: they take about a hundredth of its time."""
TICK_SECONDS = 0.01
REJECTIONS_PER_TICK = int(MAX_REJECTIONS_PER_SECOND * TICK_SECONDS)


class Rejectable(Protocol):
    """A connection whose request is to be rejected."""

    def pause_reading(self) -> None:
        """Receive nothing more until `reject`."""

    def reject(self) -> None:
        """Send the rejection."""


class RejectionThrottle:
    """The rejections of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._tokens, self._refill = MAX_REJECTIONS_PER_SECOND, REJECTIONS_PER_TICK
        self._waiting: deque[Rejectable] = deque()
        self._ticking = False

    def submit(self, connection: Rejectable) -> None:
        """Reject a connection's request, now if there is a token, later if not."""
        if self._tokens:
            self._tokens -= 1
            connection.reject()
        else:
            self._waiting.append(connection)
            connection.pause_reading()
        if not self._ticking:
            self._ticking = True
            self._loop.call_later(TICK_SECONDS, self._tick)

    def _tick(self) -> None:
        needed = ceil(len(self._waiting) * TICK_SECONDS / RETRY_AFTER_SECONDS)
        self._refill = max(self._refill, needed) if self._waiting else REJECTIONS_PER_TICK
        self._tokens += self._refill
        while self._waiting and self._tokens:
            self._tokens -= 1
            self._waiting.popleft().reject()
        self._tokens = min(self._tokens, MAX_REJECTIONS_PER_SECOND)
        self._ticking = self._tokens < MAX_REJECTIONS_PER_SECOND
        if self._ticking:
            self._loop.call_later(TICK_SECONDS, self._tick)

    def flush(self) -> None:
        """Reject all waiting requests now."""
        while self._waiting:
            self._waiting.popleft().reject()
