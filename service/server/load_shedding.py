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

RATE = 500
"""A second, of a worker: about a hundredth of its time."""
TICK_SECONDS = 0.01
A_TICK = int(RATE * TICK_SECONDS)


class Refused(Protocol):
    """Who is to be refused."""

    def hold(self) -> None:
        """It has to wait for it."""

    def refuse(self) -> None:
        """Now."""


class Refusals:
    """The refusals of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._left, self._pace = RATE, A_TICK
        self._waiting: deque[Refused] = deque()
        self._ticking = False

    def add(self, refused: Refused) -> None:
        """Refuse this one, at once if possible."""
        if self._left:
            self._left -= 1
            refused.refuse()
        else:
            self._waiting.append(refused)
            refused.hold()
        if not self._ticking:
            self._ticking = True
            self._loop.call_later(TICK_SECONDS, self._tick)

    def _tick(self) -> None:
        in_time = ceil(len(self._waiting) * TICK_SECONDS / RETRY_AFTER_SECONDS)
        self._pace = max(self._pace, in_time) if self._waiting else A_TICK
        self._left += self._pace
        while self._waiting and self._left:
            self._left -= 1
            self._waiting.popleft().refuse()
        self._left = min(self._left, RATE)
        self._ticking = self._left < RATE
        if self._ticking:
            self._loop.call_later(TICK_SECONDS, self._tick)

    def end(self) -> None:
        """Refuse all who wait."""
        while self._waiting:
            self._waiting.popleft().refuse()
