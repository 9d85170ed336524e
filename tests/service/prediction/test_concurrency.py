"""Tests ConcurrencyLimiter: its exact limit, release after errors, and threads that compete for it."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from service.errors import TooManyRequests
from service.prediction.concurrency import ConcurrencyLimiter


def test_accepts_requests_up_to_the_limit() -> None:
    limiter = ConcurrencyLimiter(2)
    assert limiter.available == 2
    limiter.acquire()
    assert limiter.available == 1
    with limiter:
        assert limiter.available == 0
        with pytest.raises(TooManyRequests, match=r"^2 requests are in flight, which is the limit$"):
            limiter.acquire()
        assert limiter.available == 0
    assert limiter.available == 1
    limiter.release()
    assert limiter.available == 2


def test_releases_after_an_exception() -> None:
    limiter = ConcurrencyLimiter(1)
    with pytest.raises(ZeroDivisionError), limiter:
        raise ZeroDivisionError
    assert limiter.available == 1


def test_a_rejected_request_releases_nothing() -> None:
    limiter = ConcurrencyLimiter(1)
    with limiter:
        with pytest.raises(TooManyRequests), limiter:
            raise AssertionError
        assert limiter.available == 0


def test_the_rejection_names_the_limit() -> None:
    assert str(ConcurrencyLimiter(7).rejection()) == "7 requests are in flight, which is the limit"


def test_threads_acquire_exactly_the_limit() -> None:
    limiter, start = ConcurrencyLimiter(100), Barrier(16)

    def acquire_all() -> int:
        start.wait()
        acquired = 0
        while True:
            try:
                limiter.acquire()
            except TooManyRequests:
                return acquired
            acquired += 1

    with ThreadPoolExecutor(16) as pool:
        assert sum(future.result() for future in [pool.submit(acquire_all) for _ in range(16)]) == 100
