"""Hostile bodies to the real service: each costs its own request only, while a good client beside it loses nothing.

The limits hold for each process of the service: 2 seconds of CPU time for a worker and 300 MB for any process. The good
client's latency beside hostile bodies is measured by `make chaos`.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench import process_tree
from bench.chaos.good_client import start_good_client
from bench.hostile_bodies import HOSTILE_BODIES
from tests.conftest import REPOSITORY
from tests.system.server import Server, serving

MAX_WORKER_SECONDS = 2.0
MAX_GROWTH_MB = 300
SAMPLE_SECONDS = 0.02
TICKS = os.sysconf("SC_CLK_TCK")
GONE = (FileNotFoundError, ProcessLookupError)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """The service with the published model, and a good client beside it until the end."""
    with serving(model_dir=REPOSITORY / "models" / "digits", workers=2) as running:
        running.wait_for_workers(2)
        with start_good_client(int(running.address.rpartition(":")[2]), "plain") as client:
            yield running
            result = client.finish()
        counts = result.counts["calm"]["plain"]
        assert result.lost == []
        assert (counts.refused, counts.wrong, counts.first_wrong) == (0, 0, "")
        assert counts.sent == counts.right > len(HOSTILE_BODIES)
        assert "Traceback" not in running.log
        assert running.log.count("Booting worker") == 2


@dataclass
class Growth:
    """Of one process: resident memory when it was first seen, and at its peak, in MB."""

    first_mb: float
    peak_mb: float


@contextmanager
def observed(server: Server) -> Iterator[dict[int, Growth]]:
    """Observe the memory of all processes of the service; those that start meanwhile are seen within SAMPLE_SECONDS."""
    processes: dict[int, Growth] = {}
    is_over = threading.Event()

    def observe() -> None:
        while True:
            for process in process_tree.list_session(server.process.pid):
                with suppress(*GONE):
                    status = (Path("/proc") / str(process.pid) / "status").read_text()
                    peak_mb = read_mb(status, "VmHWM")
                    seen = processes.setdefault(process.pid, Growth(read_mb(status, "VmRSS"), peak_mb))
                    seen.peak_mb = peak_mb
            if is_over.wait(SAMPLE_SECONDS):
                return

    for process in process_tree.list_session(server.process.pid):
        with suppress(*GONE):
            (Path("/proc") / str(process.pid) / "clear_refs").write_text("5")  # the peak is the current size again
    thread = threading.Thread(target=observe)
    thread.start()
    try:
        yield processes
    finally:
        is_over.set()
        thread.join()


def read_mb(status: str, name: str) -> float:
    """A size in the text of /proc/PID/status, in MB; 0 for a process that has just ended."""
    found = status.partition(f"{name}:")[2].split()
    return int(found[0]) / 1000 if found else 0


def cpu_seconds(pid: int) -> float:
    """The CPU time of a process, without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


@pytest.mark.parametrize("name", HOSTILE_BODIES)
def test_a_hostile_body_costs_its_own_request_only(server: Server, name: str) -> None:
    content_type, query, body = HOSTILE_BODIES[name]()
    before = {pid: cpu_seconds(pid) for pid in server.worker_pids}
    with observed(server) as processes:
        response = server.client.post(
            f"/predict?{query.decode()}", content=body, headers={"Content-Type": content_type}
        )
    assert response.status_code == 200 or 400 <= response.status_code < 500, response.text
    assert {pid: seconds for pid in before if (seconds := cpu_seconds(pid) - before[pid]) > MAX_WORKER_SECONDS} == {}
    growth = {pid: process for pid, process in processes.items() if process.peak_mb - process.first_mb > MAX_GROWTH_MB}
    assert growth == {}
