import asyncio
import errno
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing

import pytest

from service.server.acceptor import MAX_FRUITLESS_DEFERRALS, NO_WORKER, Acceptor, ConnectionCounts


class Listener(socket.socket):
    """A listening socket, which can be made to fail."""

    failures = 0

    def accept(self) -> tuple[socket.socket, object]:
        """Fail, if it is to."""
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as opened:
        opened.bind(("127.0.0.1", 0))
        opened.listen(512)
        yield opened


class House:
    """Workers of one event loop, each with its door, and clients that come."""

    def __init__(self, listener: socket.socket, counts: ConnectionCounts) -> None:
        self.counts, self._listener = counts, listener
        self._arrived, self._left = asyncio.Semaphore(0), asyncio.Semaphore(0)
        self._clients: list[socket.socket] = []

    def door(self, slot: int, listener: socket.socket | None = None) -> Acceptor:
        """A worker begins."""
        self.counts.register(slot)
        return Acceptor(listener or self._listener.dup(), self.counts, slot, lambda: Guest(self._arrived, self._left))

    async def come(self, count: int) -> None:
        """So many clients connect, and are let in."""
        for _ in range(count):
            self._clients.append(socket.create_connection(self._listener.getsockname()))
        for _ in range(count):
            await asyncio.wait_for(self._arrived.acquire(), 20)

    async def leave(self) -> None:
        """The clients go."""
        for client in self._clients:
            client.close()
        for _ in self._clients:
            await asyncio.wait_for(self._left.acquire(), 20)


class Guest(asyncio.Protocol):
    def __init__(self, arrived: asyncio.Semaphore, left: asyncio.Semaphore) -> None:
        self._arrived, self._left = arrived, left

    def connection_made(self, _: asyncio.BaseTransport) -> None:
        """Say so."""
        self._arrived.release()

    def connection_lost(self, _: Exception | None) -> None:
        """Say so."""
        self._left.release()


def live(listener: socket.socket, counts: ConnectionCounts, story: Callable[[House], Awaitable[None]]) -> None:
    async def told() -> None:
        house = House(listener, counts)
        try:
            await story(house)
        finally:
            await house.leave()

    asyncio.run(told())


def test_two_workers_share_out_what_comes(listener: Listener) -> None:
    async def story(house: House) -> None:
        doors = house.door(0), house.door(1)
        await house.come(20)
        counts = house.counts.get(0), house.counts.get(1)
        assert sum(counts) == 20
        assert abs(counts[0] - counts[1]) <= 4
        for door in doors:
            door.close()

    live(listener, ConnectionCounts(), story)


def test_who_has_fewer_gets_all_until_it_has_as_many(listener: Listener) -> None:
    async def story(house: House) -> None:
        doors = house.door(0), house.door(1)
        house.counts.add(0, 10)
        for _ in range(10):
            await house.come(1)
        assert (house.counts.get(0), house.counts.get(1)) == (10, 10)
        for door in doors:
            door.close()

    live(listener, ConnectionCounts(), story)


@pytest.mark.parametrize("count", [1, 100])
def test_what_another_worker_does_not_take_is_taken_after_all(listener: Listener, count: int) -> None:
    async def story(house: House) -> None:
        house.counts.register(1)  # and does nothing
        door = house.door(0)
        house.counts.add(0, 50)
        await house.come(count)
        assert (house.counts.get(0), house.counts.get(1)) == (50 + count, 0)
        door.close()

    live(listener, ConnectionCounts(), story)


def test_a_worker_waits_only_so_often(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = []

    class Watched(Acceptor):
        def _pause(self, seconds: float, then: Callable[[], None]) -> None:
            waits.append(seconds)
            super()._pause(seconds, then)

    async def story(house: House) -> None:
        monkeypatch.setattr("tests.service.server.test_acceptor.Acceptor", Watched)
        house.counts.register(1)  # and does nothing
        door = house.door(0)
        house.counts.add(0, 1)
        began = asyncio.get_running_loop().time()
        for _ in range(10 * MAX_FRUITLESS_DEFERRALS):
            await house.come(1)
        spent = asyncio.get_running_loop().time() - began
        assert MAX_FRUITLESS_DEFERRALS <= len(waits) <= MAX_FRUITLESS_DEFERRALS * (1 + spent) + 1
        door.close()

    live(listener, ConnectionCounts(), story)


def test_nobody_waits_for_a_worker_that_is_gone(listener: Listener) -> None:
    async def story(house: House) -> None:
        gone, door = house.door(1), house.door(0)
        gone.close()
        house.counts.unregister(1)
        assert (house.counts.get(1), house.counts.minimum()) == (NO_WORKER, 0)
        await house.come(3)
        assert (house.counts.get(0), house.counts.minimum()) == (3, 3)
        door.close()

    live(listener, ConnectionCounts(), story)


def test_a_connection_that_cannot_be_taken_now_is_taken_later(
    listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(house: House) -> None:
        listener.failures = 2
        house.door(0, listener)
        await house.come(1)

    with caplog.at_level(logging.WARNING, "service.server.acceptor"):
        live(listener, ConnectionCounts(), story)
    assert caplog.messages == ["no connection can be taken: [Errno 24] Too many open files"] * 2


def test_other_processes_see_the_counts() -> None:
    counts = ConnectionCounts()
    counts.register(3)
    read, write = os.pipe()
    if not (child := os.fork()):
        counts.add(3, 7)
        os.write(write, str(counts.minimum()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    with closing(os.fdopen(read)) as pipe:
        os.close(write)
        assert pipe.read() == "7"
    assert counts.get(3) == 7
