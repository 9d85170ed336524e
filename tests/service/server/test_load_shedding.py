"""The rate of rejections, with an event loop whose time the test controls."""

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from service.responses import RETRY_AFTER_SECONDS
from service.server.load_shedding import RejectionThrottle

RATE, PER_TICK = 500, 5
"""Rejections at once and a second, and in each tick of 10 ms."""


class FakeLoop:
    """An event loop with one timer."""

    def __init__(self) -> None:
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        self.timers.append((seconds, callback))

    def tick(self) -> None:
        """Call the timer, of which there is one."""
        ((seconds, callback),) = self.timers
        assert seconds == 0.01
        self.timers.clear()
        callback()


class Connection:
    """Records when it is paused and rejected."""

    rejected: list["Connection"]

    def __init__(self) -> None:
        self.paused = False

    def pause_reading(self) -> None:
        assert not self.paused
        self.paused = True

    def reject(self) -> None:
        self.rejected.append(self)


@pytest.fixture
def loop() -> FakeLoop:
    Connection.rejected = []
    return FakeLoop()


@pytest.fixture
def throttle(loop: FakeLoop) -> RejectionThrottle:
    return RejectionThrottle(cast("asyncio.AbstractEventLoop", loop))


def submit(throttle: RejectionThrottle, count: int) -> list[Connection]:
    connections = [Connection() for _ in range(count)]
    for connection in connections:
        throttle.submit(connection)
    return connections


def test_rejects_as_many_as_a_second_allows_at_once_and_the_rest_in_order(
    throttle: RejectionThrottle, loop: FakeLoop
) -> None:
    connections = submit(throttle, RATE + PER_TICK + 2)
    assert Connection.rejected == connections[:RATE]
    assert [connection.paused for connection in connections] == [False] * RATE + [True] * (PER_TICK + 2)
    loop.tick()
    assert Connection.rejected == connections[: RATE + PER_TICK]
    late = submit(throttle, 1)
    assert Connection.rejected == connections[: RATE + PER_TICK]
    loop.tick()
    assert Connection.rejected == connections + late


def test_clients_that_retry_at_once_get_no_more_than_the_rate(throttle: RejectionThrottle, loop: FakeLoop) -> None:
    submit(throttle, RATE + RATE // 2)
    for tick in range(1, 1001):
        loop.tick()
        assert len(Connection.rejected) == RATE + tick * PER_TICK
        submit(throttle, PER_TICK)
    assert len(Connection.rejected) == 11 * RATE  # ten seconds


@pytest.mark.parametrize("arriving", [0, 40])
def test_no_connection_waits_longer_than_its_retry_after(
    throttle: RejectionThrottle, loop: FakeLoop, arriving: int
) -> None:
    submit(throttle, RATE)
    connections, ticks = submit(throttle, 10 * RATE), 100 * RETRY_AFTER_SECONDS
    for tick in range(1, ticks + 1):
        submit(throttle, arriving)
        loop.tick()
        assert len(Connection.rejected) - RATE == pytest.approx(len(connections) * tick / ticks, rel=0.05)
    assert Connection.rejected[RATE : RATE + len(connections)] == connections


def test_the_rate_is_normal_again_after_a_crowd(throttle: RejectionThrottle, loop: FakeLoop) -> None:
    submit(throttle, 20 * RATE)
    while loop.timers:
        loop.tick()
    assert len(Connection.rejected) == 20 * RATE
    submit(throttle, RATE + 10 * PER_TICK)
    loop.tick()
    assert len(Connection.rejected) == 20 * RATE + RATE + PER_TICK


def test_the_timer_stops_when_all_tokens_are_there_again(throttle: RejectionThrottle, loop: FakeLoop) -> None:
    submit(throttle, PER_TICK + 1)
    loop.tick()
    loop.tick()
    assert loop.timers == []
    assert not any(connection.paused for connection in submit(throttle, RATE))
    assert submit(throttle, 1)[0].paused


def test_flush_rejects_all_that_wait(throttle: RejectionThrottle) -> None:
    connections = submit(throttle, 2 * RATE)
    throttle.flush()
    assert Connection.rejected == connections
