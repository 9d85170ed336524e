"""The load generator against a server whose answers are known."""

import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import ClassVar

import pytest

from bench import load_generator
from bench.load_generator import Post

STATUSES = (200, 200, 429, 200, 500)


class InTurn(BaseHTTPRequestHandler):
    """Answers with each of STATUSES in turn, and remembers what it was asked."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer is one write
    asked: ClassVar[list[tuple[str, str, bytes]]] = []
    turn: ClassVar[Iterator[int]]

    def do_POST(self) -> None:
        """Answer."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append((self.path, self.headers["Content-Type"], body))
        self.send_response(STATUSES[next(self.turn) % len(STATUSES)])
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def post() -> Iterator[Post]:
    InTurn.asked.clear()
    InTurn.turn = count()
    with ThreadingHTTPServer(("127.0.0.1", 0), InTurn) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Post(f"http://127.0.0.1:{server.server_port}/predict?fields=digit", "image/png", b"picture")
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("wrk", [False, True])
def test_every_answer_is_counted_as_what_it_is(post: Post, monkeypatch: pytest.MonkeyPatch, *, wrk: bool) -> None:
    if wrk and not shutil.which("wrk"):
        pytest.skip("wrk is not installed")
    if not wrk:
        monkeypatch.setattr(shutil, "which", lambda _: None)
    found = load_generator.closed(post, 1, 1)
    assert set(InTurn.asked) == {("/predict?fields=digit", "image/png", b"picture")}
    total = found.answered + found.failed
    assert 10 < total <= len(InTurn.asked)
    statuses = [STATUSES[number % len(STATUSES)] for number in range(total)]
    assert found.failed == pytest.approx(len(statuses) - statuses.count(200), abs=1)
    assert 0 < found.p50 <= found.p99
    assert found.rate == found.answered / found.seconds
