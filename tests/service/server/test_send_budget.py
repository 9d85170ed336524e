"""Unread responses: with a fake event loop, whose time the test controls."""

from collections.abc import Callable
from typing import Any, cast

import pytest

from service.server.send_budget import SendBudget

MEBIBYTE = 1 << 20


class FakeLoop:
    """Time and timers of an event loop."""

    def __init__(self) -> None:
        self.now = 100.0
        self.due: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        self.due.append((self.now + seconds, callback))

    def advance(self, seconds: float) -> None:
        """Let time pass, and call what is due."""
        end = self.now + seconds
        while self.due and self.due[0][0] <= end:
            self.now, callback = self.due.pop(0)
            callback()
        self.now = end


class FakeSender:
    """A connection with unsent bytes; it records whether it was aborted."""

    def __init__(self, unsent_bytes: int = 1) -> None:
        self.unsent_bytes, self.aborted = unsent_bytes, 0

    def abort(self) -> None:
        self.aborted += 1


@pytest.fixture
def loop() -> FakeLoop:
    return FakeLoop()


@pytest.fixture
def reasons() -> list[str]:
    return []


@pytest.fixture
def budget(loop: FakeLoop, reasons: list[str]) -> SendBudget:
    return SendBudget(cast("Any", loop), 30, reasons.append)


def test_a_response_that_is_not_read_in_time_is_aborted_once(
    loop: FakeLoop, budget: SendBudget, reasons: list[str]
) -> None:
    sender = FakeSender()
    budget.register(sender)
    loop.advance(29.9)
    assert sender.aborted == 0
    loop.advance(1.1)
    assert (sender.aborted, reasons) == (1, ["timeout"])
    loop.advance(100)
    assert sender.aborted == 1
    assert loop.due == [], "nothing waits, and so nothing ticks"


def test_a_response_that_is_read_is_not_aborted(loop: FakeLoop, budget: SendBudget, reasons: list[str]) -> None:
    sender = FakeSender()
    budget.register(sender)
    loop.advance(29)
    budget.release(sender)
    budget.release(sender)
    loop.advance(100)
    budget.register(sender)
    loop.advance(29)
    assert (sender.aborted, reasons) == (0, [])


def test_a_response_that_is_registered_again_has_no_more_time(loop: FakeLoop, budget: SendBudget) -> None:
    sender = FakeSender()
    budget.register(sender)
    loop.advance(29)
    budget.register(sender)
    loop.advance(2)
    assert sender.aborted == 1


def test_over_64_mebibytes_the_oldest_responses_are_aborted(budget: SendBudget, reasons: list[str]) -> None:
    senders = [FakeSender(20 * MEBIBYTE) for _ in range(3)]
    for sender in senders:
        budget.register(sender)
    assert reasons == []
    newest = FakeSender(30 * MEBIBYTE)
    budget.register(newest)
    assert [sender.aborted for sender in (*senders, newest)] == [1, 1, 0, 0]
    assert reasons == ["memory", "memory"]


def test_exactly_64_mebibytes_are_allowed(budget: SendBudget, reasons: list[str]) -> None:
    for _ in range(2):
        budget.register(FakeSender(32 * MEBIBYTE))
    assert reasons == []


def test_a_single_response_may_be_larger_than_the_limit(budget: SendBudget) -> None:
    small, large = FakeSender(), FakeSender(100 * MEBIBYTE)
    budget.register(small)
    budget.register(large)
    assert (small.aborted, large.aborted) == (1, 0)


def test_what_clients_have_read_meanwhile_does_not_count(budget: SendBudget, reasons: list[str]) -> None:
    reading = FakeSender(60 * MEBIBYTE)
    budget.register(reading)
    reading.unsent_bytes = 10 * MEBIBYTE
    budget.register(FakeSender(50 * MEBIBYTE))
    assert reasons == []


def test_later_responses_have_their_own_time(loop: FakeLoop, budget: SendBudget) -> None:
    first, second = FakeSender(), FakeSender()
    budget.register(first)
    loop.advance(20)
    budget.register(second)
    loop.advance(11)
    assert (first.aborted, second.aborted) == (1, 0)
    loop.advance(20)
    assert second.aborted == 1
