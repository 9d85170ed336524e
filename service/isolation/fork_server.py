"""A fork server for one worker: forks processes on request, and reports how they ended.

    worker  --  control socket  -->  fork server  --  forks  -->  processes
    worker  --  one socket for each process  -->  processes

A worker has threads, and a fork of a process with threads can deadlock. So the worker forks the fork server before it
starts any, and the fork server, which has one thread, forks everything else. A forked process shares the memory of the
arbiter, modules included: it starts in milliseconds and takes few megabytes.

The fork server ends when the worker ends, and its processes end with it: at the end of the control socket, and by
PR_SET_PDEATHSIG (prctl(2)), which reaches a process in the middle of a computation.
"""

import contextlib
import logging
import os
import resource
import signal
import socket
import struct
from collections.abc import Callable
from typing import NoReturn

from service.system_calls import kill_with_parent, name_process

log = logging.getLogger(__name__)

MESSAGE = struct.Struct("=BIi")
"""Command or event, number of the process, wait status."""
FORK, KILL, EXITED = range(3)

IGNORED_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Signals that a terminal or an operator sends to a process group: the worker decides when the others end."""

Target = Callable[[socket.socket], None]
"""What a forked process runs, with its end of the socket; it returns when the other end is closed."""


class ForkServer:
    """The worker's handle of its fork server. Its methods do not block."""

    def __init__(self, control: socket.socket, pid: int) -> None:
        self.control, self.pid = control, pid
        self._forked = 0

    @classmethod
    def start(cls, target: Target) -> "ForkServer":
        """Fork the fork server. The calling process must have a single thread."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            _run(theirs, target, parent)
        theirs.close()
        ours.settimeout(0)
        return cls(ours, pid)

    def fork(self) -> tuple[int, socket.socket]:
        """Have a process forked; returns its number and the non-blocking socket to it, which may be used at once.

        Raises:
            OSError: the fork server has ended.
        """
        self._forked += 1
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self.control, [MESSAGE.pack(FORK, self._forked, 0)], [theirs.fileno()])
        ours.settimeout(0)
        return self._forked, ours

    def kill(self, number: int) -> None:
        """Kill a process, unless it has ended."""
        with contextlib.suppress(OSError):  # the fork server has ended, and its processes with it
            self.control.send(MESSAGE.pack(KILL, number, 0))

    def receive_exit(self) -> tuple[int, int] | None:
        """The next process that has ended: its number and wait status; None if there is none yet.

        Raises:
            EOFError: the fork server has ended.
        """
        try:
            message = self.control.recv(MESSAGE.size)
        except BlockingIOError:
            return None
        except ConnectionError:
            message = b""
        if not message:
            raise EOFError("the fork server has ended")
        _, number, status = MESSAGE.unpack(message)
        return number, status

    def close(self) -> None:
        """End the fork server and its processes."""
        self.control.close()


def _run(control: socket.socket, target: Target, parent: int) -> NoReturn:
    """The fork server's process."""
    try:
        _end_with_parent(parent, b"digits-fork")
        for number in IGNORED_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        # A copy of the listening socket would keep the port, one of a client's connection the connection.
        os.closerange(3, control.fileno())
        os.closerange(control.fileno() + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        _serve(control, target)
    except Exception:
        log.exception("the fork server has failed")
    finally:
        os._exit(0)


def _serve(control: socket.socket, target: Target) -> None:
    children: dict[int, int] = {}  # process id -> number

    def report_exits(*_: object) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                with contextlib.suppress(OSError):  # the worker has ended
                    control.send(MESSAGE.pack(EXITED, children.pop(ended[0], 0), ended[1]))

    signal.signal(signal.SIGCHLD, report_exits)
    while True:
        try:
            message, descriptors, _, _ = socket.recv_fds(control, MESSAGE.size, 1)
        except ConnectionError:  # the worker has ended with reports unread
            break
        if not message:
            break
        command, number, _ = MESSAGE.unpack(message)
        # A child that ends is unknown until its number is stored, and must not be reaped before.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        if command == FORK:
            children[_fork(control, descriptors[0], target)] = number
        else:
            for pid in (pid for pid, other in children.items() if other == number):
                os.kill(pid, signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    for pid in children:
        os.kill(pid, signal.SIGKILL)


def _fork(control: socket.socket, descriptor: int, target: Target) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            _end_with_parent(parent, b"digits-parser")
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
            control.close()
            target(socket.socket(fileno=descriptor))
        except Exception:
            log.exception("a forked process has failed")
        finally:
            os._exit(0)
    os.close(descriptor)
    return pid


def _end_with_parent(parent: int, name: bytes) -> None:
    """Name the process for ps and top, and have the kernel kill it when its parent ends (Linux)."""
    kill_with_parent()
    name_process(name)
    if os.getppid() != parent:  # it had ended before the call
        os._exit(0)
