"""Balanced accept: with a fake event loop, whose time the test controls, and once with real sockets."""

import asyncio
import errno
import logging
import os
import socket
import ssl
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing
from typing import Any, cast

import pytest

from service.server.acceptor import NO_WORKER, Acceptor, ConnectionCounts, Tls


class Timer:
    """A callback that the event loop calls at a time."""

    def __init__(self, time: float, callback: Callable[[], None]) -> None:
        self.time, self.callback, self.cancelled = time, callback, False

    def cancel(self) -> None:
        self.cancelled = True


class Opening:
    """A task that opens a connection; it has succeeded or failed under the test's control."""

    error: BaseException | None = None
    finish: Callable[[], None]

    def add_done_callback(self, callback: Callable[["Opening"], None]) -> None:
        self.finish = lambda: callback(self)

    def cancelled(self) -> bool:
        return False

    def exception(self) -> BaseException | None:
        return self.error


class FakeLoop:
    """The parts of an event loop that an acceptor uses."""

    def __init__(self) -> None:
        self.now = 0.0
        self.reader: Callable[[], None] | None = None
        self.timers: list[Timer] = []
        self.openings: list[Opening] = []
        self.tls: list[dict[str, object]] = []

    def time(self) -> float:
        return self.now

    def add_reader(self, _: object, callback: Callable[[], None]) -> None:
        self.reader = callback

    def remove_reader(self, _: object) -> None:
        self.reader = None

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        self.timers.append(Timer(self.now + seconds, callback))
        return self.timers[-1]

    async def connect_accepted_socket(self, factory: Callable[[], object], _: object, **tls: object) -> None:
        self.tls.append(tls)
        factory()

    def create_task(self, coroutine: Coroutine[Any, Any, None]) -> Opening:
        with pytest.raises(StopIteration):
            coroutine.send(None)
        self.openings.append(Opening())
        return self.openings[-1]

    def readable(self) -> None:
        """The listening socket has a connection queued."""
        if self.reader:
            self.reader()

    def advance(self, seconds: float) -> None:
        """Let time pass, and call what is due."""
        self.now += seconds
        due = [timer for timer in self.timers if timer.time <= self.now + 1e-9]
        self.timers = [timer for timer in self.timers if timer not in due]
        for timer in due:
            if not timer.cancelled:
                timer.callback()


class Accepted:
    """A socket that was accepted; it records how it was set up."""

    def __init__(self) -> None:
        self.timeout: float | None = None
        self.options: list[tuple[int, int, int]] = []

    def settimeout(self, seconds: float) -> None:
        self.timeout = seconds

    def setsockopt(self, *option: int) -> None:
        self.options.append(cast("tuple[int, int, int]", option))


class Listener:
    """A listening socket with a queue of connections, which can be made to fail."""

    def __init__(self) -> None:
        self.queue: deque[Accepted | OSError] = deque()
        self.closed = False

    def settimeout(self, _: float) -> None:
        """Accept it: the acceptor must not block."""

    def accept(self) -> tuple[Accepted, object]:
        if not self.queue:
            raise BlockingIOError
        queued = self.queue.popleft()
        if isinstance(queued, OSError):
            raise queued
        return queued, None

    def close(self) -> None:
        self.closed = True


class Setup:
    """An acceptor of slot 0, beside a worker of slot 1 that accepts nothing."""

    def __init__(self, loop: FakeLoop, own: int, other: int, tls: Tls | None = None) -> None:
        self.loop, self.listener, self.counts = loop, Listener(), ConnectionCounts()
        for slot, count in enumerate((own, other)):
            self.counts.register(slot)
            self.counts.add(slot, count)
        self.connections = 0
        self.acceptor = Acceptor(cast("Any", self.listener), self.counts, 0, self.connect, tls)

    def connect(self) -> asyncio.Protocol:
        self.connections += 1
        return asyncio.Protocol()

    def queue(self, count: int) -> list[Accepted]:
        """Queue so many connections, and tell the loop."""
        queued = [Accepted() for _ in range(count)]
        self.listener.queue.extend(queued)
        self.loop.readable()
        return queued

    def own(self) -> int:
        return self.counts.get(0)


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> FakeLoop:
    fake = FakeLoop()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: fake)
    return fake


@pytest.mark.parametrize(
    ("own", "other", "accepted"),
    [(0, 0, 1), (5, 5, 1), (5, 6, 1), (6, 5, 0), (17, 16, 1), (18, 16, 0), (170, 160, 1), (172, 160, 0)],
)
def test_accepts_unless_another_worker_has_a_sixteenth_less(
    loop: FakeLoop, own: int, other: int, accepted: int
) -> None:
    setup = Setup(loop, own, other)
    setup.queue(1)
    assert setup.own() - own == setup.connections == accepted


def test_accepts_all_that_are_queued_until_it_has_more_than_another(loop: FakeLoop) -> None:
    setup = Setup(loop, 0, 10)
    setup.queue(20)
    assert setup.own() == 11  # 11 - 11 // 16 > 10


def test_an_accepted_socket_does_not_block_and_does_not_delay_small_packets(loop: FakeLoop) -> None:
    context = ssl.create_default_context()
    setup = Setup(loop, 0, 10, Tls(context, 7))
    (accepted,) = setup.queue(1)
    assert accepted.timeout == 0
    assert accepted.options == [
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, 131_072),
    ]
    assert loop.tls == [{"ssl": context, "ssl_handshake_timeout": 7, "ssl_shutdown_timeout": 1.0}]


def test_defers_for_two_milliseconds_then_accepts_what_is_left(loop: FakeLoop) -> None:
    setup = Setup(loop, 50, 0)
    setup.queue(1)
    loop.advance(0.0019)
    assert (setup.own(), loop.reader) == (50, None)
    loop.advance(0.0002)
    assert setup.own() == 51
    assert loop.reader is not None


@pytest.mark.parametrize(("own", "accepted"), [(5, 4), (50, 4 + 3), (160, 4 + 10)])
def test_accepts_four_and_a_sixteenth_of_its_count_after_a_deferral(loop: FakeLoop, own: int, accepted: int) -> None:
    setup = Setup(loop, own, 0)
    setup.queue(100)
    loop.advance(0.002)
    assert setup.own() - own == accepted


def test_defers_twenty_times_a_second_in_vain_and_no_more(loop: FakeLoop) -> None:
    setup = Setup(loop, 50, 0)
    deferrals = 0
    for _ in range(100):
        before = setup.own()
        setup.queue(1)
        deferrals += setup.own() == before
        if setup.own() == before:
            loop.advance(0.002)
    assert deferrals == 20
    loop.advance(0.5)
    setup.queue(1)
    assert loop.reader is None, "half a second later there are tokens for ten more"


def test_a_deferral_that_another_worker_used_costs_no_token(loop: FakeLoop) -> None:
    setup = Setup(loop, 50, 0)
    for _ in range(100):
        setup.queue(1)
        assert loop.reader is None
        setup.listener.queue.clear()  # another worker has accepted it
        loop.advance(0.002)
    assert setup.own() == 50


def test_defers_to_no_worker_that_has_ended(loop: FakeLoop) -> None:
    setup = Setup(loop, 50, 0)
    setup.counts.unregister(1)
    assert (setup.counts.get(1), setup.counts.minimum()) == (NO_WORKER, 50)
    setup.queue(3)
    assert setup.own() == 53


def test_an_accept_that_fails_is_logged_and_repeated_after_a_tenth_of_a_second(
    loop: FakeLoop, caplog: pytest.LogCaptureFixture
) -> None:
    setup = Setup(loop, 0, 10)
    setup.listener.queue.append(OSError(errno.EMFILE, "Too many open files"))
    with caplog.at_level(logging.WARNING, "service.server.acceptor"):
        setup.queue(1)
    assert caplog.messages == ["cannot accept a connection: [Errno 24] Too many open files"]
    loop.advance(0.099)
    assert (loop.reader, setup.own()) == (None, 0)
    loop.advance(0.002)
    loop.readable()
    assert setup.own() == 1


@pytest.mark.parametrize("error", [BlockingIOError(), InterruptedError(), ConnectionAbortedError()])
def test_a_connection_that_is_gone_is_neither_logged_nor_waited_for(
    loop: FakeLoop, error: OSError, caplog: pytest.LogCaptureFixture
) -> None:
    setup = Setup(loop, 0, 10)
    setup.listener.queue.append(error)
    loop.readable()
    assert caplog.messages == []
    assert (loop.reader is not None, loop.timers) == (True, [])


def test_a_failed_handshake_is_counted_back(loop: FakeLoop) -> None:
    setup = Setup(loop, 0, 10)
    setup.queue(2)
    good, bad = loop.openings
    assert setup.acceptor.opening == cast("Any", {good, bad})
    bad.error = ConnectionResetError()
    good.finish()
    bad.finish()
    assert (setup.own(), setup.acceptor.opening) == (1, set())


@pytest.mark.parametrize("deferring", [False, True])
def test_a_closed_acceptor_accepts_nothing_more(loop: FakeLoop, *, deferring: bool) -> None:
    setup = Setup(loop, 50 if deferring else 0, 0)
    setup.queue(1 if deferring else 0)
    setup.acceptor.close()
    loop.advance(10)
    assert setup.listener.closed
    assert (loop.reader, setup.own()) == (None, 50 if deferring else 0)


@pytest.mark.parametrize("deferring", [False, True])
def test_accepts_the_queued_connections_before_it_closes(loop: FakeLoop, *, deferring: bool) -> None:
    setup = Setup(loop, 50 if deferring else 0, 0)
    setup.queue(1 if deferring else 0)
    setup.listener.queue.extend(Accepted() for _ in range(5))
    setup.acceptor.close(accept_queued=True)
    loop.advance(10)
    assert setup.connections == 5 + deferring
    assert setup.listener.closed
    assert loop.reader is None


def test_closes_even_if_queued_connections_cannot_be_accepted(loop: FakeLoop, caplog: pytest.LogCaptureFixture) -> None:
    setup = Setup(loop, 0, 0)
    setup.listener.queue.extend([Accepted(), OSError(errno.EMFILE, "Too many open files")])
    setup.acceptor.close(accept_queued=True)
    loop.advance(10)
    assert (setup.connections, setup.listener.closed, loop.reader) == (1, True, None)
    assert len(caplog.messages) == 1


def test_a_worker_that_is_not_registered_accepts_only_what_others_leave(loop: FakeLoop) -> None:
    setup = Setup(loop, 50, 60)
    setup.counts.unregister(0)
    setup.queue(3)
    assert setup.connections == 0
    loop.advance(0.002)
    assert setup.connections == 3
    assert setup.counts.get(0) == NO_WORKER, "connections of a worker without a count are not counted"


def test_workers_that_all_stop_accept_at_once(loop: FakeLoop) -> None:
    setup = Setup(loop, 50, 60)
    for slot in (0, 1):
        setup.counts.unregister(slot)
    setup.queue(3)
    assert setup.connections == 3


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


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        opened.listen(512)
        yield opened


def test_two_acceptors_share_real_connections_evenly(listening: socket.socket) -> None:
    class Client(asyncio.Protocol):
        def connection_made(self, _: asyncio.BaseTransport) -> None:
            arrived.release()

        def connection_lost(self, _: Exception | None) -> None:
            left.release()

    async def connect_twenty() -> tuple[int, int]:
        acceptors = []
        for slot in (0, 1):
            counts.register(slot)
            acceptors.append(Acceptor(listening.dup(), counts, slot, Client))
        clients = [socket.create_connection(listening.getsockname()) for _ in range(20)]
        for _ in clients:
            await asyncio.wait_for(arrived.acquire(), 20)
        for each in acceptors:
            each.close()
        for client in clients:
            client.close()
            await asyncio.wait_for(left.acquire(), 20)
        return counts.get(0), counts.get(1)

    counts, arrived, left = ConnectionCounts(), asyncio.Semaphore(0), asyncio.Semaphore(0)
    shares = asyncio.run(connect_twenty())
    assert sum(shares) == 20
    assert abs(shares[0] - shares[1]) <= 4
