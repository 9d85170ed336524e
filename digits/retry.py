"""When a request is sent again, and after how long: as the service asks for it, else exponentially with full jitter.

The method is that of https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/ .
"""

import random
from dataclasses import dataclass

import httpx

from digits.errors import DigitsError, Unreachable
from digits.requests import Request

BUSY = frozenset({429, 503})
"""The service has refused the request before it did anything: safe to repeat for every request."""
GATEWAY = frozenset({502, 504})
"""A proxy has lost the service: only an idempotent request is repeated."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Limits of repeating.

    Attributes:
        attempts: the maximum number of times that one request is sent, at least 1.
        max_seconds: the maximum time that one request waits in all; a longer Retry-After is not waited for.
        first_seconds: the upper limit of the wait after the first attempt; each further one has twice the limit.
        unreachable_attempts: as `attempts`, if there was no response: an address may be misspelt.
    """

    attempts: int = 8
    max_seconds: float = 60.0
    first_seconds: float = 0.1
    unreachable_attempts: int = 4

    def delay(self, attempt: int, waited: float, error: DigitsError, *, is_idempotent: bool) -> float | None:
        """Return the seconds to wait before the next attempt, or None to give up.

        Args:
            attempt: the number of the attempt that failed, from 1.
            waited: the seconds that the request has waited before.
            error: what the attempt failed with.
            is_idempotent: the request may reach the service twice.
        """
        attempts = self.unreachable_attempts if isinstance(error, Unreachable) else self.attempts
        if attempt >= attempts or not _is_repeatable(error, is_idempotent=is_idempotent):
            return None
        limit = self.first_seconds * 2 ** (attempt - 1)
        jitter = random.uniform(0, limit)  # noqa: S311 - no secret
        # Clients that were refused together must not return together: a little is added to what the service asks for.
        seconds = jitter if error.retry_after is None else error.retry_after + min(jitter, 1.0)
        return seconds if waited + seconds <= self.max_seconds else None


def unreachable(error: httpx.HTTPError, request: Request, address: str) -> Unreachable:
    """Return the client's exception for one of httpx."""
    kind = "did not answer in time" if isinstance(error, httpx.TimeoutException) else "cannot be reached"
    text = str(error) or type(error).__name__
    found = Unreachable(f"{address} {kind} ({request.method} /{request.path}: {text})")
    found.__cause__ = error
    return found


def _is_repeatable(error: DigitsError, *, is_idempotent: bool) -> bool:
    if isinstance(error, Unreachable):
        not_sent = isinstance(error.__cause__, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout))
        return is_idempotent or not_sent
    return error.status in BUSY or (is_idempotent and error.status in GATEWAY)
