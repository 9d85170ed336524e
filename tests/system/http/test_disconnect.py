"""Clients that close a connection, in one direction or both, before they have read the responses."""

import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from tests.service.payloads import stroke
from tests.system.http.raw_http import (
    GET_HEALTH,
    HEAD,
    PREDICT,
    PREDICT_PHOTOGRAPH,
    RawConnection,
    connect,
    wait_until_read,
    with_body,
)
from tests.system.server import Server, serving

BULK = with_body(
    np.stack([stroke()] * 400).tobytes(),
    b"POST /predict?fields=digit&normalise=always HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n",
)
"""A request that takes longer than the server waits before it probes a half-closed connection."""


@pytest.fixture(scope="module")
def server(one_version: Path) -> Iterator[Server]:
    with serving(model_dir=one_version, workers=1) as running:
        yield running
    assert "Traceback" not in running.log


HALF_CLOSED = {
    "the fast path": [PREDICT],
    "a thread": [PREDICT_PHOTOGRAPH],
    "another route": [GET_HEALTH],
    "a request that takes long": [BULK],
    "several, slow ones first": [PREDICT_PHOTOGRAPH, GET_HEALTH, PREDICT, PREDICT_PHOTOGRAPH, PREDICT],
    "more than is kept behind a slow one": [PREDICT_PHOTOGRAPH, *[GET_HEALTH] * 3_000, PREDICT],
}


@pytest.mark.parametrize("kind", HALF_CLOSED)
def test_half_closed_client_gets_all_responses_and_then_the_end(connection: RawConnection, kind: str) -> None:
    requests = HALF_CLOSED[kind]
    connection.send(b"".join(requests))
    connection.socket.shutdown(socket.SHUT_WR)
    assert [connection.receive().status for _ in requests] == [200] * len(requests)
    assert connection.is_closed()


def test_half_closed_clients_all_get_their_response(server: Server) -> None:
    """As many at a time as are not rejected for their number."""
    for _ in range(10):
        with ExitStack() as opened:
            connections = [opened.enter_context(connect(server)) for _ in range(2)]
            for connection in connections:
                connection.send(PREDICT_PHOTOGRAPH)
                connection.socket.shutdown(socket.SHUT_WR)
            assert [connection.receive().status for connection in connections] == [200] * 2


@pytest.mark.parametrize(
    "request_",
    [HEAD[:20], PREDICT[:-1], HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n", GET_HEALTH + HEAD],
    ids=["in the head", "in the body", "in a chunk", "behind another request"],
)
def test_half_closed_client_whose_request_is_incomplete_gets_400(connection: RawConnection, request_: bytes) -> None:
    connection.send(request_)
    connection.socket.shutdown(socket.SHUT_WR)
    if request_.startswith(b"GET"):
        assert connection.receive().status == 200
    response = connection.receive()
    assert (response.status, response.body) == (
        400,
        b'{"error":"the connection was closed before the request was complete"}\n',
    )
    assert connection.is_closed()


@pytest.mark.parametrize("wait", [False, True], ids=["at once", "after the server has read"])
@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_clients_that_leave_between_pipelined_requests_leave_no_trace(
    server: Server, *, reset: bool, wait: bool
) -> None:
    """The module's server must have logged no traceback at its end."""
    linger = struct.pack("ii", 1, 0)
    for number in range(100):
        with connect(server) as connection:
            if reset:
                connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            connection.send([PREDICT, PREDICT_PHOTOGRAPH, GET_HEALTH][number % 3] * 2)
            if wait and number % 5 == 0:
                wait_until_read(server)
    server.wait_for_metrics("digits_in_flight_requests 1.0")  # the request of the metrics
    assert "Traceback" not in server.log
    assert server.client.get("/healthz").status_code == 200
