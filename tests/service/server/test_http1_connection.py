"""A connection whatever its client does: against a fake transport, and on uvloop against the sockets of the kernel."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
import uvloop

from service.protocols import Endpoint
from service.server import peer_probe
from service.server.connection import Connection
from tests.service.server.test_connection import (
    OK,
    FakeApplication,
    FakeLoop,
    Host,
    end,
    no_leftover_tasks,
    request,
    run,
    settle,
    until,
)

__all__ = ["no_leftover_tasks"]

UNUSUAL = request(b"1", "X-Other: 1")


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.mark.parametrize("first", [request(b"1"), UNUSUAL], ids=["fast path", "gunicorn"])
def test_a_client_that_leaves_ends_its_request(host: Host, first: bytes) -> None:
    """On the fast path by a call, through gunicorn by a message."""
    disconnects: list[str] = []

    async def until_disconnect(_: Any, receive: Callable[[], Awaitable[Any]], __: Any) -> None:
        while (message := await receive())["type"] == "http.request":
            pass
        disconnects.append(message["type"])

    async def scenario() -> None:
        host.asgi.gate = asyncio.Event()
        connection, transport = host.connect()
        connection.app = until_disconnect
        connection.data_received(first)
        await settle()
        if host.asgi.fast:
            host.asgi.body.on_disconnect = lambda: disconnects.append("http.disconnect")
        await end(connection)
        assert disconnects == ["http.disconnect"]
        host.asgi.gate.set()
        await settle()
        connection.connection_lost(None)
        assert (disconnects, transport.written) == (["http.disconnect"], b"")

    run(scenario())


def test_a_client_that_leaves_after_the_response_ends_nothing(host: Host) -> None:
    async def scenario() -> None:
        connection, _ = host.connect()
        connection.data_received(request())
        disconnects: list[bool] = []
        host.asgi.body.on_disconnect = lambda: disconnects.append(True)
        await end(connection)
        assert disconnects == []

    run(scenario())


@pytest.mark.parametrize("late", [b"GET", b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nx"])
def test_a_late_request_gets_408_its_first_byte_counts(host: Host, late: bytes) -> None:
    async def scenario() -> None:
        connection, transport = host.connect()
        connection.data_received(UNUSUAL)
        await settle()
        host.loop.now += 1
        connection.data_received(late[:1])
        host.loop.now += 29
        connection.data_received(late[1:])
        since_head = 0 if b"\r\n\r\n" in late else 29
        assert host.loop.timeouts[-1] == 30
        host.loop.now += 30 - since_head - 0.5
        host.loop.timers[-1].callback()
        assert b"408" not in transport.written
        host.loop.now += 0.5
        host.loop.timers[-1].callback()
        assert transport.written.endswith(b'{"error":"the request did not arrive within 30 seconds"}\n')
        await end(connection)

    run(scenario())


def test_the_keep_alive_time_counts_again_after_a_request_that_arrived_slowly(host: Host) -> None:
    async def scenario() -> None:
        connection, _ = host.connect()
        connection.data_received(request()[:9])
        connection.data_received(request()[9:])
        await settle()
        assert host.loop.timeouts == [host.cfg.keepalive]
        await end(connection)

    run(scenario())


def test_the_body_of_a_get_is_discarded_before_the_request_is_handled(host: Host) -> None:
    async def scenario() -> None:
        connection, transport = host.connect()
        connection.data_received(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
        for piece in (bytes(99), b"x"):
            await settle()
            assert host.asgi.through_gunicorn == []
            connection.data_received(piece)
        await settle()
        assert host.asgi.through_gunicorn == [b""]
        assert b"Connection" not in transport.written
        await end(connection)

    run(scenario())


def test_a_response_before_the_end_of_the_body_announces_the_end_of_the_connection(host: Host) -> None:
    async def respond(_: Any, __: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        await send({"type": "http.response.start", "status": 413, "headers": [(b"Content-Length", b"2")]})
        await send({"type": "http.response.body", "body": b"{}"})

    async def scenario() -> None:
        connection, transport = host.connect()
        connection.app = respond
        connection.data_received(request(length="Content-Length: 70000"))
        await settle()
        assert b"\r\nConnection: close\r\n" in transport.written
        assert not transport.closed
        connection.data_received(b"chunk that is discarded")
        host.loop.timers[-1].callback()
        assert transport.closed
        await end(connection)

    run(scenario())


def test_a_chunk_that_is_invalid_after_the_response_writes_no_second_one(host: Host) -> None:
    async def respond(_: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        await send({"type": "http.response.start", "status": 413, "headers": [(b"Content-Length", b"2")]})
        await send({"type": "http.response.body", "body": b"{}"})
        await receive()

    async def scenario() -> None:
        connection, transport = host.connect()
        connection.app = respond
        connection.data_received(request(b"", "Transfer-Encoding: chunked", length=None))
        await settle()
        connection.data_received(b"z\r\n")
        await settle()
        assert transport.written.count(b"HTTP/1.1 ") == 1
        await end(connection)

    run(scenario())


def test_a_body_for_which_gunicorn_waits_no_longer_gets_408(host: Host) -> None:
    """Its own limit between two parts of a body, `timeout`, may be below the service's for the whole."""
    host.cfg.set("timeout", 1)

    async def until_disconnect(_: Any, receive: Callable[[], Awaitable[Any]], __: Any) -> None:
        while (await receive())["type"] == "http.request":
            pass

    async def scenario() -> None:
        connection, transport = host.connect()
        connection.app = until_disconnect
        connection.data_received(request(length="Content-Length: 50"))
        await until(lambda: b"\r\n\r\n" in transport.written)
        assert transport.written.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert transport.written.endswith(b'{"error":"the body did not arrive in time"}\n')
        await end(connection)

    run(scenario())


@pytest.mark.parametrize(
    ("data", "is_idle"),
    [(b"", True), (UNUSUAL, True), (request(), True), (UNUSUAL[:-1], False), (request() + UNUSUAL[:-1], False)],
    ids=["no request", "after a request", "after the fast path", "in a body", "in the body of the second"],
)
def test_a_stop_closes_idle_connections_only(host: Host, data: bytes, *, is_idle: bool) -> None:
    async def scenario() -> None:
        connection, transport = host.connect()
        if data:
            connection.data_received(data)
        await settle()
        connection.close_if_idle()
        assert connection.is_closed is transport.closed is is_idle
        await end(connection)

    run(scenario())


def test_a_connection_without_a_parser_is_left_to_gunicorn(host: Host) -> None:
    """HTTP/2, if gunicorn is configured to speak it."""

    async def scenario() -> None:
        connection, transport = host.connect()
        connection._callback_parser = None
        connection.reader = asyncio.StreamReader()
        connection.data_received(b"frame")
        assert await connection.reader.read(5) == b"frame"
        connection.close_if_idle()
        assert not connection.eof_received()
        assert (connection.is_closed, transport.written) == (False, b"")
        await end(connection)

    run(scenario())


def test_pipelined_requests_leave_the_event_loop_to_others(host: Host) -> None:
    async def scenario() -> None:
        connection, _ = host.connect()
        await settle()
        connection.data_received(UNUSUAL * 100)
        others: list[int] = []

        def count() -> None:
            others.append(len(host.asgi.handled))
            if others[-1] < 100:
                asyncio.get_running_loop().call_soon(count)

        count()
        await until(lambda: others[-1] == 100)
        assert set(range(1, 100)) <= set(others)
        await end(connection)

    run(scenario())


def test_the_next_request_is_not_parsed_once_the_socket_is_closed(host: Host) -> None:
    """uvloop raises when the address of a closed socket is read, and reports the loss only later."""

    async def scenario() -> None:
        for first in (request(b"1"), UNUSUAL):
            host.asgi.gate = asyncio.Event()
            connection, transport = host.connect()
            connection.data_received(first + UNUSUAL)
            await settle()
            connection.data_received(UNUSUAL)
            transport.closed = True
            handled = len(host.asgi.through_gunicorn)
            host.asgi.gate.set()
            await settle()
            assert len(host.asgi.through_gunicorn) == handled
            await end(connection)

    run(scenario())


class WaitingApplication(FakeApplication):
    """Waits for the gate or for the client to leave."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.disconnected = asyncio.Event()

    async def __call__(self, _: Any, receive: Callable[[], Awaitable[Any]], send: Any) -> None:
        await receive()
        left = asyncio.ensure_future(receive())
        opened = asyncio.ensure_future(cast("asyncio.Event", self.gate).wait())
        await asyncio.wait({left, opened}, return_when=asyncio.FIRST_COMPLETED)
        opened.cancel()
        left.cancel()
        if not cast("asyncio.Event", self.gate).is_set():
            self.disconnected.set()
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"Content-Length", b"11")]})
        await send({"type": "http.response.body", "body": OK})

    async def predict(self, endpoint: Endpoint, headers: Any, query: bytes, body: Any, send: Any) -> None:
        body.on_disconnect = self.disconnected.set
        await super().predict(endpoint, headers, query, body, send)


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Probes soon, and lists what each look at a connection has found."""
    found: list[bool] = []
    is_reset = peer_probe.is_reset

    def record(transport: asyncio.BaseTransport) -> bool:
        found.append(is_reset(transport))
        return found[-1]

    monkeypatch.setattr(peer_probe, "PROBE_SECONDS", 0.02)
    monkeypatch.setattr(peer_probe, "is_reset", record)
    return found


async def serve(host: Host) -> tuple[asyncio.Server, socket.socket]:
    """A server on uvloop with one client."""
    loop = asyncio.get_running_loop()
    host.loop = cast("FakeLoop", loop)
    host.asgi = WaitingApplication()
    server = await loop.create_server(lambda: Connection(cast("Any", host)), "127.0.0.1", 0)
    client = socket.create_connection(server.sockets[0].getsockname())
    client.settimeout(0)
    return server, client


def run_on_uvloop(scenario: Any) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(scenario, 20))


@pytest.mark.parametrize("first", [request(b"1"), UNUSUAL], ids=["fast path", "gunicorn"])
def test_a_client_that_has_closed_is_noticed(host: Host, probes: list[bool], first: bytes) -> None:
    async def scenario() -> None:
        server, client = await serve(host)
        client.send(first)
        client.close()
        await cast("WaitingApplication", host.asgi).disconnected.wait()
        assert probes[0] is False
        assert probes[-1] is True
        server.close()
        await settle()

    run_on_uvloop(scenario())


@pytest.mark.parametrize("first", [request(b"1"), UNUSUAL], ids=["fast path", "gunicorn"])
def test_a_client_that_was_reset_is_noticed_without_a_probe(host: Host, probes: list[bool], first: bytes) -> None:
    async def scenario() -> None:
        server, client = await serve(host)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.send(first)
        await until(lambda: bool(host.connections))
        client.close()
        await cast("WaitingApplication", host.asgi).disconnected.wait()
        assert probes == []
        server.close()
        await settle()

    run_on_uvloop(scenario())


@pytest.mark.parametrize("first", [request(b"1"), UNUSUAL], ids=["fast path", "gunicorn"])
def test_a_half_closed_client_gets_its_response_and_no_byte_before_it(
    host: Host, probes: list[bool], first: bytes
) -> None:
    async def scenario() -> None:
        server, client = await serve(host)
        loop = asyncio.get_running_loop()
        client.send(first)
        client.shutdown(socket.SHUT_WR)
        await until(lambda: len(probes) >= 4)
        assert not any(probes)
        cast("asyncio.Event", host.asgi.gate).set()
        received = b""
        while data := await loop.sock_recv(client, 65536):
            received += data
        assert received.startswith(b"HTTP/1.1 200 OK\r\n")
        assert received.endswith(b"\r\n\r\n" + OK)
        client.close()
        server.close()
        await settle()

    run_on_uvloop(scenario())
