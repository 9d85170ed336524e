"""The parser processes of a running service: what happens when they, their fork server or their client go away."""

import os
import select
import signal
import socket
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.service.payloads import FORM, encode, form, stroke
from tests.system.http.raw_http import PICTURE, connect, with_body
from tests.system.server import Server, serving

PHOTOGRAPH = encode(255 - np.pad(np.kron(stroke(), np.ones((20, 20), np.uint8)), 300))
"""It takes a parser some hundredths of a second."""
SLOW_FORM = form(*[PHOTOGRAPH] * 20)
HEADERS = {"Content-Type": FORM}
PATIENCE_SECONDS = 60


@pytest.fixture
def server(one_version: Path) -> Iterator[Server]:
    with serving(model_dir=one_version, workers=1, picture_processes=2, picture_seconds=60) as running:
        running.wait_for_workers(1)
        yield running
    assert "Traceback" not in running.log


def children(pid: int) -> list[int]:
    """The processes that a process has forked."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def fork_server(server: Server) -> int:
    """The fork server of the only worker."""
    (worker,) = server.worker_pids
    (pid,) = children(worker)
    return pid


def wait_for_parser(server: Server) -> int:
    """Wait until a parser process runs; returns its id."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (parsers := children(fork_server(server))):
        assert time.monotonic() < deadline
    return parsers[0]


def wait_until_gone(pid: int) -> None:
    """Wait until a process has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    with closing(os.fdopen(descriptor)):
        assert select.select([descriptor], [], [], PATIENCE_SECONDS)[0], f"process {pid} still runs"


def post_slow_form(server: Server) -> httpx.Response:
    return httpx.post(f"{server.address}/predict", content=SLOW_FORM, headers=HEADERS, timeout=PATIENCE_SECONDS)


def test_no_process_is_started_for_what_the_worker_parses(server: Server) -> None:
    bulk = np.stack([stroke()] * 1000).tobytes()
    assert server.predict(PICTURE).status_code == 200
    assert server.predict(bulk, "application/octet-stream").status_code == 200
    assert children(fork_server(server)) == []
    assert server.predict(PHOTOGRAPH).status_code == 200
    assert len(children(fork_server(server))) == 1


def test_a_body_is_parsed_again_if_its_process_is_killed(server: Server) -> None:
    with ThreadPoolExecutor() as threads:
        response = threads.submit(post_slow_form, server)
        killed = wait_for_parser(server)
        os.kill(killed, signal.SIGKILL)
        assert response.result().status_code == 200
        assert len(response.result().json()["predictions"]) == 20
    assert killed not in children(fork_server(server))


def test_a_worker_whose_fork_server_is_killed_is_replaced(server: Server) -> None:
    (before,) = server.worker_pids
    assert server.predict(PHOTOGRAPH).status_code == 200
    parser = wait_for_parser(server)
    os.kill(fork_server(server), signal.SIGKILL)
    server.wait_for_workers(1)
    wait_until_gone(before)
    wait_until_gone(parser)
    assert httpx.post(f"{server.address}/predict", content=PHOTOGRAPH, headers={"Content-Type": "image/png"}).is_success


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_client_that_disconnects_ends_its_work(server: Server, *, is_chunked: bool) -> None:
    """The fast path has the request whole at once, gunicorn in pieces."""
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: %b\r\n" % FORM.encode()
    many = form(*[encode(255 - np.pad(stroke(), 120))] * 400)
    request = with_body(many, head)
    if is_chunked:
        request = head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(many), many)
    with connect(server) as connection:
        connection.send(request)
        parser = wait_for_parser(server)
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close by a reset
    wait_until_gone(parser)
    server.wait_for_metrics("digits_in_flight_requests 1.0")  # GET /metrics itself
    assert server.predict(PHOTOGRAPH).status_code == 200


def test_cheap_predictions_are_accepted_while_slow_ones_wait(one_version: Path) -> None:
    with (
        serving(model_dir=one_version, workers=1, max_in_flight=8, picture_processes=1, picture_seconds=60) as server,
        ThreadPoolExecutor(12) as threads,
    ):
        server.wait_for_workers(1)
        slow = [threads.submit(post_slow_form, server) for _ in range(12)]
        wait_for_parser(server)
        cheap = [server.predict(PICTURE).status_code for _ in range(200)]
        statuses = [response.result().status_code for response in slow]
    assert cheap == [200] * 200
    assert set(statuses) <= {200, 429}
    assert statuses.count(200) >= 4


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_is_left_when_the_service_ends(one_version: Path, number: signal.Signals) -> None:
    with serving(model_dir=one_version, workers=1) as server:
        server.wait_for_workers(1)
        assert server.predict(PHOTOGRAPH).status_code == 200
        pids = [*server.worker_pids, fork_server(server), *children(fork_server(server))]
        assert len(pids) == 3
        server.stop(number)
        for pid in pids:
            wait_until_gone(pid)
