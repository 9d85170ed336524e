"""429, before a request is even built, for predictions that come while all places are taken.

A refusal takes a third of the time of an answer. Clients that ask again at once, and again, would still take most of
the time from those who are being answered. So a worker sends RATE refusals a second, and at once as many as it did not
send in the last second. Who has to wait for one is not read from meanwhile, and waits no longer than it is asked to
wait after it.
"""

import asyncio
from collections import deque
from math import ceil
from typing import Protocol

from service.responses import RETRY_AFTER_SECONDS

MAX_REJECTIONS_PER_SECOND = 500
"""A second, of a worker: about a hundredth of its time."""
TICK_SECONDS = 0.01
REJECTIONS_PER_TICK = int(MAX_REJECTIONS_PER_SECOND * TICK_SECONDS)


class Rejectable(Protocol):
    """Who is to be refused."""

    def pause(self) -> None:
        """It has to wait for it."""

    def reject(self) -> None:
        """Now."""


class RejectionThrottle:
    """The refusals of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._left, self._pace = MAX_REJECTIONS_PER_SECOND, REJECTIONS_PER_TICK
        self._waiting: deque[Rejectable] = deque()
        self._ticking = False

    def submit(self, refused: Rejectable) -> None:
        """Refuse this one, at once if possible."""
        if self._left:
            self._left -= 1
            refused.reject()
        else:
            self._waiting.append(refused)
            refused.pause()
        if not self._ticking:
            self._ticking = True
            self._loop.call_later(TICK_SECONDS, self._tick)

    def _tick(self) -> None:
        in_time = ceil(len(self._waiting) * TICK_SECONDS / RETRY_AFTER_SECONDS)
        self._pace = max(self._pace, in_time) if self._waiting else REJECTIONS_PER_TICK
        self._left += self._pace
        while self._waiting and self._left:
            self._left -= 1
            self._waiting.popleft().reject()
        self._left = min(self._left, MAX_REJECTIONS_PER_SECOND)
        self._ticking = self._left < MAX_REJECTIONS_PER_SECOND
        if self._ticking:
            self._loop.call_later(TICK_SECONDS, self._tick)

    def flush(self) -> None:
        """Refuse all who wait."""
        while self._waiting:
            self._waiting.popleft().reject()
