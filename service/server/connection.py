"""One client's HTTP/1.1 connection, with a fast path for complete predict requests.

- A predict request that has arrived completely when its head is parsed, as almost all have, is handled without
  gunicorn's request, scope and task, which would take as long as everything else together. A request with anything
  unusual about it goes through gunicorn. Both end in `Application.predict`.
- When as many requests are in flight as the limit allows, such a request is rejected as load_shedding.py describes.

tests/system/http holds this against real sockets, tests/service/server/test_connection.py against a fake transport.
"""

import asyncio
import re
import time
from typing import NamedTuple, Protocol

from service.protocols import Endpoint, find_endpoint
from service.responses import HttpResponse
from service.server.acceptor import ConnectionCounts
from service.server.asgi import Application
from service.server.eager_task import run_eagerly
from service.server.http1_connection import Http1Connection
from service.server.load_shedding import RejectionThrottle
from service.server.request_body import BufferedBody
from service.server.request_head import is_valid_host
from service.server.send_budget import SendBudget

END_OF_HEAD = b"\r\n\r\n"
TARGET = re.compile(rb"(/(?:predict|v[12]/models/)[\w/:]*)(?:\?([\w=,&.~%+-]*))?", re.ASCII)
"""The request targets that may be of a predict request: no escapes in the path, no rare characters in the query."""
PASSTHROUGH_HEADERS = frozenset(
    b"host user-agent accept accept-encoding accept-language connection content-type content-length authorization "
    b"cache-control content-encoding inference-header-content-length traceparent tracestate x-request-id x-real-ip "
    b"x-forwarded-for x-forwarded-proto x-forwarded-prefix".split()
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


class FastRequest(NamedTuple):
    """A request on the fast path. `started`: when its head was complete, by time.perf_counter."""

    endpoint: Endpoint
    query: bytes
    started: float


class Connection(Http1Connection):
    """One client's connection."""

    def __init__(self, host: ConnectionHost) -> None:
        super().__init__(host)
        self._host = host
        self._data = b""
        """The bytes that are being parsed."""
        self._fast_request: FastRequest | None = None
        """The request that is handled on the fast path; None if there is none."""
        self._body: BufferedBody | None = None
        """Its body."""
        self._valid_host: tuple[bytes, bytes] | None = None
        """The header Host that was found valid last."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start."""
        super().connection_made(transport)
        self._host.connections.add(self)

    def parse(self, data: bytes) -> None:
        """Parse, and handle a request on the fast path if there is one."""
        self._data = data
        super().parse(data)
        self._data = b""  # a connection must not hold it until the next request
        if self._fast_request is not None:
            self._predict(self._fast_request, data)

    def headers_complete(self) -> bool:
        """Choose the fast path or gunicorn."""
        parser = self.parser
        if (
            parser.method == b"POST"
            and (match := TARGET.fullmatch(parser.path))
            and (endpoint := find_endpoint(match[1].decode()))
            and self._is_complete()
            and self._is_fast_path_eligible()
        ):
            self._fast_request = FastRequest(endpoint, match[2] or b"", time.perf_counter())
            return True
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
        headers = self.request_headers
        if headers[0] != self._valid_host and not self._has_valid_host(headers):
            return False
        names = [name for name, _ in headers]
        return PASSTHROUGH_HEADERS.issuperset(names) and len(set(names)) == len(names)

    def _has_valid_host(self, headers: list[tuple[bytes, bytes]]) -> bool:
        for header in headers:
            if header[0] == b"host" and is_valid_host(header[1]):
                self._valid_host = header
                return True
        return False

    def _predict(self, request: FastRequest, data: bytes) -> None:
        headers, body = self.request_headers, data[len(data) - self.parser.content_length :]
        self.parser.reset()
        self._receiving_since = None
        self._host.nr += 1
        if self._host.asgi.limiter.available:
            self._body = BufferedBody(body)
            run_eagerly(self._respond(request, headers, self._body))
        else:
            self._host.rejections.submit(self)

    async def _respond(self, request: FastRequest, headers: list[tuple[bytes, bytes]], body: BufferedBody) -> None:
        await self._host.asgi.predict(request.endpoint, headers, request.query, body, self._send)
        self._next_request()

    async def _send(self, response: HttpResponse) -> None:
        self._write(response)
        await self.drain_writes()

    def _write(self, response: HttpResponse) -> None:
        if not self.is_closed:
            self.write_response(response, close=not self._host.alive)

    def _next_request(self) -> None:
        self._fast_request = self._body = None
        self.finish_request()

    def reject(self) -> None:
        """Send 429."""
        request = self._fast_request
        if self.is_closed or request is None:
            return
        self._write(self._host.asgi.reject(request.endpoint, time.perf_counter() - request.started))
        self._next_request()

    def pause_writing(self) -> None:
        """The client does not read as fast as responses are written: bound what waits for it."""
        super().pause_writing()
        self._host.send_budget.register(self)

    def resume_writing(self) -> None:
        """The client has read most of what was written."""
        super().resume_writing()
        self._host.send_budget.release(self)

    def close(self) -> None:
        """Close the connection; it ends when the client has read what was written, and so that is bounded too."""
        if not self.is_closed:
            super().close()
            if self.unsent_bytes:
                self._host.send_budget.register(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Release what the connection holds, and have the request that is being handled on the fast path ended."""
        if not self.is_lost:
            self._host.connections.discard(self)
            self._host.counts.add(self._host.slot, -1)
        super().connection_lost(exc)
        self.resume_writing()  # ends a `drain_writes` that would wait forever
        body, self._body = self._body, None
        if body is not None and body.on_disconnect is not None:
            body.on_disconnect()
