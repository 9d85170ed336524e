"""The processes of a service that runs in a session of its own, read from /proc: tree, memory, connections.

A process whose parent was killed leaves the tree, but not the session, so orphans are counted too.
"""

import errno
import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
_GONE = (FileNotFoundError, ProcessLookupError)


@dataclass(frozen=True)
class Process:
    """A process that has not ended: process id, and the id of its parent."""

    pid: int
    parent: int


@dataclass(frozen=True)
class Kill:
    """A worker that was killed on purpose.

    Attributes:
        pid: its process id.
        at: time.monotonic() of the kill.
        ports: the client's ports of the connections that the worker had accepted.
    """

    pid: int
    at: float
    ports: frozenset[int]


def list_session(session: int) -> list[Process]:
    """List the processes of a session; without those that have ended and wait for their parent."""
    found = []
    for directory in PROC.glob("[0-9]*"):
        with suppress(*_GONE):
            state, parent, _, own_session, *_ = (directory / "stat").read_text().rpartition(") ")[2].split()
            if int(own_session) == session and state not in "ZX":
                found.append(Process(int(directory.name), int(parent)))
    return found


def worker_pids(arbiter: int) -> list[int]:
    """The process ids of the workers: the arbiter's children."""
    return [process.pid for process in list_session(arbiter) if process.parent == arbiter]


def named_pids(session: int, name: str) -> list[int]:
    """The process ids of the processes of a session that have this name, of at most 15 characters."""
    found = []
    for process in list_session(session):
        with suppress(*_GONE):
            if (PROC / str(process.pid) / "comm").read_text() == f"{name}\n":
                found.append(process.pid)
    return found


def memory_mb(pids: Iterable[int]) -> float:
    """The proportional set size of these processes together, in MB; a process that has ended counts nothing."""
    total = 0
    for pid in pids:
        with suppress(*_GONE):
            rollup = (PROC / str(pid) / "smaps_rollup").read_text()
            total += int(rollup.partition("\nPss:")[2].split()[0])
    return total / 1000


def kill_worker(pid: int, port: int) -> Kill:
    """Kill a worker, and record exactly which connections it had.

    It is stopped first, so that it accepts no connection between the record and the kill.

    Args:
        pid: the worker's process id.
        port: the port of the service.

    Raises:
        ProcessLookupError: there is no such process.
    """
    os.kill(pid, signal.SIGSTOP)
    _wait_until_stopped(pid)
    try:
        kill = Kill(pid, time.monotonic(), _client_ports(pid, port))
    except FileNotFoundError:  # it had ended, and its parent has noticed that meanwhile
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH)) from None
    os.kill(pid, signal.SIGKILL)
    return kill


def _wait_until_stopped(pid: int) -> None:
    """SIGSTOP stops each thread when it next leaves the kernel: wait for all of them."""
    while any(state not in "TtZX" for state in _thread_states(pid)):
        time.sleep(0.0005)


def _thread_states(pid: int) -> list[str]:
    states = []
    for thread in (PROC / str(pid) / "task").glob("*"):
        with suppress(*_GONE):
            states.append((thread / "stat").read_text().rpartition(") ")[2][0])
    return states


def _client_ports(pid: int, port: int) -> frozenset[int]:
    """The remote ports of the process's TCP connections at the local port `port`."""
    inodes = set()
    for descriptor in (PROC / str(pid) / "fd").iterdir():
        with suppress(*_GONE):
            kind, _, inode = str(descriptor.readlink()).partition(":[")
            if kind == "socket":
                inodes.add(inode.rstrip("]"))
    ports = set()
    for line in (PROC / "net" / "tcp").read_text().splitlines()[1:]:
        _, local, remote, _, _, _, _, _, _, inode, *_ = line.split()
        if inode in inodes and _port_of(local) == port and _port_of(remote):
            ports.add(_port_of(remote))
    return frozenset(ports)


def _port_of(address: str) -> int:
    return int(address.rpartition(":")[2], 16)
