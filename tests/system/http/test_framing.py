"""Where one request ends and the next begins, RFC 9112: pieces, pipelines, chunks, lengths, and what is no request.

The server has one worker, so that a response to another connection shows that the worker has read what was sent before.
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from tests.service.payloads import encode, stroke
from tests.system.http.raw_http import (
    GET_HEALTH,
    HEAD,
    PICTURE,
    PREDICT,
    PREDICT_CHUNKED,
    PREDICT_PHOTOGRAPH,
    RawConnection,
    connect,
    wait_until_read,
    with_body,
)
from tests.system.server import Server, serving

MAX_BODY_BYTES = 50_000


@pytest.fixture(scope="module")
def server(one_version: Path) -> Iterator[Server]:
    with serving(model_dir=one_version, workers=1, max_body_bytes=MAX_BODY_BYTES) as running:
        yield running
    assert "Traceback" not in running.log


def test_pipelined_requests_are_answered_in_order(connection: RawConnection) -> None:
    connection.send(PREDICT + GET_HEALTH + PREDICT.replace(b"/predict", b"/predict?fields=digit"))
    full, health, digit = (connection.receive() for _ in range(3))
    assert [full.status, health.status, digit.status] == [200] * 3
    assert health.body == b'{"status":"alive"}\n'
    assert len(full.body) > len(digit.body)


def test_responses_are_in_order_when_an_earlier_request_takes_longer(server: Server, connection: RawConnection) -> None:
    """Each request is sent before the response to the one before it; fast path, slow requests and another route."""
    unusual = PREDICT.replace(b"Host", b"X-Unusual: 1\r\nHost")
    requests = [PREDICT_PHOTOGRAPH, PREDICT, GET_HEALTH, PREDICT_PHOTOGRAPH, unusual, PREDICT, PREDICT_PHOTOGRAPH]
    requests += [GET_HEALTH, PREDICT_PHOTOGRAPH]
    with connect(server) as another:
        one_by_one = [another.request(request) for request in requests]
    for request in requests:
        connection.send(request)
        wait_until_read(server)
    assert [connection.receive() for _ in requests] == one_by_one


def test_empty_line_in_a_body_does_not_begin_another_request(server: Server, connection: RawConnection) -> None:
    """The last byte of a head arrives together with a body that looks like the end of one.

    The data behind that empty line has the length that the head declares.
    """
    body = b"\r\n\r\n" + PICTURE
    connection.send(HEAD + b"Content-Length: %d\r\n\r" % len(body))
    wait_until_read(server)
    connection.send(b"\n" + body + PREDICT[:4])
    assert connection.receive().status == 415
    assert connection.request(PREDICT[4:]).status == 200


def test_requests_cut_into_any_pieces_get_the_same_responses(server: Server) -> None:
    """Pipelined requests, some with bodies that look like heads, cut near the ends of heads and at random."""
    hidden = b"\r\n\r\nPOST /predict HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
    expected: list[tuple[bytes, int]] = [
        (PREDICT, 200),
        (with_body(hidden, b"GET /healthz HTTP/1.1\r\nHost: x\r\n"), 200),
        (PREDICT_CHUNKED.replace(b"POST /predict", b"DELETE http://y/healthz"), 405),
        (with_body(hidden), 415),
        (b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (with_body(b"\r\n\r\n", HEAD.replace(b"/png", b"/png\r\nX-Unusual: POST /predict")), 415),
        (with_body(b"\n\r\n\r\nx"), 415),
        (PREDICT_CHUNKED, 200),
        (PREDICT, 200),
    ]
    stream = b"".join(request for request, _ in expected)
    random = np.random.default_rng(0)
    near_ends = [end.end() - back for end in re.finditer(rb"\r\n\r\n", stream) for back in range(5)]
    for _ in range(60):
        cuts = sorted({*random.choice(near_ends, 6).tolist(), *random.integers(1, len(stream), 2).tolist()})
        with connect(server) as connection:
            for start, end in pairwise([0, *cuts, len(stream)]):
                connection.send(stream[start:end])
                wait_until_read(server)
            found = [connection.receive().status for _ in expected]
        assert found == [status for _, status in expected], cuts


PREDICT_REQUESTS = {
    "a picture": PREDICT,
    "one field": PREDICT.replace(b"/predict", b"/predict?fields=digit"),
    "an unknown field": PREDICT.replace(b"/predict", b"/predict?fields=colour"),
    "text": with_body(b"hello"),
    "no body": with_body(b""),
    "too large a body": with_body(bytes(MAX_BODY_BYTES + 1)),
    "a picture as JSON": PREDICT.replace(b"image/png", b"application/json"),
    "a large picture": with_body(encode(np.pad(stroke(), 100))),
}


@pytest.mark.parametrize("kind", PREDICT_REQUESTS)
def test_fast_path_and_gunicorn_return_the_same_response(connection: RawConnection, kind: str) -> None:
    """An unusual header takes a request off the fast path."""
    responses = [
        connection.request(PREDICT_REQUESTS[kind].replace(b"Host: x", b"Host: x\r\n" + header))
        for header in (b"X-Request-Id: 1", b"X-Unusual: 1", b"X-Request-Id: 2")
    ]
    assert responses == [responses[0]] * 3


def test_reads_a_body_in_many_chunks(connection: RawConnection) -> None:
    connection.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    for start in range(0, len(PICTURE), 50):
        chunk = PICTURE[start : start + 50]
        connection.send(b"%x\r\n%b\r\n" % (len(chunk), chunk))
    assert connection.request(b"0\r\n\r\n").status == 200


def test_expect_100_continue_is_answered_before_the_body(connection: RawConnection) -> None:
    connection.send(HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(PICTURE))
    assert connection.receive_line() + connection.receive_line() == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert connection.request(PICTURE).status == 200


def test_expect_100_continue_with_too_large_a_body_gets_413_instead(connection: RawConnection) -> None:
    response = connection.request(HEAD + b"Expect: 100-continue\r\nContent-Length: 50001\r\n\r\n")
    assert (response.status, response.body) == (413, b'{"error":"the body has 50001 bytes; 50000 are allowed"}\n')


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/model"])
def test_head_returns_the_headers_of_get_without_a_body(connection: RawConnection, path: str) -> None:
    get, head = (
        connection.request(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), method)
        for method in ("GET", "HEAD")
    )
    assert (head.status, head.headers) == (get.status, get.headers)
    assert len(get.body) == int(get.headers["Content-Length"]) > 0
    assert connection.request(GET_HEALTH).status == 200, "nothing followed the head"


PHRASES = {
    400: "Bad Request",
    413: "Payload Too Large",
    414: "URI Too Long",
    431: "Request Header Fields Too Large",
    501: "Not Implemented",
    505: "HTTP Version Not Supported",
}
INVALID_REQUESTS = {
    "no HTTP": (b"hello\r\n\r\n", 400),
    "no version": (b"GET /healthz\r\n\r\n", 400),
    "space in a header's name": (b"GET /healthz HTTP/1.1\r\nHo st: x\r\n\r\n", 400),
    "two lengths": (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 400),
    "negative length": (HEAD + b"Content-Length: -1\r\n\r\n", 400),
    "length and chunks": (HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "chunk without a size": (HEAD + b"Transfer-Encoding: chunked\r\n\r\nz\r\n", 400),
    "long request line": (b"GET /" + b"x" * 10_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    "long header": (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", 431),
    "many headers": (b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431),
    "HTTP/2 without asking": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), 505),
    "a later version": (GET_HEALTH.replace(b"HTTP/1.1", b"HTTP/2.0"), 505),
    "another protocol": (GET_HEALTH.replace(b"HTTP/1.1", b"FTP/1.1"), 400),
    "no Host": (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
    "no Host on the fast path": (PREDICT.replace(b"Host: x\r\n", b""), 400),
    "two Hosts": (b"GET /healthz HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400),
    "an invalid Host": (GET_HEALTH.replace(b"Host: x", b"Host: a b"), 400),
    "an invalid Host on the fast path": (PREDICT.replace(b"Host: x", b"Host: a/b"), 400),
    "an invalid Host in HTTP/1.0": (b"GET /healthz HTTP/1.0\r\nHost: a@b\r\n\r\n", 400),
    "an absolute form of another scheme": (GET_HEALTH.replace(b"/healthz", b"ftp://x/healthz"), 400),
    "an absolute form without a host": (GET_HEALTH.replace(b"/healthz", b"http:///healthz"), 400),
    "two keys": (PREDICT.replace(b"Host", b"Authorization: Bearer a\r\nAuthorization: Bearer a\r\nHost"), 400),
    "a coding before chunks": (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    "a coding in a header of its own": (
        HEAD + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        501,
    ),
    "an unknown coding": (HEAD + b"Transfer-Encoding: foo\r\n\r\n", 501),
    "a length and an unknown coding": (HEAD + b"Content-Length: 5\r\nTransfer-Encoding: gzip\r\n\r\nhello", 400),
    "a length and a body that no route reads": (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 50001\r\n\r\n", 413),
    "chunks that no route reads": (
        b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nc351\r\n" + bytes(50_001),
        413,
    ),
}


@pytest.mark.parametrize("kind", INVALID_REQUESTS)
def test_invalid_request_gets_an_error_as_json_and_the_connection_is_closed(
    connection: RawConnection, kind: str
) -> None:
    data, status = INVALID_REQUESTS[kind]
    response = connection.request(data)
    assert (response.status, response.phrase) == (status, PHRASES[status])
    assert response.body.startswith(b'{"error":"')
    assert response.headers["Connection"] == "close"
    assert connection.is_closed()


def test_invalid_request_in_several_pieces_gets_its_error(server: Server, connection: RawConnection) -> None:
    """The client reads only after it has sent everything: the server must not reset the connection meanwhile."""
    connection.send(b"hello\r\n\r\n")
    for _ in range(20):
        wait_until_read(server)
        connection.send(bytes(10_000))
    response = connection.receive()
    assert (response.status, connection.is_closed()) == (400, True)


def test_invalid_request_behind_a_slow_one_gets_its_error_after_the_response(connection: RawConnection) -> None:
    connection.send(PREDICT_PHOTOGRAPH + b"hello\r\n\r\n" + bytes(100_000))
    assert [connection.receive().status for _ in range(2)] == [200, 400]
    assert connection.is_closed()


def test_chunk_that_is_invalid_ends_the_request_that_it_belongs_to(connection: RawConnection) -> None:
    connection.send(PREDICT_CHUNKED[:-7])
    assert connection.request(b"\r\nz\r\n").status == 400
    assert connection.is_closed()


HANDSHAKE = (
    b"GET %b HTTP/1.1\r\nHost: x\r\nUpgrade: %b\r\nConnection: %b\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
NO_WEBSOCKET = b'{"error":"the service has no WebSocket; send the request without the header Upgrade"}\n'


@pytest.mark.parametrize("path", [b"/", b"/healthz", b"/predict", b"/metrics", b"/docs", b"/nowhere", b"http://x/"])
def test_websocket_handshake_is_refused_on_every_path(connection: RawConnection, path: bytes) -> None:
    """Bytes of the WebSocket protocol that follow are not read as requests."""
    response = connection.request(HANDSHAKE % (path, b"websocket", b"Upgrade") + b"\x81\x85\0\0\0\0hello")
    assert (response.status, response.body) == (403, NO_WEBSOCKET)
    assert connection.is_closed()


@pytest.mark.parametrize(
    "handshake",
    [
        HANDSHAKE % (b"/", b"WebSocket", b"keep-alive, upgrade"),
        HANDSHAKE % (b"/", b"h2c, websocket/13", b"Upgrade"),
        (HANDSHAKE % (b"/", b"websocket", b"Upgrade")).replace(b"Sec-WebSocket-Key", b"X-Key"),
        (HANDSHAKE % (b"/", b"websocket", b"Upgrade")).replace(b": 13", b": 8"),
    ],
    ids=["other letters", "one of several protocols", "no key", "another version"],
)
def test_websocket_handshake_is_refused_in_every_form(connection: RawConnection, handshake: bytes) -> None:
    response = connection.request(handshake)
    assert (response.status, response.body) == (403, NO_WEBSOCKET)


H2C = b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\nHost"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (GET_HEALTH.replace(b"Host", H2C), 200),
        (PREDICT.replace(b"Host", H2C), 200),
        (b"POST /nowhere HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\nHost: x\r\n\r\n", 404),
        (GET_HEALTH.replace(b"Host", b"Upgrade: websocket\r\nHost"), 200),
    ],
    ids=["h2c", "h2c with a body", "a WebSocket by POST", "an Upgrade that Connection does not name"],
)
def test_other_upgrades_are_ignored(connection: RawConnection, request_: bytes, status: int) -> None:
    assert connection.request(request_).status == status
    assert connection.request(GET_HEALTH).status == 200


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (PREDICT.replace(b"/predict", b"http://digits:80/predict?fields=digit"), 200),
        (PREDICT.replace(b"/predict", b"HTTPS://digits/predict?fields=digit&split=x"), 400),
        (GET_HEALTH.replace(b"/healthz", b"http://[::1]:8000/healthz"), 200),
        (GET_HEALTH.replace(b"/healthz", b"http://x/no%77here"), 404),
        (GET_HEALTH.replace(b"/healthz", b"http://x"), 200),
    ],
    ids=["predict", "a wrong parameter", "an address", "no such route", "no path"],
)
def test_absolute_form_is_accepted(connection: RawConnection, request_: bytes, status: int) -> None:
    response = connection.request(request_)
    assert response.status == status
    assert b"http" not in response.body[:100] or b"<!doctype html" in response.body[:100].lower()
    assert connection.request(GET_HEALTH).status == 200


def test_host_is_checked_on_every_request_of_a_connection(connection: RawConnection) -> None:
    """And need not be the first header."""
    assert [connection.request(PREDICT).status for _ in range(2)] == [200, 200]
    last = PREDICT.replace(b"Host: x\r\n", b"").replace(b"\r\n\r\n", b"\r\nHost: y\r\n\r\n", 1)
    assert [connection.request(last).status for _ in range(2)] == [200, 200]
    assert connection.request(PREDICT.replace(b"Host: x", b"Host: x/y")).status == 400
    assert connection.is_closed()


def test_http_1_0_needs_no_host(connection: RawConnection) -> None:
    connection.send(b"GET /healthz HTTP/1.0\r\n\r\n")
    assert connection.receive_line() == b"HTTP/1.0 200 OK\r\n"


def test_any_number_of_pipelined_requests_is_answered_in_order(connection: RawConnection) -> None:
    """Half a mebibyte behind a slow request; more than a worker keeps of it, so TCP holds the client back."""
    paths = [b"/healthz", b"/readyz", b"/nowhere"]
    requests = [GET_HEALTH.replace(b"/healthz", paths[number % 3]) for number in range(3_000)]
    padded = [
        request.replace(b"Host", b"X-Padding: " + bytes(150).replace(b"\0", b"x") + b"\r\nHost") for request in requests
    ]
    sender = Thread(target=connection.send, args=(PREDICT_PHOTOGRAPH + b"".join(padded) + PREDICT,))
    sender.start()
    statuses = [connection.receive().status for _ in range(len(requests) + 2)]
    sender.join()
    assert statuses == [200, *[200, 200, 404] * 1_000, 200]


@pytest.mark.parametrize("method", ["GET", "DELETE", "HEAD", "OPTIONS", "TRACE"])
def test_body_that_no_route_reads_may_arrive_in_pieces(server: Server, connection: RawConnection, method: str) -> None:
    """It looks like a request, and is none."""
    head = f"{method} /healthz HTTP/1.1\r\nHost: x\r\n".encode()
    for request in (
        head + b"Content-Length: %d\r\n\r\n" % len(PREDICT) + PREDICT,
        head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(PREDICT), PREDICT),
    ):
        cuts = [0, len(head) - 2, len(request) - len(PREDICT), len(request) - 20, len(request)]
        for start, end in pairwise(cuts):
            connection.send(request[start:end])
            wait_until_read(server)
        assert connection.receive(method).status == {"GET": 200, "HEAD": 200, "OPTIONS": 200}.get(method, 405)
    assert connection.request(PREDICT).status == 200


def test_body_that_no_route_reads_may_be_announced(connection: RawConnection) -> None:
    connection.send(GET_HEALTH.replace(b"Host", b"Expect: 100-continue\r\nContent-Length: 5\r\nHost"))
    assert connection.receive_line() + connection.receive_line() == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert connection.request(b"hello").status == 200
    assert connection.request(GET_HEALTH).status == 200


def test_response_before_the_end_of_a_long_request_announces_that_the_connection_is_closed(
    connection: RawConnection,
) -> None:
    response = connection.request(HEAD + b"Content-Length: 100000\r\n\r\nx")
    assert (response.status, response.headers["Connection"]) == (413, "close")


def test_short_body_is_discarded_after_its_response_and_the_connection_kept(connection: RawConnection) -> None:
    response = connection.request(HEAD + b"Content-Length: 50001\r\n\r\nx")
    assert (response.status, response.headers.get("Connection")) == (413, None)
    assert connection.request(bytes(50_000) + PREDICT).status == 200


def test_client_that_sends_all_of_too_large_a_body_still_reads_the_response(connection: RawConnection) -> None:
    """It reads nothing before it has sent everything: the response must not be lost when the connection is closed."""
    response = connection.request(with_body(bytes(3_000_000)))
    assert (response.status, response.body) == (413, b'{"error":"the body has 3000000 bytes; 50000 are allowed"}\n')


def test_chunked_body_is_limited_while_it_is_received(connection: RawConnection) -> None:
    """Three chunks of 50,000 bytes, and no end."""
    chunks = b"c350\r\n%b\r\n" % bytes(50_000) * 3
    response = connection.request(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
    assert (response.status, response.body) == (
        413,
        b'{"error":"the body has more than 50000 bytes; 50000 are allowed"}\n',
    )


def test_body_in_too_many_pieces_is_rejected(one_version: Path) -> None:
    """A chunk of one byte costs the service 3 us and the memory of an object, of any size."""
    sentence = b'{"error":"the body arrives in more than 65536 pieces; send larger chunks"}\n'
    with serving(model_dir=one_version, workers=1) as server:
        for line in (b"POST /predict", b"POST /", b"GET /healthz"):
            with connect(server) as connection:
                head = line + b" HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
                connection.send(head + b"1\r\nx\r\n" * 70_000)
                response = connection.receive()
                assert (response.status, response.headers["Connection"], response.body) == (413, "close", sentence)
        assert server.predict(PICTURE).status_code == 200
    assert "Traceback" not in server.log
