"""The fast path of a connection, against a fake transport and a fake application; gunicorn's part is real."""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from gunicorn.config import Config
from gunicorn.glogging import Logger

from service.protocols import Endpoint
from service.responses import HttpResponse
from service.server.acceptor import ConnectionCounts
from service.server.connection import Connection
from service.server.load_shedding import Rejectable
from service.server.request_body import LINGER_SECONDS

BODY = b"0123456789"
OK = b'{"ok":true}'


def request(
    body: bytes = BODY,
    *more: str,
    line: str = "POST /predict?fields=digit HTTP/1.1",
    length: str | None = "Content-Length: {}",
) -> bytes:
    """The bytes of a request; `more` are header lines."""
    lines = [line, "Host: digits", "Content-Type: image/png", *more]
    if length:
        lines.append(length.format(len(body)))
    return "\r\n".join([*lines, "", ""]).encode() + body


class FakeTransport(asyncio.Transport):
    """Records what is written, and whether reading is paused."""

    def __init__(self) -> None:
        super().__init__()
        self.written, self.reading, self.closed = b"", True, False
        self.unsent, self.aborted = 0, False
        self.socket: socket.socket | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def writelines(self, parts: Any) -> None:
        self.written += b"".join(parts)

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def abort(self) -> None:
        self.aborted = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Accept any."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        known = {"peername": ("127.0.0.1", 5), "sockname": ("127.0.0.1", 8000), "socket": self.socket}
        return known.get(name, default)

    def can_write_eof(self) -> bool:
        return False

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


class FakeTimer:
    def __init__(self, seconds: float, callback: Callable[[], None]) -> None:
        self.seconds, self.callback, self.cancelled = seconds, callback, False

    def cancel(self) -> None:
        self.cancelled = True


class FakeLoop:
    """The running event loop, but its time and its timers are the test's."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[FakeTimer] = []

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, callback: Callable[[], None]) -> FakeTimer:
        self.timers.append(FakeTimer(seconds, callback))
        return self.timers[-1]

    def create_task(self, coroutine: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        return asyncio.get_running_loop().create_task(coroutine)

    def create_future(self) -> "asyncio.Future[Any]":
        return asyncio.get_running_loop().create_future()

    @property
    def timeouts(self) -> list[float]:
        """The seconds of the timers that are armed."""
        return [timer.seconds for timer in self.timers if not timer.cancelled]


class FakeApplication:
    """Records which requests came by the fast path, and which through gunicorn."""

    def __init__(self) -> None:
        self.context = SimpleNamespace(settings=SimpleNamespace(receive_timeout_seconds=30, max_body_bytes=100))
        self.limiter = SimpleNamespace(available=1)
        self.endpoints: list[Endpoint] = []
        self.fast: list[tuple[dict[bytes, bytes], bytes, bytes]] = []
        self.through_gunicorn: list[bytes] = []
        self.handled: list[bytes] = []
        self.body: Any = None
        self.rejected: list[float] = []
        self.gate: asyncio.Event | None = None

    async def predict(
        self, endpoint: Endpoint, headers: Any, query: bytes, body: Any, send: Callable[[HttpResponse], Awaitable[None]]
    ) -> None:
        self.endpoints.append(endpoint)
        self.fast.append((dict(headers), query, await body.read()))
        self.handled.append(self.fast[-1][2])
        self.body = body
        if self.gate:
            await self.gate.wait()
        await send(HttpResponse(200, OK))

    def reject(self, _: Endpoint, seconds: float) -> HttpResponse:
        self.rejected.append(seconds)
        return HttpResponse(429, b'{"error":"busy"}', (("Retry-After", "1"),))

    async def __call__(self, _: Any, receive: Any, send: Any) -> None:
        body = b""
        while (message := await receive()).get("type") == "http.request":
            body += message["body"]
            if not message["more_body"]:
                break
        self.through_gunicorn.append(body)
        self.handled.append(body)
        if self.gate:
            await self.gate.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"Content-Length", b"2")]})
        await send({"type": "http.response.body", "body": b"{}"})


class Host:
    """A worker, as far as a connection and gunicorn need one."""

    def __init__(self) -> None:
        self.cfg, self.asgi, self.loop = Config(), FakeApplication(), FakeLoop()
        self.cfg.set("keepalive", 2)
        self.log = Logger(self.cfg)
        self.connections: set[Connection] = set()
        self.counts, self.slot = ConnectionCounts(), 3
        self.counts.register(self.slot)
        self.counts.add(self.slot, 1)
        self.rejections = SimpleNamespace(submit=self.submit)
        self.unread: list[Connection] = []
        self.send_budget = SimpleNamespace(register=self.unread.append, release=self.release)
        self.submitted: list[Rejectable] = []
        self.alive, self.nr, self.max_requests, self.nr_conns = True, 0, 1000, 0
        self.state: dict[str, Any] = {}

    def submit(self, connection: Rejectable) -> None:
        self.submitted.append(connection)

    def release(self, connection: Connection) -> None:
        if connection in self.unread:
            self.unread.remove(connection)

    def connect(self) -> tuple[Connection, FakeTransport]:
        transport, connection = FakeTransport(), Connection(cast("Any", self))
        connection.connection_made(transport)
        return connection, transport


Scenario = Callable[[Host], Coroutine[Any, Any, None]]


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture(autouse=True)
def no_leftover_tasks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A test that leaves an exception to the event loop fails."""
    reported: list[object] = []
    original = asyncio.BaseEventLoop.call_exception_handler

    def report(self: asyncio.BaseEventLoop, context: dict[str, Any]) -> None:
        reported.append(context)
        original(self, context)

    monkeypatch.setattr(asyncio.BaseEventLoop, "call_exception_handler", report)
    yield
    assert not reported


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 20))


async def settle() -> None:
    """Let gunicorn's task of the connection run until it waits."""
    for _ in range(20):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that nothing else reports."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.001)


async def end(connection: Connection) -> None:
    connection.connection_lost(None)
    await settle()


def test_a_complete_request_takes_the_fast_path_at_once(host: Host) -> None:
    async def scenario() -> None:
        connection, transport = host.connect()
        connection.data_received(request(BODY, "X-Request-Id: 5"))
        ((headers, query, body),) = host.asgi.fast
        assert (query, body, headers[b"x-request-id"], host.nr) == (b"fields=digit", BODY, b"5", 1)
        head, _, content = transport.written.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\r\nContent-Type: application/json\r\nContent-Length: 11\r\n" in head
        assert b"Connection" not in head
        assert content == OK
        assert not host.asgi.through_gunicorn
        await end(connection)

    run(scenario())


ELIGIBLE = {
    "as curl sends it": request(),
    "an empty body": request(b""),
    "no query": request(line="POST /predict HTTP/1.1"),
}
INELIGIBLE = {
    "an unknown header": request(BODY, "X-Other: 1"),
    "a header twice": request(BODY, "Accept: a", "Accept: b"),
    "Connection: close": request(BODY, "Connection: close"),
    "HTTP/1.0": request(line="POST /predict HTTP/1.0"),
    "another method": request(line="PUT /predict HTTP/1.1"),
    "another path": request(line="POST /predict/ HTTP/1.1"),
    "an escaped path": request(line="POST /%70redict HTTP/1.1"),
    "a space in the query": request(line="POST /predict?a=%20&b=[ HTTP/1.1"),
    "chunks": request(b"a\r\n0123456789\r\n0\r\n\r\n", "Transfer-Encoding: chunked", length=None),
    "an empty line before it": b"\r\n" + request(),
}


@pytest.mark.parametrize("data", ELIGIBLE.values(), ids=ELIGIBLE)
def test_takes_the_fast_path(host: Host, data: bytes) -> None:
    async def scenario() -> None:
        connection, _ = host.connect()
        connection.data_received(data)
        assert len(host.asgi.fast) == 1
        await end(connection)

    run(scenario())


@pytest.mark.parametrize("data", INELIGIBLE.values(), ids=INELIGIBLE)
def test_goes_through_gunicorn(host: Host, data: bytes) -> None:
    async def scenario() -> None:
        connection, _ = host.connect()
        connection.data_received(data)
        await settle()
        assert (host.asgi.fast, host.asgi.through_gunicorn) == ([], [BODY])
        await end(connection)

    run(scenario())


@pytest.mark.parametrize("cut", range(1, len(request())))
def test_a_request_in_two_pieces_is_one_request(host: Host, cut: int) -> None:
    async def scenario() -> None:
        connection, transport = host.connect()
        connection.data_received(request()[:cut])
        connection.data_received(request()[cut:])
        await settle()
        fast = [body for _, _, body in host.asgi.fast]
        assert (fast + host.asgi.through_gunicorn, transport.written.count(b"HTTP/1.1 200")) == ([BODY], 1)
        if cut >= len(request()) - len(BODY) - 3:
            assert fast == [], "the second piece has no complete head"
        await end(connection)

    run(scenario())


def test_requests_in_one_piece_are_handled_in_order(host: Host) -> None:
    """The last one has arrived completely, and nothing behind it: it takes the fast path."""

    async def scenario() -> None:
        connection, transport = host.connect()
        connection.data_received(request(b"first") + request(b"second") + request(b"third"))
        await settle()
        assert host.asgi.through_gunicorn == [b"first", b"second"]
        assert [body for _, _, body in host.asgi.fast] == [b"third"]
        assert re.findall(rb"\{.*?\}", transport.written) == [b"{}", b"{}", OK]
        await end(connection)

    run(scenario())


@pytest.mark.parametrize(
    "change",
    [
        lambda host: setattr(host, "alive", False),
        lambda host: setattr(host, "nr", host.max_requests - 1),
        lambda host: host.cfg.set("accesslog", "-"),
        lambda host: host.cfg.set("keepalive", 0),
    ],
    ids=["stopping", "the last request of a worker", "an access log", "no keep-alive"],
)
def test_a_worker_for_which_gunicorn_has_more_to_do_leaves_the_request_to_it(
    host: Host, change: Callable[[Host], None]
) -> None:
    change(host)
    host.log = Logger(host.cfg)

    async def scenario() -> None:
        connection, _ = host.connect()
        connection.data_received(request())
        await settle()
        assert (host.asgi.fast, host.asgi.through_gunicorn) == ([], [BODY])
        await end(connection)

    run(scenario())


def test_pipelined_requests_wait_for_the_response_before(host: Host) -> None:
    async def scenario() -> None:
        host.asgi.gate = asyncio.Event()
        connection, transport = host.connect()
        connection.data_received(request(b"1"))
        for body in (b"2", b"3"):
            connection.data_received(request(body))
        assert (len(host.asgi.fast), transport.written) == (1, b"")
        host.asgi.gate.set()
        await settle()
        assert host.asgi.handled == [b"1", b"2", b"3"]
        assert transport.written.count(b"HTTP/1.1 200 OK") == 3
        await end(connection)

    run(scenario())


@pytest.mark.parametrize("first", [request(b"1"), request(b"1", "X-Other: 1")], ids=["fast path", "gunicorn"])
def test_more_than_64_kib_behind_a_request_hold_the_client_back(host: Host, first: bytes) -> None:
    """What was read at once is kept, and handled in order."""

    async def scenario() -> None:
        host.asgi.gate = asyncio.Event()
        connection, transport = host.connect()
        connection.data_received(first)
        bodies = [b"%d" % number + bytes(100) for number in range(900)]
        behind = b"".join(request(body) for body in bodies)
        connection.data_received(behind[:1])
        connection.data_received(behind[1:60_000])
        assert transport.reading, "so that a client that leaves is noticed"
        connection.data_received(behind[60_000:])
        assert (transport.reading, transport.written) == (False, b"")
        host.asgi.gate.set()
        await until(lambda: transport.written.count(b"HTTP/1.1 200") == 901)
        assert host.asgi.handled == [b"1", *bodies]
        assert transport.reading
        await end(connection)

    run(scenario())


def test_the_last_response_of_a_stopping_worker_closes_the_connection(host: Host) -> None:
    async def scenario() -> None:
        host.asgi.gate = asyncio.Event()
        connection, transport = host.connect()
        connection.data_received(request())
        host.alive = False
        host.asgi.gate.set()
        await settle()
        assert b"\r\nConnection: close\r\n" in transport.written
        assert transport.closed
        await end(connection)

    run(scenario())


def test_a_request_over_the_limit_is_submitted_for_rejection(host: Host) -> None:
    async def scenario() -> None:
        host.asgi.limiter.available = 0
        connection, transport = host.connect()
        connection.data_received(request())
        assert (host.submitted, host.asgi.fast, transport.written) == ([connection], [], b"")
        connection.data_received(request(b"next"))
        host.asgi.limiter.available = 1
        connection.reject()
        assert transport.written.startswith(b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\n")
        assert [body for _, _, body in host.asgi.fast] == [b"next"], "what arrived meanwhile is parsed"
        assert 0 <= host.asgi.rejected[0] < 20
        connection.reject()
        assert len(host.asgi.rejected) == 1, "no request is waiting any more"
        await end(connection)

    run(scenario())


def test_a_client_that_has_left_is_not_rejected(host: Host) -> None:
    async def scenario() -> None:
        host.asgi.limiter.available = 0
        connection, transport = host.connect()
        connection.data_received(request())
        await end(connection)
        connection.reject()
        assert (host.asgi.rejected, transport.written) == ([], b"")

    run(scenario())


def test_the_first_head_has_the_receive_timeout(host: Host) -> None:
    async def scenario() -> None:
        connection, transport = host.connect()
        (timer,) = host.loop.timers
        assert timer.seconds == 30
        timer.callback()
        assert transport.closed
        await end(connection)

    run(scenario())


def test_an_idle_connection_is_closed_after_the_keep_alive_of_its_last_response(host: Host) -> None:
    async def scenario() -> None:
        connection, transport = host.connect()
        for _ in range(3):
            connection.data_received(request())
            host.loop.now += 1
        assert host.loop.timeouts[-1] == host.cfg.keepalive == 2
        host.loop.timers[-1].callback()
        assert not transport.closed
        assert host.loop.timeouts[-1] == 1, "of the two seconds since the last response one has passed"
        host.loop.now += 1
        host.loop.timers[-1].callback()
        assert transport.closed
        await end(connection)

    run(scenario())


def test_a_timeout_during_a_request_does_not_close_the_connection(host: Host) -> None:
    async def scenario() -> None:
        host.asgi.gate = asyncio.Event()
        connection, transport = host.connect()
        connection.data_received(request())
        host.loop.now += 100
        host.loop.timers[-1].callback()
        assert not transport.closed
        connection.close_if_idle()
        assert not transport.closed
        host.asgi.gate.set()
        await settle()
        connection.close_if_idle()
        assert transport.closed
        await end(connection)

    run(scenario())


def test_a_connection_whose_next_request_has_arrived_is_not_idle(host: Host) -> None:
    """The event loop may not have read it yet: its timers are called before what has arrived is read."""

    async def scenario() -> None:
        connection, transport = host.connect()
        await settle()
        client, transport.socket = socket.socketpair()
        with client, transport.socket:
            client.send(b"P")
            connection.close_if_idle()
            assert not transport.closed
            transport.socket.recv(1)
            connection.close_if_idle()
            assert transport.closed
        await end(connection)

    run(scenario())


def test_a_response_that_the_client_does_not_read_is_bounded_until_it_is_read(host: Host) -> None:
    async def scenario() -> None:
        connection, _ = host.connect()
        connection.pause_writing()
        assert host.unread == [connection]
        connection.resume_writing()
        assert host.unread == []
        await end(connection)

    run(scenario())


@pytest.mark.parametrize(("unsent", "bounded"), [(0, False), (1, True)])
def test_a_closed_connection_is_bounded_while_its_response_is_unsent(host: Host, unsent: int, *, bounded: bool) -> None:
    async def scenario() -> None:
        connection, transport = host.connect()
        await settle()
        transport.unsent = unsent
        connection.close_if_idle()
        assert transport.closed
        assert (connection.unsent_bytes, host.unread) == (unsent, [connection] if bounded else [])
        connection.abort()
        assert transport.aborted
        await end(connection)
        assert host.unread == []

    run(scenario())


def test_a_lost_connection_is_forgotten_and_counted_once(host: Host) -> None:
    async def scenario() -> None:
        connection, _ = host.connect()
        assert host.connections == {connection}
        connection.connection_lost(None)
        connection.connection_lost(None)
        assert (host.connections, host.counts.get(3)) == (set(), 0)
        await settle()

    run(scenario())


def test_a_response_waits_for_a_slow_reader_and_ends_when_it_leaves(host: Host) -> None:
    async def scenario() -> None:
        connection, transport = host.connect()
        connection.pause_writing()
        connection.data_received(request())
        connection.data_received(request(b"next"))
        await settle()
        assert transport.written.count(b"HTTP/1.1 200") == 1
        connection.resume_writing()
        await settle()
        assert transport.written.count(b"HTTP/1.1 200") == 2
        connection.pause_writing()
        connection.data_received(request(b"last"))
        await end(connection)
        assert len(host.asgi.fast) + len(host.asgi.through_gunicorn) == 3

    run(scenario())


def test_what_is_not_http_gets_a_json_error(host: Host) -> None:
    async def scenario() -> None:
        connection, transport = host.connect()
        connection.data_received(b"not http at all\r\n\r\n")
        await settle()
        head, _, body = transport.written.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n")
        assert body.startswith(b'{"error":')
        connection.data_received(b"more of it, which is discarded")
        assert not transport.closed, "the client has time to read the error"
        host.loop.timers[-1].callback()
        assert (host.loop.timers[-1].seconds, transport.closed) == (LINGER_SECONDS, True)
        assert transport.written.count(b"HTTP/1.1") == 1
        await end(connection)

    run(scenario())
