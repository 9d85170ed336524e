import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from service.responses import RETRY_AFTER_SECONDS
from service.server.load_shedding import A_TICK, RATE, TICK_SECONDS, Refusals


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

    def hold(self) -> None:
        """Remember it."""
        assert not self.held
        self.held = True

    def refuse(self) -> None:
        """Remember the order."""
        self.sent.append(self)


@pytest.fixture
def loop() -> Loop:
    Client.sent = []
    return Loop()


@pytest.fixture
def refusals(loop: Loop) -> Refusals:
    return Refusals(cast("asyncio.AbstractEventLoop", loop))


def refuse(refusals: Refusals, count: int) -> list[Client]:
    clients = [Client() for _ in range(count)]
    for client in clients:
        refusals.add(client)
    return clients


def test_a_seconds_worth_is_refused_at_once_and_the_rest_in_turn(refusals: Refusals, loop: Loop) -> None:
    clients = refuse(refusals, RATE + A_TICK + 2)
    assert Client.sent == clients[:RATE]
    assert [client.held for client in clients] == [False] * RATE + [True] * (A_TICK + 2)
    loop.tick()
    assert Client.sent == clients[: RATE + A_TICK]
    late = refuse(refusals, 1)
    assert Client.sent == clients[: RATE + A_TICK]
    loop.tick()
    assert Client.sent == clients + late


def test_clients_that_ask_again_at_once_get_no_more_than_the_rate(refusals: Refusals, loop: Loop) -> None:
    waiting = RATE // 2
    refuse(refusals, RATE + waiting)
    for tick in range(1, 1001):
        loop.tick()
        assert len(Client.sent) == RATE + tick * A_TICK
        refuse(refusals, A_TICK)
    assert len(Client.sent) == RATE + RATE * TICK_SECONDS * 1000


@pytest.mark.parametrize("arriving", [0, 40])
def test_nobody_waits_longer_than_it_is_asked_to_wait_after_it(refusals: Refusals, loop: Loop, arriving: int) -> None:
    refuse(refusals, RATE)
    clients, ticks = refuse(refusals, 10 * RATE), round(RETRY_AFTER_SECONDS / TICK_SECONDS)
    for tick in range(1, ticks + 1):
        refuse(refusals, arriving)
        loop.tick()
        assert len(Client.sent) - RATE == pytest.approx(len(clients) * tick / ticks, rel=0.05)
    assert Client.sent[RATE : RATE + len(clients)] == clients


def test_once_nobody_comes_the_clock_stops_when_all_is_as_at_the_start(refusals: Refusals, loop: Loop) -> None:
    refuse(refusals, A_TICK + 1)
    loop.tick()
    loop.tick()
    assert loop.later == []
    assert not any(client.held for client in refuse(refusals, RATE))
    assert refuse(refusals, 1)[0].held


def test_at_the_end_nobody_is_left_waiting(refusals: Refusals) -> None:
    clients = refuse(refusals, 2 * RATE)
    refusals.end()
    assert Client.sent == clients
