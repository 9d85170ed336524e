"""The life of a worker, with gunicorn's own base class, fake sockets and a fake application."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any, cast

import pytest
from gunicorn.config import Config
from gunicorn.glogging import Logger

from service.server import worker as worker_module
from service.server.acceptor import NO_WORKER, ConnectionCounts
from service.server.load_shedding import RejectionThrottle
from service.server.service_state import ServiceState
from service.server.worker import DigitsWorker
from service.settings import Settings

SLOT = 2


class FakeAcceptor:
    """Records what it was made of, and whether it is closed."""

    def __init__(self, listener: object, counts: object, slot: int, new_connection: object, tls: object) -> None:
        self.made_of, self.slot, self.tls = (listener, counts, new_connection), slot, tls
        self.opening: set[asyncio.Task[None]] = set()
        self.closed = False

    def close(self, *, accept_queued: bool) -> None:
        self.closed, self.accepted_queued = True, accept_queued


class FakeListener:
    """A listening socket of gunicorn's."""

    def __init__(self) -> None:
        self.sock = "a socket"


class FakeConnection:
    """A connection that is idle or not; an idle one is closed when told."""

    def __init__(self, worker: "DigitsWorker", *, idle: bool) -> None:
        self.worker, self.idle, self.closed_after = worker, idle, -1.0

    def close_if_idle(self) -> None:
        self.closed_after = cast("Any", self.worker).loop.slept
        if self.idle:
            self.worker.connections.discard(cast("Any", self))
            self.worker.nr_conns -= 1


class Recorder:
    """The context of an application."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.settings = Settings(receive_timeout_seconds=7, send_timeout_seconds=9)
        self.metrics = SimpleNamespace(response_aborted=lambda _: None)

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
    config.set("graceful_timeout", 10)
    made = DigitsWorker(1, os.getppid(), [FakeListener()], None, 30, config, Logger(config))
    made.slot, made.counts, made.inherited_signals = SLOT, ConnectionCounts(), SimpleQueue()
    made.service_state = ServiceState.create()
    made.asgi = cast("Any", SimpleNamespace(context=Recorder()))
    made.notify = lambda: None
    monkeypatch.setattr(worker_module, "Acceptor", FakeAcceptor)
    monkeypatch.setattr(worker_module, "refuse_handshakes", lambda _: None)
    yield made
    signal.alarm(0)
    made.tmp.close()


def calls(worker: DigitsWorker) -> list[str]:
    """What the worker called of the application's context."""
    return cast("Recorder", worker.asgi.context).calls


class FakeTimeLoop:
    """The running event loop, whose time passes only while something sleeps."""

    def __init__(self) -> None:
        self.slept, self._sleep = 0.0, asyncio.sleep

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio.get_running_loop(), name)

    def time(self) -> float:
        return self.slept

    async def sleep(self, seconds: float) -> None:
        if seconds != worker_module.HEARTBEAT_SECONDS:
            self.slept += seconds
        await self._sleep(0)


def serve(
    worker: DigitsWorker, monkeypatch: pytest.MonkeyPatch, *, stop: Callable[[], object], idle: list[bool] | None = None
) -> float:
    """Run `serve` with these connections; call `stop` as soon as it waits. Returns the seconds that the drain took."""
    loop = FakeTimeLoop()
    monkeypatch.setattr(asyncio, "sleep", loop.sleep)

    async def scenario() -> None:
        worker.loop = loop
        for each in idle or ():
            worker.connections.add(cast("Any", FakeConnection(worker, idle=each)))
            worker.nr_conns += 1
        loop.call_soon(lambda: loop.call_soon(stop))
        await worker.serve()

    asyncio.run(scenario())
    return loop.slept


def test_it_registers_then_leaves_new_connections_to_others_then_stops_accepting(
    worker: DigitsWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []

    def stop() -> None:
        counts.append(worker.counts.get(SLOT))
        worker.handle_exit_signal()

    monkeypatch.setattr(FakeAcceptor, "close", lambda *_, **__: counts.append(worker.counts.get(SLOT)))
    serve(worker, monkeypatch, stop=stop)
    (acceptor,) = cast("list[FakeAcceptor]", worker.acceptors)
    assert (acceptor.made_of[:2], acceptor.slot) == (("a socket", worker.counts), SLOT)
    assert acceptor.tls is None
    assert counts == [0, NO_WORKER]
    assert calls(worker) == ["drain", "close"]


def test_tls_has_the_receive_timeout_for_its_handshake(worker: DigitsWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    context = object()
    monkeypatch.setattr(worker_module, "ssl_context", lambda _: context)
    serve(worker, monkeypatch, stop=worker.handle_exit_signal)
    (acceptor,) = cast("list[FakeAcceptor]", worker.acceptors)
    assert acceptor.tls == (context, 7)


@pytest.mark.parametrize(
    ("is_stopping", "is_orphan", "shares_sockets", "filtered"),
    [
        (False, False, False, []),
        (True, False, False, ["a socket"]),
        (False, True, False, ["a socket"]),
        (False, True, True, []),
    ],
    ids=["it ends alone", "the service stops", "the arbiter was killed", "another arbiter accepts from the socket"],
)
def test_refuses_handshakes_if_nothing_else_accepts_from_the_socket(  # noqa: PLR0913
    worker: DigitsWorker,
    monkeypatch: pytest.MonkeyPatch,
    filtered: list[str],
    *,
    is_stopping: bool,
    is_orphan: bool,
    shares_sockets: bool,
) -> None:
    found: list[object] = []
    monkeypatch.setattr(worker_module, "refuse_handshakes", found.append)
    worker.service_state.is_stopping, worker.service_state.shares_sockets = is_stopping, shares_sockets
    worker.ppid = -1 if is_orphan else worker.ppid
    took = serve(worker, monkeypatch, stop=worker.handle_exit_signal)
    assert found == filtered
    (acceptor,) = cast("list[FakeAcceptor]", worker.acceptors)
    assert acceptor.closed
    assert acceptor.accepted_queued
    assert took == pytest.approx(0.2, abs=0.03), "the time that a handshake may take"


def test_idle_connections_have_a_second_at_a_stop(worker: DigitsWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    took = serve(worker, monkeypatch, stop=worker.handle_exit_signal, idle=[True, True])
    assert worker.connections == set()
    assert took == pytest.approx(1, abs=0.03)


def test_idle_connections_have_half_of_a_short_graceful_timeout(
    worker: DigitsWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.cfg.set("graceful_timeout", 1)
    assert serve(worker, monkeypatch, stop=worker.handle_exit_signal, idle=[True]) == pytest.approx(0.5, abs=0.03)


def test_a_connection_that_is_being_opened_at_a_stop_is_drained_too(
    worker: DigitsWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[FakeConnection] = []

    async def connect() -> None:
        opened.append(FakeConnection(worker, idle=True))
        worker.connections.add(cast("Any", opened[0]))
        worker.nr_conns += 1

    def start_opening(self: FakeAcceptor, **_: object) -> None:
        self.opening = {asyncio.get_running_loop().create_task(connect())}

    monkeypatch.setattr(FakeAcceptor, "close", start_opening)
    serve(worker, monkeypatch, stop=worker.handle_exit_signal)
    assert opened[0].closed_after == pytest.approx(1, abs=0.03)
    assert worker.connections == set()


def test_a_quick_stop_waits_for_nothing(worker: DigitsWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    assert serve(worker, monkeypatch, stop=worker.handle_quit_signal, idle=[False]) == 0
    (acceptor,) = cast("list[FakeAcceptor]", worker.acceptors)
    assert not acceptor.accepted_queued
    assert calls(worker) == []


def test_waiting_rejections_are_sent_at_a_stop(worker: DigitsWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed = []
    monkeypatch.setattr(RejectionThrottle, "flush", lambda _: flushed.append(True))
    serve(worker, monkeypatch, stop=worker.handle_exit_signal)
    assert flushed == [True]


def test_a_worker_whose_arbiter_has_ended_stops_as_at_sigterm(
    worker: DigitsWorker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    worker.ppid = -1
    serve(worker, monkeypatch, stop=lambda: None)
    assert not worker.alive
    assert calls(worker) == ["drain", "close"]
    assert caplog.messages.count("the arbiter has ended: the worker finishes the requests in flight, and stops") == 1
    assert 10 <= signal.alarm(0) <= 15, "it does not outlive the graceful timeout, whatever its threads do"


def test_the_end_of_the_arbiter_is_noticed_without_a_heartbeat(
    worker: DigitsWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    arbiter = subprocess.Popen(["sleep", "60"])
    worker.ppid = arbiter.pid
    monkeypatch.setattr(os, "getppid", lambda: arbiter.pid)
    try:
        serve(worker, monkeypatch, stop=arbiter.kill)
    finally:
        arbiter.kill()
        arbiter.wait()
    assert calls(worker) == ["drain", "close"]


def test_the_heartbeat_goes_on_during_the_drain(worker: DigitsWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    beats: list[float] = []
    worker.notify = lambda: beats.append(worker.loop.time())
    serve(worker, monkeypatch, stop=worker.handle_exit_signal, idle=[True])
    assert max(beats) > 0.5


def test_a_worker_that_gunicorn_stops_after_max_requests_is_drained(
    worker: DigitsWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(worker, monkeypatch, stop=lambda: setattr(worker, "alive", False))
    assert calls(worker) == ["drain", "close"]


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
