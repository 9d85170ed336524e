from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from service.errors import TooManyRequests
from service.prediction.concurrency import ConcurrencyLimiter


def test_as_many_as_there_are_places_and_no_more() -> None:
    places = ConcurrencyLimiter(2)
    places.acquire()
    with places:
        assert places.available == 0
        with pytest.raises(TooManyRequests, match=r"^2 requests are in flight, which is the limit$"):
            places.acquire()
    assert places.available == 1
    with pytest.raises(ZeroDivisionError), places:
        raise ZeroDivisionError
    places.release()
    assert places.available == 2


def test_threads_share_them() -> None:
    places, start = ConcurrencyLimiter(100), Barrier(16)

    def take() -> int:
        start.wait()
        taken = 0
        while True:
            try:
                places.acquire()
            except TooManyRequests:
                return taken
            taken += 1

    with ThreadPoolExecutor(16) as pool:
        assert sum(future.result() for future in [pool.submit(take) for _ in range(16)]) == 100
