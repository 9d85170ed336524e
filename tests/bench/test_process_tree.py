"""bench/process_tree.py: the processes of a session, orphans included, and the connections of a killed worker."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import process_tree

SERVER = """
import os, socket
listener = socket.create_server(("127.0.0.1", 0))
if os.fork():
    print(listener.getsockname()[1], flush=True)
    os.wait()
connections = [listener.accept()[0] for _ in range(2)]
print("accepted", flush=True)
listener.accept()
"""
"""An arbiter and a worker, which accepts two connections and then waits; the arbiter accepts what comes afterwards."""


@pytest.fixture
def arbiter() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=-1, text=True, start_new_session=True) as process:
        yield process
        process.kill()


def test_kill_records_the_connections_that_the_worker_had_accepted(arbiter: subprocess.Popen[str]) -> None:
    assert arbiter.stdout
    port = int(arbiter.stdout.readline())
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(2)]
    assert arbiter.stdout.readline() == "accepted\n"
    (worker,) = process_tree.worker_pids(arbiter.pid)
    assert {process.pid for process in process_tree.list_session(arbiter.pid)} == {arbiter.pid, worker}
    name = Path(f"/proc/{worker}/comm").read_text().strip()
    assert set(process_tree.named_pids(arbiter.pid, name)) == {arbiter.pid, worker}
    assert process_tree.named_pids(arbiter.pid, "digits-parser") == []
    assert process_tree.memory_mb([worker, arbiter.pid]) > process_tree.memory_mb([worker]) > 1
    kill = process_tree.kill_worker(worker, port)
    assert (kill.pid, kill.ports) == (worker, frozenset(connection.getsockname()[1] for connection in connections))
    for connection in connections:
        assert connection.recv(1) == b""
        connection.close()
    with pytest.raises(ProcessLookupError):
        process_tree.kill_worker(worker, port)
