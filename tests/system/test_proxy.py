"""The proxy under a real nginx: limits of time and of each client, a full store, and every error of nginx as JSON.

They are skipped, with the reason, if nginx or its Lua module is not installed.
"""

import json
import select
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.system.http.raw_http import RawConnection, Response, with_body
from tests.system.proxy import PATIENCE, Proxy, running_proxy, skip_without_nginx

pytestmark = pytest.mark.nginx

Start = Callable[..., Proxy]
HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
HOLD = b"POST /hold HTTP/1.1\r\nHost: x\r\n"
LARGE = bytes(70_000)
TOO_MANY = "your address has {} requests or {} uploads in flight, which is the limit"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a proxy with these variables of its container."""
    skip_without_nginx()
    with ExitStack() as running:
        yield lambda **environment: running.enter_context(running_proxy(tmp_path, **environment))


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy with the limits of the container's image, but for bodies of at most 1 MiB."""
    skip_without_nginx()
    with running_proxy(tmp_path_factory.mktemp("proxy")) as running:
        yield running


def error_of(response: Response) -> str:
    """The sentence of an error, whose headers are those of the service's errors."""
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "no-store"
    assert ("Retry-After" in response.headers) == (response.status in {429, 503})
    document = json.loads(response.body)
    assert list(document) == ["error"]
    return str(document["error"])


def send_slowly(connection: RawConnection, piece: bytes, seconds: float = 0.2) -> Response:
    """Send a piece now and then until there is a response."""
    for _ in range(500):
        if select.select([connection.socket], [], [], seconds)[0]:
            return connection.receive()
        connection.send(piece)
    raise AssertionError("no response to 500 pieces")


@pytest.mark.parametrize("body", [b"x", LARGE, bytes(1 << 20)])
def test_passes_a_body_as_it_is(proxy: Proxy, body: bytes) -> None:
    with proxy.connect() as connection:
        for request in (with_body(body, HEAD), HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(body)):
            response = connection.request(request)
            assert (response.status, json.loads(response.body)) == (200, {"bytes": len(body)})
            assert "X-Content-Type-Options" not in response.headers, "the headers are those of the service"
    path, length, headers = proxy.replica.received[-1]
    assert (path, length, headers["Content-Length"]) == ("/predict", len(body), str(len(body)))


def chunked(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (HEAD + b"Content-Length: 100000\r\n\r\n", b"x"),
        (HEAD + b"Content-Length: 600\r\n\r\n", b"x"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 600\r\n\r\n", b"x"),
    ],
    ids=["large", "small", "chunked", "of a GET"],
)
def test_a_body_that_does_not_arrive_in_time_as_a_whole_is_408(start: Start, head: bytes, piece: bytes) -> None:
    """Each piece arrives within the limit; before, such a client was never ended."""
    proxy = start(DIGITS_RECEIVE_TIMEOUT_SECONDS=2)
    with proxy.connect() as connection:
        connection.send(head)
        response = send_slowly(connection, piece)
        assert (response.status, error_of(response)) == (408, "the body did not arrive within 2 seconds")
        assert response.headers["Connection"] == "close"
    assert proxy.replica.received == [], "no replica has seen it"
    with proxy.connect() as connection:
        assert connection.request(with_body(b"x", HEAD)).status == 200
    assert list((proxy.directory / "body").iterdir()) == []


def test_a_head_that_does_not_arrive_in_time_as_a_whole_is_closed(start: Start) -> None:
    with start(DIGITS_RECEIVE_TIMEOUT_SECONDS=1).connect() as connection:
        connection.send(HEAD + b"X: ")
        for _ in range(500):
            if select.select([connection.socket], [], [], 0.2)[0]:
                break
            connection.send(b"x")
        assert connection.is_closed()


@pytest.mark.parametrize("size", [1, 70_000, 1 << 20])
def test_a_request_that_a_replica_fails_to_answer_is_sent_to_the_next_one(start: Start, size: int) -> None:
    proxy = start()
    with proxy.connect() as connection:
        response = connection.request(with_body(bytes(size), b"POST /fail HTTP/1.1\r\nHost: x\r\n"))
    assert (response.status, json.loads(response.body)) == (200, {"bytes": size})
    assert [(path, length) for path, length, _ in proxy.replica.received] == [("/fail", size)] * 2


def test_requests_of_one_client_are_limited(start: Start) -> None:
    proxy = start(PROXY_CONNECTIONS_PER_CLIENT=2)
    with ExitStack() as open_connections:
        held = [open_connections.enter_context(proxy.connect()) for _ in range(2)]
        for connection in held:
            connection.send(with_body(b"x", HOLD))
            assert proxy.replica.holding.acquire(timeout=PATIENCE)
        with proxy.connect() as connection:
            response = connection.request(with_body(b"x", HEAD))
            assert (response.status, error_of(response)) == (429, TOO_MANY.format(2, 16))
            assert response.headers["Retry-After"] == "1"
        proxy.replica.released.set()
        assert [connection.receive().status for connection in held] == [200, 200]
        assert [connection.request(with_body(b"x", HEAD)).status for connection in held] == [200, 200]


def test_uploads_of_one_client_are_limited_and_small_bodies_are_not(start: Start) -> None:
    proxy = start(PROXY_UPLOADS_PER_CLIENT=1)
    with proxy.connect() as uploading, proxy.connect() as connection:
        uploading.send(with_body(LARGE, HOLD))
        assert proxy.replica.holding.acquire(timeout=PATIENCE)
        assert connection.request(with_body(LARGE[1:], HEAD)).status == 200
        for request in (with_body(LARGE, HEAD), HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(b"x")):
            with proxy.connect() as other:
                response = other.request(request)
                assert (response.status, error_of(response)) == (429, TOO_MANY.format(100, 1))
        proxy.replica.released.set()
        assert uploading.receive().status == 200
        assert uploading.request(with_body(LARGE, HEAD)).status == 200


def test_a_full_store_of_bodies_is_503(start: Start) -> None:
    proxy = start(max_file_blocks=200)
    with proxy.connect() as connection:
        response = connection.request(with_body(bytes(500_000), HEAD))
        assert response.status == 503
        assert error_of(response) == "the proxy has no storage left for the request; send it again"
        assert response.headers["Retry-After"] == "1"
    with proxy.connect() as connection:
        assert connection.request(with_body(bytes(10_000), HEAD)).status == 200, "what fits is still passed"
    assert [path for path, _, _ in proxy.replica.received] == ["/predict"]


BAD_REQUEST = "the request is not valid HTTP, or a header line is longer than 8192 bytes"
ERRORS = {
    b"GET / HTTP/2.0\r\nHost: x\r\n\r\n": (505, "the HTTP version is not supported; use HTTP/1.1"),
    b"GET / HTTP/9.9\r\nHost: x\r\n\r\n": (505, "the HTTP version is not supported; use HTTP/1.1"),
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n": (400, BAD_REQUEST),
    b"GET / HTTP/x\r\nHost: x\r\n\r\n": (400, BAD_REQUEST),
    b"GET / HTTP/1.1\r\n\r\n": (400, BAD_REQUEST),
    b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n": (400, BAD_REQUEST),
    b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n": (400, BAD_REQUEST),
    b"get / HTTP/1.1\r\nHost: x\r\n\r\n": (400, BAD_REQUEST),
    b"\x16\x03\x01\x02\r\n\r\n": (400, BAD_REQUEST),
    HEAD + b"Content-Length: x\r\n\r\n": (400, BAD_REQUEST),
    HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n": (400, BAD_REQUEST),
    HEAD + b"Transfer-Encoding: chunked\r\n\r\nx\r\n": (400, BAD_REQUEST),
    HEAD + b"X: " + b"x" * 9000 + b"\r\n\r\n": (400, BAD_REQUEST),
    HEAD + b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n": (400, BAD_REQUEST),
    b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n": (414, "the request line is longer than 8192 bytes"),
    b"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n": (405, "no route allows TRACE; use GET, HEAD, POST or OPTIONS"),
    b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n": (400, BAD_REQUEST),
    b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n": (404, "there is no route /metrics"),
    b"GET /_errors/ HTTP/1.1\r\nHost: x\r\n\r\n": (404, "there is no route /_errors"),
    b"GET /_errors/unavailable HTTP/1.1\r\nHost: x\r\n\r\n": (404, "there is no route /_errors"),
    HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n": (501, "the transfer encoding is not supported; use chunked"),
    HEAD + b"Content-Length: 1048577\r\n\r\n": (413, "the body has 1048577 bytes; 1048576 are allowed"),
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(bytes((1 << 20) + 1)): (
        413,
        "the body has more than 1048576 bytes; 1048576 are allowed",
    ),
}


@pytest.mark.parametrize("request_bytes", ERRORS, ids=lambda request_bytes: request_bytes[:60].decode("latin-1"))
def test_every_error_of_nginx_is_json(proxy: Proxy, request_bytes: bytes) -> None:
    before = len(proxy.replica.received)
    with proxy.connect() as connection:
        response = connection.request(request_bytes)
    assert (response.status, error_of(response)) == ERRORS[request_bytes]
    assert len(proxy.replica.received) == before


def test_a_replica_that_is_down_is_503(start: Start) -> None:
    proxy = start()
    proxy.replica.shutdown()
    proxy.replica.server_close()
    with proxy.connect() as connection:
        response = connection.request(with_body(b"x", HEAD))
    assert response.status == 503
    assert error_of(response) == "no replica of the service is available, or none responded within 120 seconds"
