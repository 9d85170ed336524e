import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from service.responses import RETRY_AFTER_SECONDS
from service.server.load_shedding import MAX_REJECTIONS_PER_SECOND, REJECTIONS_PER_TICK, TICK_SECONDS, RejectionThrottle


class Loop:
    """An event loop whose time passes when a test says so."""

    def __init__(self) -> None:
        self.later: list[tuple[float, Callable[[], None]]] = []

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        """Remember it."""
        self.later.append((seconds, callback))

    def tick(self) -> None:
        """Do the only thing that is to be done later."""
        ((seconds, callback),) = self.later
        assert seconds == TICK_SECONDS
        self.later.clear()
        callback()


class Client:
    """Somebody who is refused."""

    sent: list["Client"]

    def __init__(self) -> None:
        self.held = False

    def pause_reading(self) -> None:
        """Remember it."""
        assert not self.held
        self.held = True

    def reject(self) -> None:
        """Remember the order."""
        self.sent.append(self)


@pytest.fixture
def loop() -> Loop:
    Client.sent = []
    return Loop()


@pytest.fixture
def refusals(loop: Loop) -> RejectionThrottle:
    return RejectionThrottle(cast("asyncio.AbstractEventLoop", loop))


def refuse(refusals: RejectionThrottle, count: int) -> list[Client]:
    clients = [Client() for _ in range(count)]
    for client in clients:
        refusals.submit(client)
    return clients


def test_a_seconds_worth_is_refused_at_once_and_the_rest_in_turn(refusals: RejectionThrottle, loop: Loop) -> None:
    clients = refuse(refusals, MAX_REJECTIONS_PER_SECOND + REJECTIONS_PER_TICK + 2)
    assert Client.sent == clients[:MAX_REJECTIONS_PER_SECOND]
    assert [client.held for client in clients] == [False] * MAX_REJECTIONS_PER_SECOND + [True] * (
        REJECTIONS_PER_TICK + 2
    )
    loop.tick()
    assert Client.sent == clients[: MAX_REJECTIONS_PER_SECOND + REJECTIONS_PER_TICK]
    late = refuse(refusals, 1)
    assert Client.sent == clients[: MAX_REJECTIONS_PER_SECOND + REJECTIONS_PER_TICK]
    loop.tick()
    assert Client.sent == clients + late


def test_clients_that_ask_again_at_once_get_no_more_than_the_rate(refusals: RejectionThrottle, loop: Loop) -> None:
    waiting = MAX_REJECTIONS_PER_SECOND // 2
    refuse(refusals, MAX_REJECTIONS_PER_SECOND + waiting)
    for tick in range(1, 1001):
        loop.tick()
        assert len(Client.sent) == MAX_REJECTIONS_PER_SECOND + tick * REJECTIONS_PER_TICK
        refuse(refusals, REJECTIONS_PER_TICK)
    assert len(Client.sent) == MAX_REJECTIONS_PER_SECOND + MAX_REJECTIONS_PER_SECOND * TICK_SECONDS * 1000


@pytest.mark.parametrize("arriving", [0, 40])
def test_nobody_waits_longer_than_it_is_asked_to_wait_after_it(
    refusals: RejectionThrottle, loop: Loop, arriving: int
) -> None:
    refuse(refusals, MAX_REJECTIONS_PER_SECOND)
    clients, ticks = refuse(refusals, 10 * MAX_REJECTIONS_PER_SECOND), round(RETRY_AFTER_SECONDS / TICK_SECONDS)
    for tick in range(1, ticks + 1):
        refuse(refusals, arriving)
        loop.tick()
        assert len(Client.sent) - MAX_REJECTIONS_PER_SECOND == pytest.approx(len(clients) * tick / ticks, rel=0.05)
    assert Client.sent[MAX_REJECTIONS_PER_SECOND : MAX_REJECTIONS_PER_SECOND + len(clients)] == clients


def test_once_nobody_comes_the_clock_stops_when_all_is_as_at_the_start(refusals: RejectionThrottle, loop: Loop) -> None:
    refuse(refusals, REJECTIONS_PER_TICK + 1)
    loop.tick()
    loop.tick()
    assert loop.later == []
    assert not any(client.held for client in refuse(refusals, MAX_REJECTIONS_PER_SECOND))
    assert refuse(refusals, 1)[0].held


def test_at_the_end_nobody_is_left_waiting(refusals: RejectionThrottle) -> None:
    clients = refuse(refusals, 2 * MAX_REJECTIONS_PER_SECOND)
    refusals.flush()
    assert Client.sent == clients
