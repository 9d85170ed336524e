"""Limits of requests in flight; more of them are rejected with 429, cheap ones at once, slow ones after a wait."""

import asyncio
import threading
from types import TracebackType

from service.errors import TooManyRequests

REJECTION_DELAY_SECONDS = 0.1
"""Before a slow request is rejected: clients that send it again at once would use most of the CPU."""


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


class WaitingLimiter:
    """A limit at which further requests wait in line: an asynchronous context manager of one event loop, for tasks."""

    def __init__(self, limit: int, max_waiting: int, seconds: float, requests: str) -> None:
        """Create it.

        Args:
            limit: how many requests may be in flight at once.
            max_waiting: how many may wait; more are rejected, after REJECTION_DELAY_SECONDS.
            seconds: how long one may wait.
            requests: names the requests in errors.
        """
        self._limit, self._max_waiting, self._seconds, self._requests = limit, max_waiting, seconds, requests
        self._semaphore = asyncio.Semaphore(limit)
        self._waiting = 0

    async def __aenter__(self) -> None:
        """Wait for one request to end, if the limit is reached.

        Raises:
            TooManyRequests: too many wait already, or none has ended in time.
        """
        if self._semaphore.locked() and self._waiting >= self._max_waiting:
            await asyncio.sleep(REJECTION_DELAY_SECONDS)
            raise TooManyRequests(f"{self._limit} {self._requests} are in flight and {self._waiting} wait")
        self._waiting += 1
        try:
            async with asyncio.timeout(self._seconds):
                await self._semaphore.acquire()
        except TimeoutError:
            raise TooManyRequests(
                f"{self._limit} {self._requests} were in flight for {self._seconds:g} seconds, which is the limit"
            ) from None
        finally:
            self._waiting -= 1

    async def __aexit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self._semaphore.release()
