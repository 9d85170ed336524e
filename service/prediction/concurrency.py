"""The places for predictions in flight: more than are there get 429."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from service.errors import TooBusy


class Places:
    """The places of one worker. Every method may be called from several threads at once."""

    def __init__(self, limit: int) -> None:
        self._limit = self._free = limit
        self._lock = threading.Lock()

    @property
    def free(self) -> int:
        """How many nobody has."""
        return self._free

    def take(self) -> None:
        """Take one.

        Raises:
            TooBusy: all of them are taken.
        """
        with self._lock:
            if self._free > 0:
                self._free -= 1
                return
        raise self.refusal()

    def leave(self) -> None:
        """Give it back."""
        with self._lock:
            self._free += 1

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place, while the context lasts."""
        self.take()
        try:
            yield
        finally:
            self.leave()

    def refusal(self) -> TooBusy:
        """What is said to those for whom there is none."""
        return TooBusy(f"{self._limit} requests are being answered, which is the limit")
