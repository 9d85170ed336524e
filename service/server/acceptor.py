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
ABSENT = 2**31 - 1
PATIENCE_SECONDS = 0.002
WAITS = 20
"""Times in a second that a worker may wait in vain: where each request has a new connection, that is not worth more."""
AFTER_ALL = 4
"""Connections that a worker takes after its patience, and a sixteenth of those that it has: a crowd is let in soon."""
REST_SECONDS = 0.1
"""How long no connection is taken after one could not be: there are no more file descriptors, or no memory."""


class Counts:
    """How many connections each worker has. In memory that is shared with processes forked later: one number a slot."""

    def __init__(self) -> None:
        self._numbers = np.frombuffer(mmap.mmap(-1, 4 * SLOTS), np.int32)
        self._numbers[:] = ABSENT

    def fewest(self) -> int:
        """What the worker has that has fewest."""
        return int(self._numbers.min())

    def of(self, slot: int) -> int:
        """What the worker of this slot has; ABSENT if there is none."""
        return int(self._numbers[slot])

    def add(self, slot: int, count: int) -> None:
        """This slot's worker has so many more."""
        self._numbers[slot] += count

    def enter(self, slot: int) -> None:
        """There is a worker of this slot from now on."""
        self._numbers[slot] = 0

    def leave(self, slot: int) -> None:
        """There no longer is, or it takes no more."""
        self._numbers[slot] = ABSENT


class Door:
    """A listening socket, as one worker's event loop takes connections from it."""

    def __init__(
        self, listener: socket.socket, counts: Counts, slot: int, make: Callable[[], asyncio.Protocol]
    ) -> None:
        self._listener, self._counts, self._slot, self._make = listener, counts, slot, make
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[object]] = set()
        self._rest: asyncio.TimerHandle | None = None
        self._waits, self._waited = float(WAITS), self._loop.time()
        listener.settimeout(0)
        self._open()

    def _open(self) -> None:
        self._rest = None
        self._loop.add_reader(self._listener, self._take_share)

    def close(self) -> None:
        """Take no more."""
        if self._rest:
            self._rest.cancel()
        else:
            self._loop.remove_reader(self._listener)
        self._listener.close()

    def _take_share(self) -> None:
        """Take those that wait, or leave them if another worker has fewer."""
        while not (self._leads() and self._may_wait()):
            if not self._take():
                return
        self._pause(PATIENCE_SECONDS, self._take_after_all)

    def _leads(self) -> bool:
        mine = self._counts.of(self._slot)
        return mine - mine // 16 > self._counts.fewest()

    def _may_wait(self) -> bool:
        now = self._loop.time()
        self._waits = min(self._waits + WAITS * (now - self._waited), WAITS)
        self._waited = now
        if self._waits < 1:
            return False
        self._waits -= 1
        return True

    def _take_after_all(self) -> None:
        self._open()
        if not self._take():
            self._waits += 1  # it was worth it: another worker took them
            return
        for _ in range(AFTER_ALL - 1 + self._counts.of(self._slot) // 16):
            if not self._take():
                return

    def _pause(self, seconds: float, then: Callable[[], None]) -> None:
        self._loop.remove_reader(self._listener)
        self._rest = self._loop.call_later(seconds, then)

    def _take(self) -> bool:
        """Take one; False: there is none, or none can be taken now."""
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as error:
            log.warning("no connection can be taken: %s", error)
            self._pause(REST_SECONDS, self._open)
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
