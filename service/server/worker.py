"""gunicorn's asgi worker, with the service's connections, acceptors and shutdown.

- A stop signal that arrives while a worker starts is not lost. Until the worker has handlers of its own, those of the
  arbiter receive its signals, and uvloop does not see a signal that arrived before its loop ran.
- At a stop, an idle keep-alive connection has DRAIN_SECONDS for one more request, whose response says
  `Connection: close`; then it is closed. gunicorn would wait for idle connections as for requests in flight.
- When the whole service stops, no connection is reset: a worker goes on accepting until every handshake that has begun
  has ended, while handshake_filter.py lets no new one begin. A worker that ends alone leaves the socket to the others.
- When the arbiter is killed, the workers stop at once in the same way. gunicorn's would notice within a second, and
  then cut the connections that are in use.
- Workers share new connections evenly: see acceptor.py.
- Responses that clients do not read are bounded: see send_budget.py.

tests/system/http holds this against real sockets, tests/service/server/test_worker.py against a fake transport.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from queue import SimpleQueue
from types import FrameType
from typing import Any

from flask import Flask

from service.server.acceptor import Acceptor, ConnectionCounts, Tls
from service.server.asgi import Application
from service.server.connection import Connection
from service.server.gunicorn_compat import EventLoopWorker, ssl_context
from service.server.handshake_filter import refuse_handshakes
from service.server.load_shedding import RejectionThrottle
from service.server.send_budget import SendBudget
from service.server.service_state import ServiceState

log = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
HEARTBEAT_SECONDS = 1.0
DRAIN_SECONDS = 1.0
"""How long an idle connection is kept at a stop: a request may be on its way."""
HANDSHAKE_SECONDS = 0.2
"""How long connections are accepted at a stop: longer than a round trip, after which a handshake has ended."""
POLL_SECONDS = 0.02
KILL_SECONDS = 5
"""After the graceful timeout, a worker without an arbiter ends itself, even if a thread does not end."""


class DigitsWorker(EventLoopWorker):
    """Serves one Flask application in one event loop."""

    app_factory: Callable[[], Flask]
    inherited_signals: "SimpleQueue[int]"
    slot: int
    counts: ConnectionCounts
    service_state: ServiceState

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.connections: set[Connection] = set()
        self.acceptors: list[Acceptor] = []
        self._stop_event = asyncio.Event()
        self._is_orphan = False

    def load_wsgi(self) -> None:
        """Create the application."""
        self.asgi = Application(self.app_factory())

    def init_signals(self) -> None:
        """Handle stop signals before the event loop runs, those in the copied queue of the arbiter too."""
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        super().init_signals()
        for number in STOP_SIGNALS:
            signal.signal(number, self._stop_before_start)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        while not self.inherited_signals.empty():
            if self.inherited_signals.get() in STOP_SIGNALS:
                self.alive = False

    def _stop_before_start(self, _: int, __: FrameType | None) -> None:
        self.alive = False

    def handle_exit_signal(self) -> None:
        """SIGTERM: report not ready from now on; finish the requests in flight."""
        super().handle_exit_signal()
        self.asgi.context.drain()
        self._stop_event.set()

    def handle_quit_signal(self) -> None:
        """SIGQUIT, SIGINT: stop at once."""
        super().handle_quit_signal()
        self._stop_event.set()

    async def serve(self) -> None:
        """Accept connections until the worker is to stop, then drain them."""
        self.handle_signals_in_loop()
        self._watch_arbiter()
        settings = self.asgi.context.settings
        self.rejections = RejectionThrottle(self.loop)
        self.send_budget = SendBudget(
            self.loop, settings.send_timeout_seconds, self.asgi.context.metrics.response_aborted
        )
        self.counts.register(self.slot)
        context = ssl_context(self.cfg)
        tls = Tls(context, settings.receive_timeout_seconds) if context else None
        for listener in self.sockets:
            self.acceptors.append(Acceptor(listener.sock, self.counts, self.slot, lambda: Connection(self), tls))
        heartbeat = self.loop.create_task(self._beat())
        await self._stop_event.wait()
        await self._drain()
        await self.wait_for_connections()
        heartbeat.cancel()
        if not self.is_quick_shutdown:
            self.asgi.context.close()

    async def _beat(self) -> None:
        """Show the arbiter that the worker runs, during the drain too; notice what no signal announces."""
        while True:
            self.notify()
            if self.ppid != os.getppid():
                self._stop_as_orphan()
            if not self.alive and not self._stop_event.is_set():  # stopped before the loop ran, or by max_requests
                self.handle_exit_signal()
            await asyncio.sleep(HEARTBEAT_SECONDS)

    def _watch_arbiter(self) -> None:
        """Be called when the arbiter ends; where the system has no pidfd, the heartbeat notices it later."""
        try:
            arbiter = os.pidfd_open(self.ppid)
        except (AttributeError, OSError):
            return
        self.loop.add_reader(arbiter, self._arbiter_ended, arbiter)

    def _arbiter_ended(self, arbiter: int) -> None:
        self.loop.remove_reader(arbiter)
        os.close(arbiter)
        self._stop_as_orphan()

    def _stop_as_orphan(self) -> None:
        """Stop with the whole service, whose arbiter has ended."""
        if self._is_orphan:
            return
        self._is_orphan = True
        log.warning("the arbiter has ended: the worker finishes the requests in flight, and stops")
        signal.alarm(self.cfg.graceful_timeout + KILL_SECONDS)
        self.handle_exit_signal()

    def _is_service_stopping(self) -> bool:
        return self.service_state.is_stopping or (self._is_orphan and not self.service_state.shares_sockets)

    async def _drain(self) -> None:
        idle_until = self.loop.time() + min(DRAIN_SECONDS, self.cfg.graceful_timeout / 2)
        self.counts.unregister(self.slot)
        await self._accept_last_connections()
        for acceptor in self.acceptors:
            acceptor.close(accept_queued=not self.is_quick_shutdown)
        self.rejections.flush()
        opening = {task for acceptor in self.acceptors for task in acceptor.opening}
        if opening and not self.is_quick_shutdown:
            await asyncio.wait(opening, timeout=DRAIN_SECONDS)
        # No event says that the last connection has ended.
        while self.connections and self.loop.time() < idle_until and not self.is_quick_shutdown:  # noqa: ASYNC110
            await asyncio.sleep(POLL_SECONDS)
        for connection in tuple(self.connections):
            connection.close_if_idle()

    async def _accept_last_connections(self) -> None:
        """Accept until every handshake has ended that the service has begun.

        The other workers do so too, and each closes its copy of the sockets when it likes. A worker that ends alone
        accepts only what the others leave, since it is not registered any more. The arbiter may report the stop of the
        service after a signal to the whole process group has ended the worker.
        """
        filtered = False
        until = self.loop.time() + HANDSHAKE_SECONDS
        while self.loop.time() < until and not self.is_quick_shutdown:
            if not filtered and self._is_service_stopping():
                filtered = True
                for listener in self.sockets:
                    refuse_handshakes(listener.sock)
            await asyncio.sleep(POLL_SECONDS)
