"""Clients that send large requests, and do not read the responses: they take neither memory nor time of others."""

import re
import time
from contextlib import ExitStack
from pathlib import Path
from threading import Thread

import numpy as np

from tests.system.http.raw_http import PICTURE, RawConnection, connect, with_body
from tests.system.server import PATIENCE, Server, serving

CLIENTS = 60
BULK = with_body(
    np.random.default_rng(0).integers(0, 256, (10_000, 784), np.uint8).tobytes(),
    b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n",
)
MAX_RESIDENT_BYTES = 450 << 20
"""At the peak, which is 360 MB: 48 of the worker, 128 of bodies, 64 of responses, and four requests being handled.
Without a limit, each of these runs would add 110 MB of responses."""
RUNS = 3


class UnreadClient(Thread):
    """Sends a bulk request, and reads the status of its response only."""

    def __init__(self, connection: RawConnection) -> None:
        super().__init__()
        self.connection, self.status = connection, 0

    def run(self) -> None:
        self.connection.send(BULK)
        self.status = int(self.connection.receive_line().split()[1])


def count_aborted(server: Server) -> dict[str, int]:
    """The number of aborted responses, by reason."""
    found = re.findall(r'^digits_aborted_responses_total{reason="(\w+)"} (\d+)', metrics(server), re.MULTILINE)
    return {reason: int(count) for reason, count in found}


def metrics(server: Server) -> str:
    return server.client.get("/metrics").text


def test_unread_responses_are_bounded_and_time_out(one_version: Path) -> None:
    unread = 0
    with serving(model_dir=one_version, workers=1, send_timeout_seconds=5) as server, ExitStack() as opened:
        (worker,) = server.worker_pids
        for _ in range(RUNS):
            clients = [UnreadClient(opened.enter_context(connect(server, receive_buffer=4096))) for _ in range(CLIENTS)]
            for client in clients:
                client.start()
            while any(client.is_alive() for client in clients):
                assert server.predict(PICTURE).status_code == 200
            for client in clients:
                client.join()
            assert {client.status for client in clients} <= {200, 429}
            unread += sum(client.status == 200 for client in clients)
        deadline = time.monotonic() + PATIENCE
        while sum((aborted := count_aborted(server)).values()) < unread:
            assert time.monotonic() < deadline, (aborted, unread)
        assert aborted["timeout"] > 0
        assert sum(aborted.values()) == unread > RUNS
        peak = int(Path(f"/proc/{worker}/status").read_text().partition("VmHWM:")[2].split()[0]) << 10
        assert peak < MAX_RESIDENT_BYTES
    assert "Traceback" not in server.log
