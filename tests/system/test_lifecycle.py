"""Start, stop, crash: what an operator does to the service, and what it does to itself."""

import http.client
import os
import re
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest

from tests.conftest import REPOSITORY, Versions
from tests.service.payloads import encode, stroke
from tests.system.server import GUNICORN, Server, serving

SEVEN = (REPOSITORY / "tests" / "pictures" / "seven.png").read_bytes()
PNG = {"Content-Type": "image/png"}
CLOSE = {"Connection": "close"}
LARGE = encode(255 - np.kron(stroke(), np.ones((40, 40), np.uint8)))
"""A picture that takes some hundredths of a second to read."""


def place(server: Server) -> tuple[str, int]:
    address = urlsplit(server.address)
    assert address.hostname
    assert address.port
    return address.hostname, address.port


@contextmanager
def half_sent(server: Server) -> Iterator[socket.socket]:
    """A connection whose request has all but the last byte of its body, and that the service has begun on."""
    with socket.create_connection(place(server), timeout=30) as connection:
        head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: {len(SEVEN)}\r\n"
        connection.sendall(head.encode() + b"Expect: 100-continue\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        connection.sendall(SEVEN[:-1])
        yield connection


def test_sigterm_finishes_what_is_in_flight_and_exits_with_0(one_version: Path) -> None:
    with serving(model_dir=one_version, workers=1) as server:
        probe = http.client.HTTPConnection(*place(server), timeout=30)
        probe.request("GET", "/readyz")
        assert probe.getresponse().read()
        with half_sent(server) as connection:
            server.process.send_signal(signal.SIGTERM)
            server.wait_for("Handling signal: term")
            assert until_not_ready(probe) == b'{"error":"the service is stopping"}'
            connection.sendall(SEVEN[-1:])
            assert connection.recv(100).startswith(b"HTTP/1.1 200 OK")
        assert server.stop() == 0
    assert "Traceback" not in server.log


def until_not_ready(probe: http.client.HTTPConnection) -> bytes:
    """Ask on one kept-alive connection until the signal has reached the worker."""
    for _ in range(10_000):
        probe.request("GET", "/readyz")
        answer = probe.getresponse()
        body = answer.read()
        if answer.status == 503:
            return body
    raise AssertionError("still ready")


def test_counts_survive_killed_workers_and_files_do_not_pile_up(one_version: Path, tmp_path: Path) -> None:
    with serving(model_dir=one_version, workers=2, metrics_dir=tmp_path / "metrics") as server:
        for _ in range(2):
            server.wait_for("version 1 is in use")
        for answered in range(1, 16):
            server.client.post("/predict", content=SEVEN, headers=PNG | CLOSE).raise_for_status()
            counted = f'digits_http_requests_total{{method="POST",route="/predict",status="200"}} {answered}.0'
            until(server, counted, "digits_in_flight_requests 1.0")
            os.kill(worker_of(server, kill=answered), signal.SIGKILL)
            server.wait_for("version 1 is in use")
        files = {file.name for file in (tmp_path / "metrics").iterdir()}
        kinds = ("counter", "histogram", "gauge_livesum", "gauge_livemax")
        assert files == {f"{kind}_{slot}.db" for kind in kinds for slot in (0, 1)}


def until(server: Server, *samples: str) -> None:
    """Scrape until all of these are there: a worker shares its counts ten times a second."""
    deadline = time.monotonic() + 20
    while not all(sample in (text := server.client.get("/metrics", headers=CLOSE).text) for sample in samples):
        assert time.monotonic() < deadline, text


def worker_of(server: Server, kill: int) -> int:
    """The process id of one of the workers running now, in turn."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    return int(children[kill % len(children)])


def test_nothing_is_left_after_the_end(one_version: Path) -> None:
    with serving(model_dir=one_version) as server:
        worker = server.wait_for(r"\[(\d+)\] \[INFO\] version 1 is in use")[1]
        mapped = Path(f"/proc/{worker}/maps").read_text()
        match = re.search(r"(/\S*/digits-metrics-\w+)/", mapped)
        assert match
        directory = Path(match[1])
        assert directory.is_dir()
        assert server.stop() == 0
        assert not directory.exists()


def test_without_a_model_it_lives_but_is_not_ready(models: Path, versions: Versions) -> None:
    with serving(model_dir=models, workers=1, model_poll_seconds=0.1) as server:
        assert server.client.get("/healthz").status_code == 200
        for method, path in (("GET", "/readyz"), ("GET", "/model"), ("POST", "/predict")):
            answer = server.client.request(method, path, content=SEVEN if method == "POST" else None, headers=PNG)
            assert (answer.status_code, answer.json()) == (503, {"error": "no model is loaded yet"})
        versions.put(models, 1, digit=7)
        server.wait_for("version 1 is in use")
        assert server.client.get("/readyz").status_code == 200
        answer = server.client.post("/predict", content=SEVEN, headers=PNG)
        assert answer.json()["predictions"][0]["digit"] == 7


def test_a_version_without_plan_or_manifest_is_served_by_tensorflow(models: Path, versions: Versions) -> None:
    version = versions.put(models, 1, digit=4)
    for name in ("manifest.json", "model.tflite"):
        (version / name).unlink()
    with serving(model_dir=models, workers=1) as server:
        assert server.client.get("/model").json() == {"version": "1", "manifest": None, "runtime": "tensorflow"}
        answer = server.client.post("/predict", content=SEVEN, headers=PNG).raise_for_status()
        assert [(p["digit"], p["uncertain"]) for p in answer.json()["predictions"]] == [(4, False)]


@contextmanager
def full(one_version: Path) -> Iterator[tuple[Server, Future[httpx.Response]]]:
    """A worker whose only place is taken, and the answer to who took it, which is still to come."""
    photographs = {f"p{number}": LARGE for number in range(50)}
    with serving(model_dir=one_version, workers=1, max_in_flight=1, threads=1) as server, ThreadPoolExecutor(1) as pool:
        long = pool.submit(httpx.post, f"{server.address}/predict", files=photographs, timeout=60)
        until(server, "digits_in_flight_requests 2.0")
        while server.client.post("/predict", content=SEVEN, headers=PNG).status_code == 200:
            assert not long.done()  # it is still arriving, and has no place yet
        yield server, long


def test_one_too_many_gets_429_at_once(one_version: Path) -> None:
    with full(one_version) as (server, long):
        answer = server.client.post("/predict", content=SEVEN, headers=PNG)
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")
        assert answer.json() == {"error": "1 requests are in flight, which is the limit"}
        for path in ("/healthz", "/readyz", "/metrics"):
            assert server.client.get(path).status_code == 200
        assert not long.done()
        assert long.result().status_code == 200
        assert server.client.post("/predict", content=SEVEN, headers=PNG).status_code == 200


def test_a_client_that_goes_away_in_the_middle_is_no_error_of_ours(one_version: Path) -> None:
    with serving(model_dir=one_version, workers=1, threads=2) as server:
        gone = [threading.Thread(target=leave, args=(server,)) for _ in range(8)]
        for thread in gone:
            thread.start()
        for thread in gone:
            thread.join()
        assert server.client.post("/predict", content=SEVEN, headers=PNG).status_code == 200
    assert "Traceback" not in server.log


def leave(server: Server) -> None:
    with half_sent(server) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("DIGITS_PORT", "http", "a whole number from 0 to 65535"),
        ("DIGITS_RUNTIME", "torch", "auto, tensorflow, litert"),
        ("DIGITS_MODEL", "models", "no setting"),
    ],
)
def test_a_wrong_setting_stops_the_start_with_one_line(variable: str, value: str, words: str) -> None:
    done = subprocess.run(
        GUNICORN, cwd=REPOSITORY, env=os.environ | {variable: value}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert variable in line
    assert words in line
