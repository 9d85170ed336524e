"""Requests that are not what the service speaks: other protocols, broken framing, hostile routes and queries."""

from collections.abc import Mapping

import numpy as np

from bench.chaos.connections import post
from bench.chaos.registry import CLIENT_ERRORS, Act, Victim, misbehaviour
from bench.request_bodies import PNG_FILE

PICTURE_HEADERS = f"Content-Type: image/png\r\nContent-Length: {len(PNG_FILE)}\r\n"
WEBSOCKET = (
    "Host: chaos\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
H2C = "Host: chaos\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
REJECTED = CLIENT_ERRORS | {"501", "505"}


def _head(start: str, headers: str = "Host: chaos\r\n") -> bytes:
    return f"{start} HTTP/1.1\r\n{headers}\r\n".encode("latin-1")


def _predict(headers: str, target: str = "/predict") -> bytes:
    return _head(f"POST {target}", headers + PICTURE_HEADERS) + PNG_FILE


REQUESTS: Mapping[str, tuple[bytes, frozenset[str]]] = {
    "WebSocket handshake on /": (_head("GET /", WEBSOCKET), CLIENT_ERRORS | {"200"}),
    "WebSocket handshake on /predict": (_head("GET /predict", WEBSOCKET), CLIENT_ERRORS),
    "WebSocket handshake on /metrics": (_head("GET /metrics", WEBSOCKET), CLIENT_ERRORS | {"200"}),
    "h2c upgrade": (_head("GET /healthz", H2C), CLIENT_ERRORS | {"200"}),
    "h2c upgrade with a picture": (_predict(H2C), CLIENT_ERRORS | {"200"}),
    "HTTP/2 with prior knowledge": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), REJECTED),
    "TLS ClientHello": (bytes.fromhex("16030100a5010000a10303") + bytes(160) + b"\r\n\r\n", REJECTED | {"closed"}),
    "no Host": (_predict(""), frozenset({"400"})),
    "two Hosts": (_predict("Host: chaos\r\nHost: other\r\n"), frozenset({"400"})),
    "absolute form": (_predict("Host: chaos\r\n", "http://chaos/predict"), frozenset({"200"})),
    "Transfer-Encoding: gzip, chunked": (
        _head("POST /predict", "Host: chaos\r\nTransfer-Encoding: gzip, chunked\r\n") + b"0\r\n\r\n",
        frozenset({"501"}),
    ),
    "length and chunks": (
        _predict("Host: chaos\r\nTransfer-Encoding: chunked\r\n"),
        frozenset({"400"}),
    ),
    "two lengths": (_predict("Host: chaos\r\nContent-Length: 1\r\n"), frozenset({"400"})),
    "negative length": (_head("POST /predict", "Host: chaos\r\nContent-Length: -1\r\n"), frozenset({"400"})),
    "length of 30 digits": (
        _head("POST /predict", f"Host: chaos\r\nContent-Length: {'9' * 30}\r\n"),
        frozenset({"400", "413"}),
    ),
    "bad chunk size": (
        _head("POST /predict", "Host: chaos\r\nTransfer-Encoding: chunked\r\n") + b"xyz\r\n",
        frozenset({"400"}),
    ),
    "head of 100 KB": (_head("GET /healthz", f"Host: chaos\r\nX: {'x' * 100_000}\r\n"), REJECTED),
    "1,000 headers": (_head("GET /healthz", "Host: chaos\r\n" + "X: x\r\n" * 1000), REJECTED),
    "request line of 100 KB": (_head(f"GET /{'x' * 100_000}"), REJECTED),
    "path out of the static files": (_head("GET /static/../../../../etc/passwd"), CLIENT_ERRORS),
    "two Authorization headers": (
        _predict("Host: chaos\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n"),
        CLIENT_ERRORS,
    ),
    "unknown value in the query": (_predict("Host: chaos\r\n", "/predict?split=nothing"), frozenset({"400"})),
    "query of 10,000 names": (
        _predict("Host: chaos\r\n", "/predict?" + "&".join("a=b" for _ in range(3000))),
        REJECTED,
    ),
    "unknown method": (_head("BREW /predict"), REJECTED),
    "unknown route": (post("/v9/models/digits:predict", "application/json", b"{}"), frozenset({"404"})),
}
"""Name -> (bytes, expected ends)."""


def _sender(request: bytes) -> Act:
    def send(victim: Victim) -> str:
        with victim.connect() as connection:
            return connection.request(request)

    return send


for _name, (_request, _expected) in REQUESTS.items():
    misbehaviour(_name, "requests", _expected, pause_seconds=1)(_sender(_request))


@misbehaviour("random bytes", "requests", REJECTED | {"closed"}, pause_seconds=0.3)
def send_random_bytes(victim: Victim) -> str:
    """Send some random bytes, and close the sending half."""
    with victim.connect() as connection:
        connection.send(np.random.default_rng().bytes(500) + b"\r\n\r\n")
        connection.finish_sending()
        return connection.receive()


@misbehaviour("mutated head", "requests", CLIENT_ERRORS | {"200", "501", "505", "closed"}, pause_seconds=0.1)
def send_mutated_head(victim: Victim) -> str:
    """Change three bytes of the head of a valid request, and close the sending half."""
    random = np.random.default_rng()
    request = bytearray(_predict("Host: chaos\r\n"))
    for _ in range(3):
        request[int(random.integers(len(request) - len(PNG_FILE)))] = int(random.integers(256))
    with victim.connect() as connection:
        connection.send(bytes(request))
        connection.finish_sending()
        return connection.receive()


@misbehaviour("GET with a body in pieces", "requests", ("200", "400", "413"), pause_seconds=0.5)
def send_body_with_get(victim: Victim) -> str:
    """Send a body on GET in two pieces, and another request after it: both get a response, or the first announces."""
    with victim.connect() as connection:
        connection.send(_head("GET /healthz", "Host: chaos\r\nContent-Length: 2\r\n") + b"a")
        victim.pause(0.02)
        connection.send(b"b")
        return connection.receive()
