"""How long a connection lasts: keep-alive, requests that arrive slowly, clients that do not read."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from tests.service.payloads import stroke
from tests.system.http.raw_http import HEAD, PICTURE, PREDICT, RawConnection, connect, with_body
from tests.system.server import Server, serving


@pytest.fixture(scope="module")
def server(one_version: Path) -> Iterator[Server]:
    with serving(model_dir=one_version, workers=1, receive_timeout_seconds=1) as running:
        yield running
    assert "Traceback" not in running.log


def test_connection_is_kept_for_further_requests(connection: RawConnection) -> None:
    for _ in range(3):
        response = connection.request(PREDICT)
        assert (response.status, response.headers.get("Connection")) == (200, None)
        assert response.body.startswith(b'{"model":"digits"')


LATE = b'{"error":"the request did not arrive within 1 seconds"}\n'


def test_connection_without_a_request_is_closed_without_a_response(server: Server, connection: RawConnection) -> None:
    assert connection.is_closed()
    assert server.client.get("/readyz").status_code == 200


@pytest.mark.parametrize("first", [b"", PREDICT, PREDICT.replace(b"Host", b"X-Unusual: 1\r\nHost")])
def test_late_head_gets_408(connection: RawConnection, first: bytes) -> None:
    """The first head of a connection, and one behind another request."""
    if first:
        assert connection.request(first).status == 200
    response = connection.request(HEAD[:20])
    assert (response.status, response.phrase, response.body) == (408, "Request Timeout", LATE)
    assert response.headers["Connection"] == "close"
    assert connection.is_closed()


def test_late_body_that_no_route_reads_gets_408(connection: RawConnection) -> None:
    response = connection.request(b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nh")
    assert (response.status, response.body) == (408, LATE)
    assert connection.is_closed()


def test_body_of_which_no_byte_arrives_gets_408(connection: RawConnection) -> None:
    response = connection.request(HEAD + b"Content-Length: 1000\r\n\r\n")
    assert (response.status, response.body) == (408, b'{"error":"the body did not arrive within 1 seconds"}\n')


def test_late_body_gets_408(connection: RawConnection) -> None:
    connection.send(HEAD + b"Content-Length: 1000\r\n\r\nx")
    connection.send(b"y")
    response = connection.receive()
    assert (response.status, response.body) == (408, b'{"error":"the body did not arrive within 1 seconds"}\n')


def test_requests_that_arrive_slowly_are_not_in_flight(one_version: Path) -> None:
    with serving(model_dir=one_version, workers=1, max_in_flight=1) as server, ExitStack() as opened:
        slow = [opened.enter_context(connect(server)) for _ in range(100)]
        for connection in slow:
            connection.send(PREDICT[:-1])
        for _ in range(10):
            assert server.predict(PICTURE).status_code == 200
        assert slow[50].request(PREDICT[-1:]).status == 200


def test_unread_responses_hold_back_further_ones_until_the_client_disconnects(server: Server) -> None:
    """The request stays in flight, while its response cannot be sent."""
    images = with_body(np.stack([stroke()] * 60).tobytes(), HEAD.replace(b"image/png", b"application/octet-stream"))
    with connect(server, receive_buffer=4096) as connection:
        both = "digits_in_flight_requests 2.0"  # this one and GET /metrics
        while not all(both in server.client.get("/metrics").text for _ in range(20)):
            connection.send(images)
    server.wait_for_metrics("digits_in_flight_requests 1.0")
