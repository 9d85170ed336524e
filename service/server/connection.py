"""One client's HTTP/1.1 connection: gunicorn's, with a fast path for complete predict requests.

- A predict request that has arrived completely when its head is parsed, as almost all have, is handled without
  gunicorn's request, scope and task, which would take as long as everything else together. A request with anything
  unusual about it goes through gunicorn. Both end in `Application.predict`.
- When as many requests are in flight as the limit allows, such a request is rejected as load_shedding.py describes.
- The head of the first request must arrive within `receive_timeout_seconds`, and each further one within gunicorn's
  `keepalive`; gunicorn itself waits for the first one without a limit.

tests/system/http holds this against real sockets, tests/service/server/test_connection.py against a fake transport.
"""

import asyncio
import math
import re
import time
from typing import Protocol

from service.responses import JsonResponse
from service.server.acceptor import ConnectionCounts
from service.server.asgi import Application
from service.server.eager_task import run_eagerly
from service.server.gunicorn_compat import HttpConnection
from service.server.load_shedding import RejectionThrottle
from service.server.request_body import BufferedBody
from service.server.send_budget import SendBudget

END_OF_HEAD = b"\r\n\r\n"
PREDICT = re.compile(rb"/predict(?:\?([\w=,&.~%+-]*))?", re.ASCII)
PASSTHROUGH_HEADERS = frozenset(
    b"host user-agent accept accept-encoding accept-language connection content-type content-length authorization "
    b"cache-control traceparent tracestate x-request-id x-real-ip x-forwarded-for x-forwarded-proto".split()
)
"""Headers that do not change how a request is handled, if none of them comes twice."""


class ConnectionHost(Protocol):
    """What a connection needs of the worker that accepted it, besides what gunicorn's own class needs."""

    asgi: Application
    connections: "set[Connection]"
    counts: ConnectionCounts
    slot: int
    rejections: RejectionThrottle
    send_budget: SendBudget
    loop: asyncio.AbstractEventLoop
    alive: bool
    nr: int
    """Requests that the worker has handled."""
    max_requests: int


class Connection(HttpConnection):
    """One client's connection."""

    def __init__(self, host: ConnectionHost) -> None:
        super().__init__(host)
        self._host = host
        self._data = b""
        """The bytes that are being parsed."""
        self._pipelined = b""
        """What arrived while a request was handled on the fast path."""
        self._fast_request_started: float | None = None
        """When the request arrived that is handled on the fast path; None if there is none."""
        self._body: BufferedBody | None = None
        """The body of the request that is handled on the fast path."""
        self._last_response_at = -math.inf
        """When the last response of the fast path was sent, in the event loop's time."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start, and wait for the first head within the limit."""
        super().connection_made(transport)
        self._host.connections.add(self)
        if self.parser is not None:  # None: HTTP/2 was negotiated, and gunicorn handles all of it
            self.set_timeout(self._host.asgi.context.settings.receive_timeout_seconds)

    def data_received(self, data: bytes) -> None:
        """Parse, or keep for later: responses are sent in the order of their requests."""
        if self._fast_request_started is not None:
            self._pipelined += data
            self.pause_reading()
            return
        self._data = data
        super().data_received(data)
        self._data = b""  # a connection must not hold it until the next request
        if self._fast_request_started is not None:
            self._predict(data)

    def headers_complete(self) -> bool:
        """Choose the fast path or gunicorn."""
        parser = self.parser
        if (
            parser.method == b"POST"
            and PREDICT.fullmatch(parser.path)
            and self._is_complete()
            and self._is_fast_path_eligible()
        ):
            self._fast_request_started = time.perf_counter()
            return False
        return super().headers_complete()

    def _is_complete(self) -> bool:
        """Whether all bytes of the request have arrived, and no byte of another."""
        # The first empty line of the data ends the head, unless it began in the data before.
        end = -1 if self._data[:1] in {b"\r", b"\n"} else self._data.find(END_OF_HEAD)
        body_length = len(self._data) - end - len(END_OF_HEAD)
        return end >= 0 and not self.parser.is_chunked and bool(body_length == self.parser.content_length)

    def _is_fast_path_eligible(self) -> bool:
        """Whether gunicorn would do nothing for this request but pass it on and keep the connection."""
        parser, host = self.parser, self._host
        if self.has_hooks or not (host.alive and self.keepalive_seconds):
            return False
        if parser.http_version != (1, 1) or not parser.should_keep_alive or host.nr + 1 >= host.max_requests:
            return False
        names = [name for name, _ in self.request_headers]
        return PASSTHROUGH_HEADERS.issuperset(names) and len(set(names)) == len(names)

    def _predict(self, data: bytes) -> None:
        headers, path, body = self.request_headers, self.parser.path, data[len(data) - self.parser.content_length :]
        self.parser.reset()
        self._host.nr += 1
        if self._host.asgi.limiter.available:
            run_eagerly(self._respond(headers, path.partition(b"?")[2], body))
        else:
            self._host.rejections.submit(self)

    async def _respond(self, headers: list[tuple[bytes, bytes]], query: bytes, body: bytes) -> None:
        self._body = BufferedBody(body)
        await self._host.asgi.predict(headers, query, self._body, self._send)
        self._body = None
        self._next_request()

    async def _send(self, response: JsonResponse) -> None:
        self._write(response)
        await self.drain_writes()

    def _write(self, response: JsonResponse) -> None:
        if not self.is_closed:
            self.write_response(response, close=not self._host.alive)

    def _next_request(self) -> None:
        """Wait for the next request, or parse it if it has arrived meanwhile."""
        if self.is_closed:
            return
        if self._last_response_at < 0:
            self.arm_keepalive()
        self._fast_request_started, self._last_response_at = None, self._host.loop.time()
        self.resume_reading()
        pipelined, self._pipelined = self._pipelined, b""
        if pipelined:
            self.data_received(pipelined)

    def reject(self) -> None:
        """Send 429."""
        if self.is_closed or self._fast_request_started is None:
            return
        self._write(self._host.asgi.reject(time.perf_counter() - self._fast_request_started))
        self._next_request()

    def timed_out(self) -> None:
        """Close the connection, unless the fast path has responded since the timeout was set: then wait for the rest.

        The fast path does not set a timeout for each request: setting one takes longer than comparing times.
        """
        idle = 0.0 if self._fast_request_started is not None else self._host.loop.time() - self._last_response_at
        if idle < self.keepalive_seconds:
            self.set_timeout(self.keepalive_seconds - idle)
        else:
            self.close_when_idle()

    def pause_writing(self) -> None:
        """The client does not read as fast as responses are written: bound what waits for it."""
        super().pause_writing()
        self._host.send_budget.register(self)

    def resume_writing(self) -> None:
        """The client has read most of what was written."""
        super().resume_writing()
        self._host.send_budget.release(self)

    def closed_by_server(self) -> None:
        """A closed connection ends when the client has read what was written, and so has to be bounded too."""
        if self.unsent_bytes:
            self._host.send_budget.register(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Release what the connection holds."""
        if not self.is_lost:
            self._host.connections.discard(self)
            self._host.counts.add(self._host.slot, -1)
        if self._body and self._body.on_disconnect:
            self._body.on_disconnect()
        super().connection_lost(exc)
        self.resume_writing()  # ends a `drain_writes` that would wait forever

    def close_if_idle(self) -> None:
        """Close the connection, unless a request has arrived or is being handled."""
        is_idle = self.is_waiting_for_request and self._fast_request_started is None and not self.is_closed
        if is_idle and not self.has_unread_data():
            self.close_when_idle()
