"""The limit of predict requests in flight; requests beyond it are rejected with 429."""

import threading
from types import TracebackType

from service.errors import TooManyRequests


class ConcurrencyLimiter:
    """A semaphore that rejects instead of blocking, and a context manager. Thread-safe."""

    def __init__(self, limit: int, requests: str = "requests") -> None:
        """Accept `limit` requests at once; `requests` names them in the error."""
        self._limit = self._available = limit
        self._requests = requests
        self._lock = threading.Lock()

    @property
    def available(self) -> int:
        """How many more requests would be accepted now."""
        return self._available

    def acquire(self) -> None:
        """Count one more request in flight.

        Raises:
            TooManyRequests: the limit is reached.
        """
        with self._lock:
            if self._available > 0:
                self._available -= 1
                return
        raise self.rejection()

    def release(self) -> None:
        """Count one request less."""
        with self._lock:
            self._available += 1

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.release()

    def rejection(self) -> TooManyRequests:
        """The error for a rejected request."""
        return TooManyRequests(f"{self._limit} {self._requests} are in flight, which is the limit")
