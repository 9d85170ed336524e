"""The places for predictions in flight: more than are there get 429."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from service.errors import TooManyRequests


class ConcurrencyLimiter:
    """The places of one worker. Every method may be called from several threads at once."""

    def __init__(self, limit: int) -> None:
        self._limit = self._available = limit
        self._lock = threading.Lock()

    @property
    def available(self) -> int:
        """How many nobody has."""
        return self._available

    def acquire(self) -> None:
        """Take one.

        Raises:
            TooBusy: all of them are taken.
        """
        with self._lock:
            if self._available > 0:
                self._available -= 1
                return
        raise self.rejection()

    def release(self) -> None:
        """Give it back."""
        with self._lock:
            self._available += 1

    @contextmanager
    def acquired(self) -> Iterator[None]:
        """A place, while the context lasts."""
        self.acquire()
        try:
            yield
        finally:
            self.release()

    def rejection(self) -> TooManyRequests:
        """What is said to those for whom there is none."""
        return TooManyRequests(f"{self._limit} requests are being answered, which is the limit")
