"""More predict requests than the limit: rejected with 429, cheaply, without loss of connections or order.

The limit is one request in flight. A form of large pictures, which take a process some hundredths of a second each,
is the request that is in flight.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest

from service.server.load_shedding import MAX_REJECTIONS_PER_SECOND
from tests.service.payloads import encode, stroke
from tests.system.http.raw_http import (
    HEAD,
    PICTURE,
    PREDICT,
    PREDICT_CHUNKED,
    RawConnection,
    Response,
    connect,
    wait_until_read,
    with_body,
)
from tests.system.server import Server, serving

LARGE = encode(255 - np.kron(stroke(), np.ones((40, 40), np.uint8)))
ERROR = b'{"error":"1 requests are in flight, which is the limit"}\n'


@pytest.fixture(scope="module")
def server(one_version: Path) -> Iterator[Server]:
    with serving(model_dir=one_version, workers=1, max_in_flight=1, threads=1, picture_seconds=60) as running:
        yield running
    assert "Traceback" not in running.log


@contextmanager
def saturated(server: Server, pictures: int) -> Iterator[Future[httpx.Response]]:
    """Send one request with this many large pictures, and wait until it is in flight; its response comes later."""
    files = {f"picture{number}": LARGE for number in range(pictures)}
    with ThreadPoolExecutor(1) as pool:
        response = pool.submit(httpx.post, f"{server.address}/predict", files=files, timeout=60)
        while server.predict(PICTURE).status_code == 200:  # it is not received yet
            if response.done():  # it arrived while the single picture was in flight, which is the limit
                assert response.result().status_code == 429
                response = pool.submit(httpx.post, f"{server.address}/predict", files=files, timeout=60)
        yield response
        assert response.result().status_code == 200


def rejection(response: Response) -> Response:
    """Check that a response is the rejection."""
    assert (response.status, response.phrase, response.body) == (429, "Too Many Requests", ERROR)
    assert response.headers["Retry-After"] == "1"
    return response


def test_request_over_the_limit_gets_429_and_other_routes_respond(server: Server) -> None:
    with saturated(server, 20) as in_flight:
        response = server.predict(PICTURE)
        assert (response.status_code, response.headers["Retry-After"], response.content) == (429, "1", ERROR)
        for path in ("/healthz", "/readyz", "/metrics"):
            assert server.client.get(path).status_code == 200
        assert not in_flight.done()
    assert server.predict(PICTURE).status_code == 200


def test_rejection_is_the_same_on_and_off_the_fast_path(server: Server, connection: RawConnection) -> None:
    with saturated(server, 20):
        responses = [rejection(connection.request(data)) for data in (PREDICT, PREDICT_CHUNKED, PREDICT, PREDICT)]
        connection.send(PREDICT + PREDICT)
        responses += [rejection(connection.receive()) for _ in range(2)]
        last = rejection(connection.request(PREDICT.replace(b"Host: x", b"Host: x\r\nConnection: close")))
        assert last.headers.pop("Connection") == "close"
        assert connection.is_closed()
        assert [*responses, last] == [responses[0]] * 7


def test_bytes_after_a_rejected_request_in_pieces_are_the_next_request(
    server: Server, connection: RawConnection
) -> None:
    """The head's last byte comes with a body that looks like the end of a head, and with the start of a request.

    The data behind that empty line has the length that the head declares.
    """
    other = b"GET /other HTTP/1.1\r\nHost: x\r\n\r\n"
    body = b"x" * 40 + b"\r\n\r\n" + b"y" * 60
    head = HEAD + b"Content-Length: %d\r\n\r\n" % len(body)
    rest = other + b"z" * (len(b"\n") + 40 + len(b"\r\n\r\n") - len(other) - 1)
    with saturated(server, 20):
        rejection(connection.request(PREDICT))
        connection.send(head[:-1])
        wait_until_read(server)
        assert connection.request(b"\n" + body + rest).status == 415  # in pieces, it waits in line with the pictures
        assert connection.receive().status == 404


def test_rejected_connections_are_kept_and_served_once_the_limit_allows(server: Server) -> None:
    """So many rejections that the last ones have to wait for the throttle."""
    with ExitStack() as opened, saturated(server, 40):
        connections = [opened.enter_context(connect(server)) for _ in range(100)]
        for _ in range(MAX_REJECTIONS_PER_SECOND // len(connections) + 1):
            for connection in connections:
                connection.send(PREDICT)
            for connection in connections:
                rejection(connection.receive())
        assert server.client.get("/healthz").status_code == 200
        while {connection.request(PREDICT).status for connection in connections} != {200}:
            pass  # idle connections would be closed after the keep-alive time


def test_single_picture_is_predicted_before_a_bulk_request_that_came_first(one_version: Path) -> None:
    bulk = with_body(
        np.stack([stroke()] * 10_000).tobytes(),
        b"POST /predict?fields=digit HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n",
    )
    with serving(model_dir=one_version, workers=1) as server, connect(server) as connection:
        connection.send(bulk[:-1])
        wait_until_read(server)
        connection.send(bulk[-1:])
        assert server.predict(PICTURE).status_code == 200
        assert not connection.has_data()
        assert connection.receive().status == 200
