"""The registry of misbehaviours, and the threads that run them.

A misbehaviour is a function that does one harmful thing and describes how it ended in a word: a status, "closed",
"published". Its expected ends are stated beside it; any other one fails the experiment.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.chaos.connections import RawConnection, connect
from bench.process_tree import Kill

GROUPS = ("clients", "requests", "bodies", "versions", "processes")
REFUSED = frozenset({"429", "503"})
"""The service may refuse any request when it is busy."""
KILLED = "worker killed"
"""The connection belonged to a worker that was killed: no fault of the service."""
STOPPING = "stopping"
"""The connection was refused or closed after the SIGTERM, or the act was not completed: not counted."""
SPREAD = 0.7
BAD_VERSIONS_AT_ONCE = 4
CLIENT_ERRORS = frozenset(map(str, (400, 401, 403, 404, 405, 408, 411, 413, 414, 415, 417, 422, 426, 431)))


@dataclass
class Victim:
    """A running service, and what the misbehaviours share.

    Attributes:
        port: port of the service on 127.0.0.1.
        arbiter: process id of the arbiter.
        models: the model directory.
        read_log: returns everything that the service has written.
        kills: workers that were killed on purpose.
        stopping: set when the misbehaviours are to end.
        stopped_at: time.monotonic() of the SIGTERM; None before it.
        good_versions: numbers of the versions that were published intact.
        harmless_versions: numbers of odd versions that the service may serve.
        bad_version_slots: bounds the bad versions that are published at once.
    """

    port: int
    arbiter: int
    models: Path
    read_log: Callable[[], str]
    kills: list[Kill] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)
    stopped_at: float | None = None
    good_versions: set[str] = field(default_factory=set)
    harmless_versions: set[str] = field(default_factory=set)
    bad_version_slots: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(BAD_VERSIONS_AT_ONCE))
    _newest: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _own: threading.local = field(default_factory=threading.local)

    def next_version(self) -> int:
        """A version number that is higher than all before."""
        with self._lock:
            self._newest += 1
            return self._newest

    def pause(self, seconds: float) -> bool:
        """Wait, and return whether the misbehaviours are to end."""
        return self.stopping.wait(seconds)

    def connect(self, *, receive_buffer: int | None = None) -> AbstractContextManager[RawConnection]:
        """Open a connection, and remember it, to find out later whether its worker was killed."""
        return self._connect(receive_buffer)

    @contextmanager
    def _connect(self, receive_buffer: int | None) -> Iterator[RawConnection]:
        with connect(self.port, receive_buffer=receive_buffer) as connection:
            self._own.connections = [*getattr(self._own, "connections", []), connection]
            yield connection

    def forget_connections(self) -> None:
        """Begin a new act of the calling thread."""
        self._own.connections = []

    def lost_by_a_kill(self) -> bool:
        """Whether a connection of the calling thread's act belonged to a worker that was killed."""
        own = getattr(self._own, "connections", [])
        return any(
            connection.port in kill.ports and connection.opened <= kill.at for connection in own for kill in self.kills
        )


Act = Callable[[Victim], str]


@dataclass(frozen=True)
class Misbehaviour:
    """One kind of misbehaviour.

    Attributes:
        name: what is done, in plain words.
        group: one of GROUPS.
        act: does it once, and returns how it ended.
        expected: the ends that are right, besides REFUSED and KILLED.
        pause_seconds: between two acts of a thread.
        threads: how many do it at once.
    """

    name: str
    group: str
    act: Act
    expected: frozenset[str]
    pause_seconds: float
    threads: int = 1

    def allows(self, end: str) -> bool:
        """Whether an end is right."""
        return end in self.expected | REFUSED | {KILLED}


REGISTRY: dict[str, Misbehaviour] = {}


def misbehaviour(
    name: str, group: str, expected: Sequence[str] | frozenset[str], *, pause_seconds: float = 0.5, threads: int = 1
) -> Callable[[Act], Act]:
    """Register a function as a misbehaviour: a decorator."""

    def register(act: Act) -> Act:
        REGISTRY[name] = Misbehaviour(name, group, act, frozenset(expected), pause_seconds, threads)
        return act

    return register


class Ends:
    """How often each misbehaviour ended in which way. Thread-safe."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[str]] = {}
        self._lock = threading.Lock()

    def add(self, name: str, end: str) -> None:
        """Count one end."""
        with self._lock:
            self._counts.setdefault(name, Counter())[end] += 1

    def counts(self) -> dict[str, Counter[str]]:
        """The counts by misbehaviour and end."""
        with self._lock:
            return {name: Counter(counts) for name, counts in self._counts.items()}


@contextmanager
def misbehaving(victim: Victim, chosen: Sequence[Misbehaviour], ends: Ends, seconds: float) -> Iterator[None]:
    """Run the chosen misbehaviours in threads until the block ends; then wait for the last act of each.

    The first acts are spread at random over most of the `seconds` that the block will take.
    """
    victim.stopping.clear()
    threads = [
        threading.Thread(target=_repeat, args=(victim, kind, ends, seconds), name=f"{kind.name} {number}", daemon=True)
        for kind in chosen
        for number in range(kind.threads)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        victim.stopping.set()
        for thread in threads:
            thread.join()


def _repeat(victim: Victim, kind: Misbehaviour, ends: Ends, seconds: float) -> None:
    victim.pause(min(kind.pause_seconds, SPREAD * seconds) * float(np.random.default_rng().random()))
    while not victim.stopping.is_set():
        end = perform(victim, kind)
        if end == STOPPING:
            return
        ends.add(kind.name, end)
        victim.pause(kind.pause_seconds)


def perform(victim: Victim, kind: Misbehaviour) -> str:
    """Act once, and return the end; what ends a connection is excused if its worker was killed."""
    victim.forget_connections()
    started = time.monotonic()
    try:
        end = kind.act(victim)
    except TimeoutError:
        end = "no response"
    except ConnectionRefusedError:
        end = "refused"
    except (BrokenPipeError, ConnectionResetError):
        end = "reset"
    if kind.allows(end) or end.isdigit():
        return end
    if victim.lost_by_a_kill():
        return KILLED
    stopped_at = victim.stopped_at
    if stopped_at is not None and time.monotonic() > max(stopped_at, started):
        return STOPPING
    return end
