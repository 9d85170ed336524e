"""Clients that misbehave, of every kind at once, beside clients that behave: these lose nothing, nothing is logged.

`pytest -s` prints what was sent and lost.
"""

import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from tests.system.http.raw_http import (
    GET_HEALTH,
    HEAD,
    PREDICT,
    PREDICT_CHUNKED,
    PREDICT_PHOTOGRAPH,
    RawConnection,
    connect,
    with_body,
)
from tests.system.server import Server, serving

GOOD_CLIENTS = 3
TIMES = 20
"""How often each kind of misbehaviour comes."""
MAX_BODY_BYTES = 200_000

HANDSHAKE = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nHost"
H2C = b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\nHost"


def send(*pieces: bytes, responses: int = 1) -> Callable[[RawConnection], list[int]]:
    """Send pieces, and read so many responses."""

    def misbehave(connection: RawConnection) -> list[int]:
        for piece in pieces:
            connection.send(piece)
        return [connection.receive().status for _ in range(responses)]

    return misbehave


def half_close(request: bytes, *, responses: int = 1) -> Callable[[RawConnection], list[int]]:
    """Send a request and a FIN, and read until the end."""

    def misbehave(connection: RawConnection) -> list[int]:
        connection.send(request)
        connection.socket.shutdown(socket.SHUT_WR)
        statuses = [connection.receive().status for _ in range(responses)]
        assert connection.is_closed()
        return statuses

    return misbehave


def leave(request: bytes) -> Callable[[RawConnection], list[int]]:
    """Send a request, and close the connection."""
    return send(request, responses=0)


def reset(request: bytes) -> Callable[[RawConnection], list[int]]:
    """Send a request, and reset the connection."""

    def misbehave(connection: RawConnection) -> list[int]:
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.send(request)
        return []

    return misbehave


def send_noise(connection: RawConnection) -> list[int]:
    """Send random bytes behind a method, until the server closes the connection."""
    noise = np.random.default_rng(connection.socket.getsockname()[1]).bytes(20_000)
    with suppress(OSError):
        connection.send(b"GET " + noise)
    return [connection.receive().status]


MISBEHAVIOURS: dict[str, tuple[Callable[[RawConnection], list[int]], list[int]]] = {
    "WebSocket handshake": (send(GET_HEALTH.replace(b"Host", HANDSHAKE)), [403]),
    "WebSocket handshake on /predict": (send(PREDICT.replace(b"POST", b"GET").replace(b"Host", HANDSHAKE)), [403]),
    "h2c": (send(PREDICT.replace(b"Host", H2C)), [200]),
    "HTTP/2": (send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9)), [505]),
    "no Host": (send(b"GET / HTTP/1.1\r\n\r\n"), [400]),
    "two Hosts": (send(GET_HEALTH.replace(b"Host", b"Host: x\r\nHost")), [400]),
    "two keys": (send(PREDICT.replace(b"Host", b"Authorization: a\r\nAuthorization: b\r\nHost")), [400]),
    "absolute form": (send(PREDICT.replace(b"/predict", b"http://x/predict")), [200]),
    "unknown transfer coding": (send(HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), [501]),
    "two lengths": (send(PREDICT_CHUNKED.replace(b"Host", b"Content-Length: 5\r\nHost")), [400]),
    "no HTTP, in pieces": (send(b"hello\r\n\r\n", *[bytes(1000)] * 20), [400]),
    "noise": (send_noise, [400]),
    "late head": (send(HEAD), [408]),
    "late body": (send(PREDICT[:-1]), [408]),
    "body of a GET in pieces": (
        send(b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\n", b"abc", b"def", PREDICT, responses=2),
        [200, 200],
    ),
    "too large a body": (send(with_body(bytes(3_000_000))), [413]),
    "65 KiB and more pipelined": (
        send(PREDICT_PHOTOGRAPH + GET_HEALTH * 3_000 + PREDICT, responses=3_002),
        [200] * 3_002,
    ),
    "half-closed": (half_close(PREDICT), [200]),
    "half-closed, slow": (half_close(PREDICT_PHOTOGRAPH + PREDICT, responses=2), [200, 200]),
    "half-closed in a head": (half_close(HEAD), [400]),
    "half-closed in a body": (half_close(PREDICT_CHUNKED[:-9]), [400]),
    "left at once": (leave(b""), []),
    "left in a head": (leave(HEAD), []),
    "left in a body": (leave(PREDICT[:-9]), []),
    "left before the response": (leave(PREDICT_PHOTOGRAPH), []),
    "reset between two": (reset(PREDICT * 2), []),
    "reset between two slow ones": (reset(PREDICT_PHOTOGRAPH * 2), []),
    "reset in a body": (reset(PREDICT[:-9]), []),
}
"""What a client does, and the statuses that it gets."""


class GoodClients:
    """Clients that post predictions all the time, half of them on one connection each."""

    def __init__(self, server: Server) -> None:
        self._server, self._is_over = server, threading.Event()
        self.sent, self.lost = Counter[str](), Counter[str]()

    def post_on_one_connection(self) -> None:
        """Post predictions on a connection that is kept, until `stop`."""
        with connect(self._server) as connection:
            while not self._is_over.is_set():
                self._post("kept", connection)

    def post_on_new_connections(self) -> None:
        """Post each prediction on a connection of its own, until `stop`."""
        while not self._is_over.is_set():
            with connect(self._server) as connection:
                self._post("new", connection)

    def _post(self, kind: str, connection: RawConnection) -> None:
        self.sent[kind] += 1
        try:
            status = connection.request(PREDICT).status
        except (OSError, AssertionError, KeyError):  # no response, or an incomplete one
            status = 0
        self.lost[kind] += status != 200

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the clients for the time of a block."""
        with ThreadPoolExecutor(2 * GOOD_CLIENTS) as pool:
            for _ in range(GOOD_CLIENTS):
                pool.submit(self.post_on_one_connection)
                pool.submit(self.post_on_new_connections)
            try:
                yield
            finally:
                self._is_over.set()


@pytest.fixture(scope="module")
def server(one_version: Path) -> Iterator[Server]:
    with serving(
        model_dir=one_version, workers=2, max_body_bytes=MAX_BODY_BYTES, receive_timeout_seconds=2, max_in_flight=1_000
    ) as running:
        yield running


def test_clients_that_behave_lose_nothing_to_clients_that_do_not(server: Server) -> None:
    def misbehave(kind: str) -> list[int]:
        with connect(server) as connection:
            return MISBEHAVIOURS[kind][0](connection)

    good, kinds = GoodClients(server), list(MISBEHAVIOURS) * TIMES
    with good.running(), ThreadPoolExecutor(16) as pool:
        found = list(zip(kinds, pool.map(misbehave, kinds), strict=True))
    wrong = Counter(kind for kind, statuses in found if statuses != MISBEHAVIOURS[kind][1])
    for kind in MISBEHAVIOURS:
        print(f"{kind:33} sent {TIMES}, unexpected {wrong[kind]}")
    for kind, sent in good.sent.items():
        print(f"predictions, {kind + ' connections':20} sent {sent}, lost {good.lost[kind]}")
    assert not wrong
    assert min(good.sent["kept"], good.sent["new"]) > TIMES
    assert good.lost.total() == 0
    assert "Traceback" not in server.log
    assert "ERROR" not in server.log
    assert server.log.count("Booting worker") == 2
