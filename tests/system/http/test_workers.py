"""Two workers: they share new connections, and one that is killed is replaced."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import permutations
from pathlib import Path

from tests.system.http.raw_http import PICTURE, PREDICT, RawConnection, connect
from tests.system.server import Server, serving


def count_sockets(pid: int) -> int:
    """Count the open sockets of a process."""
    count = 0
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # the process has closed it meanwhile
            count += str(file.readlink()).startswith("socket:")
    return count


@contextmanager
def suspended(pid: int) -> Iterator[None]:
    """Suspend a process for the time of a block."""
    os.kill(pid, signal.SIGSTOP)
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        pass
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def open_connections(server: Server, opened: ExitStack, count: int = 1) -> list[RawConnection]:
    """Open connections one after the other, each of which gets a response before the next is opened."""
    connections = []
    for _ in range(count):
        connections.append(opened.enter_context(connect(server)))
        assert connections[-1].request(PREDICT).status == 200
    return connections


def test_new_connections_go_to_the_worker_that_has_fewer(one_version: Path) -> None:
    """Both workers respond before each new connection: one that is not scheduled would rightly not get it."""
    with serving(model_dir=one_version, workers=2) as server, ExitStack() as opened:
        server.wait_for_workers(2)
        workers = server.worker_pids
        witnesses = []
        for worker in workers:
            with suspended(worker):
                witnesses += open_connections(server, opened)
        initial = {worker: count_sockets(worker) for worker in workers}

        for many, few in permutations(workers):
            with suspended(many), ExitStack() as temporary:
                open_connections(server, temporary, 6)
            while {worker: count_sockets(worker) for worker in workers} != initial:
                assert server.process.poll() is None
            with ExitStack() as temporary:
                with suspended(few):
                    open_connections(server, temporary, 6)
                for _ in range(10):
                    for witness in witnesses:
                        assert witness.request(PREDICT).status == 200
                    open_connections(server, temporary)
                assert count_sockets(few) - initial[few] >= 6


def test_killed_worker_is_replaced_and_the_other_goes_on(one_version: Path) -> None:
    with serving(model_dir=one_version, workers=2) as server:
        server.wait_for_workers(2)
        killed, other = server.worker_pids
        os.kill(killed, signal.SIGKILL)
        server.wait_for_workers(1)
        assert other in server.worker_pids
        assert killed not in server.worker_pids
        for _ in range(10):
            assert server.predict(PICTURE, Connection="close").status_code == 200
