"""bench/load_generator.py against a server that returns a known sequence of statuses."""

import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import ClassVar

import pytest

from bench import load_generator
from bench.load_generator import Request

STATUSES = (200, 200, 429, 200, 500)


class StatusSequence(BaseHTTPRequestHandler):
    """Responds with the STATUSES one after the other, again and again, and records the requests."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # a response is one write
    requests: ClassVar[list[tuple[str, str, str, bytes]]] = []
    numbers: ClassVar[Iterator[int]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.requests.append((self.path, self.headers["Content-Type"], self.headers["X-Name"], body))
        self.send_response(STATUSES[next(self.numbers) % len(STATUSES)])
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def request_to_server() -> Iterator[Request]:
    StatusSequence.requests.clear()
    StatusSequence.numbers = count()
    with ThreadingHTTPServer(("127.0.0.1", 0), StatusSequence) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Request(
            f"http://127.0.0.1:{server.server_port}/predict?fields=digit", "image/png", b"picture", ("X-Name: a: b",)
        )
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "wrk", [pytest.param(False, id="Python client"), pytest.param(True, id="wrk", marks=pytest.mark.wrk)]
)
def test_counts_each_response_by_its_status(
    request_to_server: Request, monkeypatch: pytest.MonkeyPatch, *, wrk: bool
) -> None:
    if wrk and not shutil.which("wrk"):
        pytest.skip("wrk is not installed")
    if not wrk:
        monkeypatch.setattr(shutil, "which", lambda _: None)
    result = load_generator.closed_loop(request_to_server, 1, 1)
    assert set(StatusSequence.requests) == {("/predict?fields=digit", "image/png", "a: b", b"picture")}
    total = result.succeeded + result.failed
    assert 10 < total <= len(StatusSequence.requests)
    statuses = [STATUSES[number % len(STATUSES)] for number in range(total)]
    assert result.failed == pytest.approx(len(statuses) - statuses.count(200), abs=1)
    assert 0 < result.p50_ms <= result.p99_ms
    assert result.rate == result.succeeded / result.seconds
