"""Connections, shared out evenly among the workers.

A new connection wakes all workers, and who comes first takes it, and more that wait behind it: of 16 connections one
worker may get 12, and the others' cores have less to do. So workers show each other how many they have. One that has
a sixteenth more than another leaves a new connection to it for a moment, and takes it after all if it is still there.
"""

import asyncio
import logging
import mmap
import socket
from collections.abc import Callable

import numpy as np

log = logging.getLogger(__name__)

SLOTS = 1024
NO_WORKER = 2**31 - 1
DEFER_SECONDS = 0.002
MAX_FRUITLESS_DEFERRALS = 20
"""Times in a second that a worker may wait in vain: where each request has a new connection, that is not worth more."""
ACCEPT_AFTER_DEFERRAL = 4
"""Connections that a worker takes after its patience, and a sixteenth of those that it has: a crowd is let in soon."""
ACCEPT_BACKOFF_SECONDS = 0.1
"""How long no connection is taken after one could not be: there are no more file descriptors, or no memory."""


class ConnectionCounts:
    """How many connections each worker has. In memory that is shared with processes forked later: one number a slot."""

    def __init__(self) -> None:
        self._numbers = np.frombuffer(mmap.mmap(-1, 4 * SLOTS), np.int32)
        self._numbers[:] = NO_WORKER

    def minimum(self) -> int:
        """What the worker has that has fewest."""
        return int(self._numbers.min())

    def get(self, slot: int) -> int:
        """What the worker of this slot has; ABSENT if there is none."""
        return int(self._numbers[slot])

    def add(self, slot: int, count: int) -> None:
        """This slot's worker has so many more."""
        self._numbers[slot] += count

    def register(self, slot: int) -> None:
        """There is a worker of this slot from now on."""
        self._numbers[slot] = 0

    def unregister(self, slot: int) -> None:
        """There no longer is, or it takes no more."""
        self._numbers[slot] = NO_WORKER


class Acceptor:
    """A listening socket, as one worker's event loop takes connections from it."""

    def __init__(
        self, listener: socket.socket, counts: ConnectionCounts, slot: int, make: Callable[[], asyncio.Protocol]
    ) -> None:
        self._listener, self._counts, self._slot, self._make = listener, counts, slot, make
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[object]] = set()
        self._rest: asyncio.TimerHandle | None = None
        self._waits, self._waited = float(MAX_FRUITLESS_DEFERRALS), self._loop.time()
        listener.settimeout(0)
        self._resume()

    def _resume(self) -> None:
        self._rest = None
        self._loop.add_reader(self._listener, self._accept_ready)

    def close(self) -> None:
        """Take no more."""
        if self._rest:
            self._rest.cancel()
        else:
            self._loop.remove_reader(self._listener)
        self._listener.close()

    def _accept_ready(self) -> None:
        """Take those that wait, or leave them if another worker has fewer."""
        while not (self._is_overloaded() and self._may_defer()):
            if not self._accept_one():
                return
        self._pause(DEFER_SECONDS, self._accept_after_deferral)

    def _is_overloaded(self) -> bool:
        mine = self._counts.get(self._slot)
        return mine - mine // 16 > self._counts.minimum()

    def _may_defer(self) -> bool:
        now = self._loop.time()
        self._waits = min(self._waits + MAX_FRUITLESS_DEFERRALS * (now - self._waited), MAX_FRUITLESS_DEFERRALS)
        self._waited = now
        if self._waits < 1:
            return False
        self._waits -= 1
        return True

    def _accept_after_deferral(self) -> None:
        self._resume()
        if not self._accept_one():
            self._waits += 1  # it was worth it: another worker took them
            return
        for _ in range(ACCEPT_AFTER_DEFERRAL - 1 + self._counts.get(self._slot) // 16):
            if not self._accept_one():
                return

    def _pause(self, seconds: float, then: Callable[[], None]) -> None:
        self._loop.remove_reader(self._listener)
        self._rest = self._loop.call_later(seconds, then)

    def _accept_one(self) -> bool:
        """Take one; False: there is none, or none can be taken now."""
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as error:
            log.warning("no connection can be taken: %s", error)
            self._pause(ACCEPT_BACKOFF_SECONDS, self._resume)
            return False
        connection.settimeout(0)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opening = self._loop.create_task(self._loop.connect_accepted_socket(self._make, connection))
        self._opening.add(opening)
        opening.add_done_callback(self._opened)
        self._counts.add(self._slot, 1)
        return True

    def _opened(self, opening: asyncio.Task[object]) -> None:
        self._opening.discard(opening)
        if opening.cancelled() or opening.exception():
            self._counts.add(self._slot, -1)
