"""gunicorn's asgi worker, with the service's connections, acceptors and shutdown.

- A stop signal that arrives while a worker starts is not lost. Until the worker has handlers of its own, those of the
  arbiter receive its signals, and uvloop does not see a signal that arrived before its loop ran.
- At a stop, an idle keep-alive connection has DRAIN_SECONDS for one more request, whose response says
  `Connection: close`; then it is closed. gunicorn would wait for idle connections as for requests in flight.
- Workers share new connections evenly: see acceptor.py.

tests/system/http holds this against real sockets, tests/service/server/test_worker.py against a fake transport.
"""

import asyncio
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
from service.server.load_shedding import RejectionThrottle

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
HEARTBEAT_SECONDS = 1.0
DRAIN_SECONDS = 1.0
"""How long an idle connection is kept at a stop: a request may be on its way."""


class DigitsWorker(EventLoopWorker):
    """Serves one Flask application in one event loop."""

    app_factory: Callable[[], Flask]
    inherited_signals: "SimpleQueue[int]"
    slot: int
    counts: ConnectionCounts

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.connections: set[Connection] = set()
        self.acceptors: list[Acceptor] = []
        self._stop_event = asyncio.Event()

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
        self.rejections = RejectionThrottle(self.loop)
        self.counts.register(self.slot)
        context = ssl_context(self.cfg)
        tls = Tls(context, self.asgi.context.settings.receive_timeout_seconds) if context else None
        for listener in self.sockets:
            self.acceptors.append(Acceptor(listener.sock, self.counts, self.slot, lambda: Connection(self), tls))
        while self.alive and self.ppid == os.getppid():
            self.notify()
            try:
                await asyncio.wait_for(self._stop_event.wait(), HEARTBEAT_SECONDS)
            except TimeoutError:
                continue
        await self._drain()
        await self.wait_for_connections()
        if not self.is_quick_shutdown:
            self.asgi.context.close()

    async def _drain(self) -> None:
        for acceptor in self.acceptors:
            acceptor.close()
        self.counts.unregister(self.slot)
        self.rejections.flush()
        opening = {task for acceptor in self.acceptors for task in acceptor.opening}
        if opening and not self.is_quick_shutdown:
            await asyncio.wait(opening, timeout=DRAIN_SECONDS)
        if self.connections and not self.is_quick_shutdown:
            await asyncio.sleep(DRAIN_SECONDS)
        for connection in tuple(self.connections):
            connection.close_if_idle()
