"""Delays between attempts."""

from datetime import UTC, datetime

import pytest

from digits.retries import Retries, parse_retry_after

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("3", 3.0),
        ("0", 0.0),
        ("soon", None),
        ("-1", None),
        ("Thu, 01 Jan 2026 12:00:30 GMT", 30.0),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0.0),
    ],
)
def test_retry_after_is_a_number_or_a_date(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW) == seconds


def test_delays_grow_with_jitter_up_to_a_limit() -> None:
    retries = Retries(attempts=100, max_seconds=1000)
    for failures, limit in ((1, 0.1), (2, 0.2), (4, 0.8), (50, 10.0)):
        delays = [retries.delay(failures, 0, has_responded=True) for _ in range(100)]
        assert all(delay is not None and limit / 2 <= delay <= limit for delay in delays)
        assert len(set(delays)) > 1


def test_there_is_no_attempt_over_a_limit() -> None:
    retries = Retries(attempts=3, max_seconds=10, connection_attempts=2)
    assert retries.delay(2, 0, has_responded=True) is not None
    assert retries.delay(3, 0, has_responded=True) is None
    assert retries.delay(2, 0, has_responded=False) is None
    assert retries.delay(1, 8, has_responded=True, retry_after=3) is None
