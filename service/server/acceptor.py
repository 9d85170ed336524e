"""Accepts connections so that the workers share them evenly.

A new connection wakes all workers; the first one accepts it, and those queued behind it. Of 16 connections one worker
may get 12, while the cores of the others are idle: with balancing, 16 connections get 1.15 times the responses. So the
workers show each other their counts in shared memory. A worker that has a sixteenth more than another one defers a new
connection for a moment, and accepts it only if it is still there.
"""

import asyncio
import logging
import mmap
import socket
import ssl
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

log = logging.getLogger(__name__)

SLOTS = 1024
NO_WORKER = 2**31 - 1
DEFER_SECONDS = 0.002
MAX_FRUITLESS_DEFERRALS = 20
"""A second: clients without keep-alive do not pay for the balancing."""
ACCEPT_AFTER_DEFERRAL = 4
"""Connections accepted after a fruitless deferral, plus 1/16 of the current count, so that bursts are not throttled."""
TLS_SHUTDOWN_SECONDS = 1.0
"""How long a closing TLS connection waits for the client's close_notify; many clients send none."""
MAX_NOT_SENT_BYTES = 128 << 10
"""What the kernel keeps of a response that the client does not read, of 4 MB otherwise: send_budget.py bounds the rest.
What is on its way to a client that reads does not count, so that the throughput stays the same."""
ACCEPT_BACKOFF_SECONDS = 0.1
"""How long no connection is accepted after an accept failed: for want of file descriptors, or of memory."""


class ConnectionCounts:
    """The number of connections of each worker, by slot, in memory that is shared with processes forked later."""

    def __init__(self) -> None:
        self._numbers = np.frombuffer(mmap.mmap(-1, 4 * SLOTS), np.int32)
        self._numbers[:] = NO_WORKER

    def minimum(self) -> int:
        """The smallest count of any worker; NO_WORKER if there is no worker."""
        return int(self._numbers.min())

    def get(self, slot: int) -> int:
        """The count of a slot's worker; NO_WORKER if there is none."""
        return int(self._numbers[slot])

    def add(self, slot: int, count: int) -> None:
        """Change the count of a slot's worker by `count`, unless it is not registered."""
        if self._numbers[slot] != NO_WORKER:
            self._numbers[slot] += count

    def register(self, slot: int) -> None:
        """Start counting for a slot's new worker."""
        self._numbers[slot] = 0

    def unregister(self, slot: int) -> None:
        """The slot's worker has ended, or leaves new connections to the others."""
        self._numbers[slot] = NO_WORKER


class Tls(NamedTuple):
    """How connections are encrypted."""

    context: ssl.SSLContext
    handshake_timeout: float
    """Seconds that a handshake may take."""

    def arguments(self) -> dict[str, Any]:
        """The arguments of `connect_accepted_socket`."""
        return {
            "ssl": self.context,
            "ssl_handshake_timeout": self.handshake_timeout,
            "ssl_shutdown_timeout": TLS_SHUTDOWN_SECONDS,
        }


class Acceptor:
    """Accepts connections from one listening socket, in the event loop of one worker."""

    def __init__(
        self,
        listener: socket.socket,
        counts: ConnectionCounts,
        slot: int,
        new_connection: Callable[[], asyncio.Protocol],
        tls: "Tls | None" = None,
    ) -> None:
        """Start accepting. Needs a running event loop.

        Args:
            listener: a listening socket.
            counts: shared by all workers.
            slot: the slot of this worker.
            new_connection: makes the protocol of an accepted connection.
            tls: encrypts the connections, unless None.
        """
        self._listener, self._counts, self._slot = listener, counts, slot
        self._new_connection = new_connection
        self._tls = tls.arguments() if tls else {}
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[object]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._deferrals_left, self._refilled_at = float(MAX_FRUITLESS_DEFERRALS), self._loop.time()
        self._has_failed = False
        """Whether the last attempt to accept a connection failed."""
        listener.settimeout(0)
        self._resume()

    def _resume(self) -> None:
        self._timer = None
        self._loop.add_reader(self._listener, self._accept_ready)

    def close(self, *, accept_queued: bool = False) -> None:
        """Accept no more connections, and close the socket; with `accept_queued`, after accepting those queued now."""
        self._stop_watching()
        while accept_queued and self._accept_one():
            pass
        self._stop_watching()  # an accept that failed has set a timer
        self._listener.close()

    def _stop_watching(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        self._loop.remove_reader(self._listener)

    @property
    def opening(self) -> "set[asyncio.Task[object]]":
        """The accepted connections whose protocol is not connected yet."""
        return set(self._opening)

    def _accept_ready(self) -> None:
        """Accept the queued connections, or defer them while another worker has fewer."""
        while not (self._is_overloaded() and self._may_defer()):
            if not self._accept_one():
                return
        self._pause(DEFER_SECONDS, self._accept_after_deferral)

    def _is_overloaded(self) -> bool:
        own = self._counts.get(self._slot)
        return own - own // 16 > self._counts.minimum()

    def _may_defer(self) -> bool:
        """Take a token of the bucket of fruitless deferrals."""
        now = self._loop.time()
        refill = MAX_FRUITLESS_DEFERRALS * (now - self._refilled_at)
        self._deferrals_left = min(self._deferrals_left + refill, MAX_FRUITLESS_DEFERRALS)
        self._refilled_at = now
        if self._deferrals_left < 1:
            return False
        self._deferrals_left -= 1
        return True

    def _accept_after_deferral(self) -> None:
        self._resume()
        if not self._accept_one():
            self._deferrals_left += 1  # the deferral was not fruitless: another worker accepted the connection
            return
        for _ in range(ACCEPT_AFTER_DEFERRAL - 1 + self._counts.get(self._slot) // 16):
            if not self._accept_one():
                return

    def _pause(self, seconds: float, then: Callable[[], None]) -> None:
        self._loop.remove_reader(self._listener)
        self._timer = self._loop.call_later(seconds, then)

    def _accept_one(self) -> bool:
        """Accept one connection; False: none is queued, or none can be accepted now."""
        try:
            accepted, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as error:
            if not self._has_failed:  # once, not at each attempt
                log.warning("cannot accept a connection: %s", error)
            self._has_failed = True
            self._pause(ACCEPT_BACKOFF_SECONDS, self._resume)
            return False
        self._has_failed = False
        accepted.settimeout(0)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, MAX_NOT_SENT_BYTES)
        connect = self._loop.connect_accepted_socket(self._new_connection, accepted, **self._tls)
        opening = self._loop.create_task(connect)
        self._opening.add(opening)
        opening.add_done_callback(self._opened)
        self._counts.add(self._slot, 1)
        return True

    def _opened(self, opening: asyncio.Task[object]) -> None:
        self._opening.discard(opening)
        if opening.cancelled() or opening.exception():  # a TLS handshake that failed, for one
            self._counts.add(self._slot, -1)
