"""The life of a worker, with gunicorn's own base class, fake sockets and a fake application."""

import asyncio
import os
import signal
from collections.abc import Iterator
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any, cast

import pytest
from gunicorn.config import Config
from gunicorn.glogging import Logger

from service.server import worker as worker_module
from service.server.acceptor import NO_WORKER, ConnectionCounts
from service.server.load_shedding import RejectionThrottle
from service.server.worker import DigitsWorker
from service.settings import Settings

SLOT = 2


class FakeAcceptor:
    """Records what it was made of, and whether it is closed."""

    def __init__(self, listener: object, counts: object, slot: int, new_connection: object, tls: object) -> None:
        self.made_of, self.slot, self.tls = (listener, counts, new_connection), slot, tls
        self.opening: set[asyncio.Task[None]] = set()
        self.closed = False

    def close(self) -> None:
        self.closed = True


class FakeConnection:
    """A connection that is idle or not; an idle one is closed when told."""

    def __init__(self, worker: "DigitsWorker", *, idle: bool) -> None:
        self.worker, self.idle, self.closed_after = worker, idle, -1.0

    def close_if_idle(self) -> None:
        self.closed_after = cast("Any", self.worker).slept
        if self.idle:
            self.worker.connections.discard(cast("Any", self))
            self.worker.nr_conns -= 1


class Recorder:
    """The context of an application."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.settings = Settings(receive_timeout_seconds=7)

    def drain(self) -> None:
        self.calls.append("drain")

    def close(self) -> None:
        self.calls.append("close")


@pytest.fixture(autouse=True)
def signal_handlers() -> Iterator[None]:
    """Put all handlers back."""
    numbers = [*DigitsWorker.SIGNALS, *worker_module.STOP_SIGNALS]
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[DigitsWorker]:
    """A worker whose event loop is the running one's, and that has not started."""
    config = Config()
    config.set("graceful_timeout", 1)
    listener = SimpleNamespace(sock="a socket")
    made = DigitsWorker(1, os.getppid(), [listener], None, 30, config, Logger(config))
    made.slot, made.counts, made.inherited_signals = SLOT, ConnectionCounts(), SimpleQueue()
    made.asgi = cast("Any", SimpleNamespace(context=Recorder()))
    made.notify = lambda: None
    monkeypatch.setattr(worker_module, "Acceptor", FakeAcceptor)
    yield made
    made.tmp.close()


def calls(worker: DigitsWorker) -> list[str]:
    """What the worker called of the application's context."""
    return cast("Recorder", worker.asgi.context).calls


def serve(worker: DigitsWorker, monkeypatch: pytest.MonkeyPatch, *, stop: str, idle: list[bool] | None = None) -> None:
    """Run `serve` with these connections; stop it by a method of the worker as soon as it waits."""
    sleep = asyncio.sleep
    setattr(worker, "slept", 0.0)  # noqa: B010

    async def fake_sleep(seconds: float) -> None:
        setattr(worker, "slept", getattr(worker, "slept") + seconds)  # noqa: B009, B010
        await sleep(0)

    async def scenario() -> None:
        worker.loop = asyncio.get_running_loop()
        for each in idle or ():
            worker.connections.add(cast("Any", FakeConnection(worker, idle=each)))
            worker.nr_conns += 1
        worker.loop.call_soon(lambda: worker.loop.call_soon(getattr(worker, stop)))
        monkeypatch.setattr(asyncio, "sleep", fake_sleep)
        await worker.serve()

    asyncio.run(scenario())


def test_it_registers_then_accepts_then_stops_accepting(worker: DigitsWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    registered = []
    monkeypatch.setattr(FakeAcceptor, "close", lambda _: registered.append(worker.counts.get(SLOT)))
    serve(worker, monkeypatch, stop="handle_exit_signal")
    (acceptor,) = cast("list[FakeAcceptor]", worker.acceptors)
    assert (acceptor.made_of[:2], acceptor.slot) == (("a socket", worker.counts), SLOT)
    assert acceptor.tls is None
    assert registered == [0], "it accepted as a registered worker"
    assert worker.counts.get(SLOT) == NO_WORKER
    assert calls(worker) == ["drain", "close"]


def test_tls_has_the_receive_timeout_for_its_handshake(worker: DigitsWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    context = object()
    monkeypatch.setattr(worker_module, "ssl_context", lambda _: context)
    serve(worker, monkeypatch, stop="handle_exit_signal")
    (acceptor,) = cast("list[FakeAcceptor]", worker.acceptors)
    assert acceptor.tls == (context, 7)


def test_idle_connections_have_a_second_at_a_stop(worker: DigitsWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(worker, monkeypatch, stop="handle_exit_signal", idle=[True, True])
    assert worker.connections == set()
    assert getattr(worker, "slept") == 1.0  # noqa: B009


def test_a_connection_that_is_being_opened_at_a_stop_is_drained_too(
    worker: DigitsWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[FakeConnection] = []

    async def connect() -> None:
        opened.append(FakeConnection(worker, idle=True))
        worker.connections.add(cast("Any", opened[0]))
        worker.nr_conns += 1

    def start_opening(self: FakeAcceptor) -> None:
        self.opening = {asyncio.get_running_loop().create_task(connect())}

    monkeypatch.setattr(FakeAcceptor, "close", start_opening)
    serve(worker, monkeypatch, stop="handle_exit_signal")
    assert opened[0].closed_after == 1.0
    assert worker.connections == set()


def test_a_quick_stop_waits_for_nothing(worker: DigitsWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(worker, monkeypatch, stop="handle_quit_signal", idle=[False])
    assert getattr(worker, "slept") == 0  # noqa: B009
    assert calls(worker) == []


def test_waiting_rejections_are_sent_at_a_stop(worker: DigitsWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed = []
    monkeypatch.setattr(RejectionThrottle, "flush", lambda _: flushed.append(True))
    serve(worker, monkeypatch, stop="handle_exit_signal")
    assert flushed == [True]


def test_a_worker_whose_arbiter_has_ended_stops(worker: DigitsWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    worker.ppid = -1
    serve(worker, monkeypatch, stop="notify")
    assert worker.counts.get(SLOT) == NO_WORKER


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_stop_signal_before_the_event_loop_runs_is_not_lost(worker: DigitsWorker, number: signal.Signals) -> None:
    async def start() -> None:
        worker.loop = asyncio.get_running_loop()
        worker.init_signals()
        assert worker.alive
        os.kill(os.getpid(), number)
        assert not worker.alive

    asyncio.run(start())


@pytest.mark.parametrize(("queued", "alive"), [([], True), ([signal.SIGTERM], False), ([signal.SIGCHLD], True)])
def test_a_stop_signal_that_the_arbiter_has_not_handled_stops_the_worker(
    worker: DigitsWorker, queued: list[int], *, alive: bool
) -> None:
    async def start() -> None:
        worker.loop = asyncio.get_running_loop()
        for number in queued:
            worker.inherited_signals.put(number)
        worker.init_signals()

    asyncio.run(start())
    assert worker.alive is alive
