"""When a call is tried again, and after how many seconds.

A response with 429 or 503 was not handled and may always be repeated; Retry-After is honoured (RFC 9110, 10.2.3). The
delays grow exponentially with jitter, which spreads clients that failed together
(https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
"""

import random
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

FIRST_DELAY_SECONDS = 0.1
MAX_DELAY_SECONDS = 10.0
"""Limit of the delay where the service names none."""


@dataclass(frozen=True, slots=True)
class Retries:
    """The limits of the retries of one call."""

    attempts: int = 5
    """Maximum number of attempts at a busy service, the first one included."""
    max_seconds: float = 60.0
    """Maximum seconds that a call waits between its attempts, all together."""
    connection_attempts: int = 4
    """Maximum number of attempts without a response."""

    def delay(
        self, failures: int, waited: float, *, has_responded: bool, retry_after: float | None = None
    ) -> float | None:
        """Return the seconds until the next attempt; None: there is none.

        Args:
            failures: attempts that have failed, at least 1.
            waited: seconds that the call has waited so far.
            has_responded: whether the last attempt got a response.
            retry_after: seconds that the service asks to wait.
        """
        if failures >= (self.attempts if has_responded else self.connection_attempts):
            return None
        backoff = min(MAX_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** min(failures - 1, 20))
        jitter = random.uniform(0, backoff / 2)  # noqa: S311 - spreads clients, hides nothing
        delay = max(retry_after or 0.0, backoff / 2) + jitter
        return delay if waited + delay <= self.max_seconds else None


NO_RETRIES = Retries(attempts=1, connection_attempts=1)


def parse_retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Return the seconds that a header Retry-After names, as a number or a date; None if it names none."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - (now or datetime.now(UTC))).total_seconds())
