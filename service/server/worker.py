"""gunicorn's asgi worker, with what a server in the open needs besides; service/server/connection.py is the other half.

- A stop that is asked for while a worker starts is not lost. Until it has handlers of its own, the arbiter's take its
  signals, and uvloop sees none that came before it ran.
- At a stop, a kept-alive connection has a second for one more request, whose answer says `Connection: close`; if none
  comes it is closed. gunicorn would wait for the clients of such connections as for requests in flight.
- Workers share connections out evenly, as service/server/acceptor.py says.

It builds on what gunicorn does not promise to keep, so gunicorn's version is pinned, and tests/system/test_http.py
holds all of this against real sockets.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from queue import SimpleQueue
from types import FrameType
from typing import Any

from flask import Flask
from gunicorn.asgi.lifespan import LifespanManager
from gunicorn.asgi.protocol import ASGIProtocol
from gunicorn.workers.gasgi import ASGIWorker

from service.server.acceptor import Acceptor, ConnectionCounts
from service.server.asgi import Application
from service.server.connection import Connection
from service.server.load_shedding import RejectionThrottle

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
HEARTBEAT_SECONDS = 1.0
DRAIN_SECONDS = 1.0
"""How long an idle connection is kept at a stop: a request may be on its way."""


class DigitsWorker(ASGIWorker):  # type: ignore[misc]
    """Serves one Flask application in one event loop."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.connections: set[Connection] = set()
        self.app_factory: Callable[[], Flask]
        self.inherited_signals: SimpleQueue[int]
        self.slot: int
        self.counts: ConnectionCounts
        self._stop_event = asyncio.Event()

    def load_wsgi(self) -> None:
        """Make the application, and put the fast door before it."""
        self.asgi = Application(self.app_factory())
        ASGIProtocol._check_h1c_protocol_available()  # noqa: SLF001 - asked of a subclass, it forgets half of the answer

    def init_signals(self) -> None:
        """Take signals, those to end by the loop only once it runs; one that the arbiter's handler took is not lost."""
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
        """SIGTERM: not ready from now on; what is in flight is finished."""
        super().handle_exit_signal()
        self.asgi.context.drain()
        self._stop_event.set()

    def handle_quit_signal(self) -> None:
        """SIGQUIT, SIGINT: at once."""
        super().handle_quit_signal()
        self._stop_event.set()

    async def _serve(self) -> None:
        super().init_signals()
        self.rejections = RejectionThrottle(self.loop)
        self.lifespan = LifespanManager(self.asgi, self.log, self.state)
        await self.lifespan.startup()
        self.counts.register(self.slot)
        self.acceptors = [
            Acceptor(listener.sock, self.counts, self.slot, lambda: Connection(self)) for listener in self.sockets
        ]
        while self.alive and self.ppid == os.getppid():
            self.notify()
            try:
                await asyncio.wait_for(self._stop_event.wait(), HEARTBEAT_SECONDS)
            except TimeoutError:
                continue
        await self._drain()
        await self._shutdown()

    async def _drain(self) -> None:
        for door in self.acceptors:
            door.close()
        self.counts.unregister(self.slot)
        self.rejections.flush()
        if self.connections and not self._quick_shutdown:
            await asyncio.sleep(DRAIN_SECONDS)
        for connection in tuple(self.connections):
            connection.close_if_idle()
