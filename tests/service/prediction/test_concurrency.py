"""Tests the limiters: their exact limits, release after errors, threads that compete, requests that wait in line."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from service.errors import TooManyRequests
from service.prediction.concurrency import ConcurrencyLimiter, WaitingLimiter


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


def test_requests_over_a_limit_wait_in_line() -> None:
    async def scenario() -> None:
        limiter = WaitingLimiter(1, 2, 60, "slow requests")
        order: list[int] = []
        leave = asyncio.Event()

        async def request(number: int) -> None:
            async with limiter:
                order.append(number)
                await leave.wait()

        tasks = [asyncio.create_task(request(number)) for number in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(TooManyRequests, match=r"^1 slow requests are in flight and 2 wait$"):
            await limiter.__aenter__()
        tasks[1].cancel()
        await asyncio.wait([tasks[1]])
        assert order == [0]
        leave.set()
        await asyncio.gather(tasks[0], tasks[2])
        assert order == [0, 2]
        async with limiter:
            pass

    asyncio.run(scenario())


def test_a_request_waits_for_a_bounded_time() -> None:
    async def scenario() -> None:
        limiter = WaitingLimiter(1, 1, 0.01, "slow requests")
        async with limiter:
            with pytest.raises(TooManyRequests, match=r"^1 slow requests were in flight for 0.01 seconds, which is"):
                await limiter.__aenter__()

    asyncio.run(scenario())
