"""One client's connection, as gunicorn's asgi worker has it, with what a server in the open needs besides.

- A client has `receive_seconds` to send the head of its first request, and gunicorn's `keepalive` for each after it:
  gunicorn itself waits forever for the first.
- Answers to what is no HTTP are JSON, as all errors are.
- A request is answered in the task of its connection: one task fewer than gunicorn's, and a sixth more requests.
- A prediction that comes when all places are taken is refused before a request is built, as service/refusals.py says.

It builds on what gunicorn does not promise to keep, so gunicorn's version is pinned, and tests/system/test_http.py
holds all of this against real sockets.
"""

import asyncio
import math
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from gunicorn.asgi.protocol import ASGIProtocol

from service import replies

if TYPE_CHECKING:
    from service.worker import Worker

HTTP_1_1 = SimpleNamespace(version=(1, 1))
END_OF_HEAD = b"\r\n\r\n"


class Connection(ASGIProtocol):  # type: ignore[misc]
    """One client's connection."""

    def __init__(self, worker: "Worker") -> None:
        super().__init__(worker)
        self._data = b""
        self._refused: float | None = None
        self._refused_last = -math.inf

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin, and wait for the first head only so long."""
        super().connection_made(transport)
        self.worker.connections.add(self)
        seconds = self.worker.asgi.service.settings.receive_seconds
        self._keepalive_handle = self.worker.loop.call_later(seconds, self._keepalive_timeout)

    def data_received(self, data: bytes) -> None:
        """Read on."""
        self._data = data
        super().data_received(data)
        self._data = b""  # so that a connection does not hold it until the next
        parser = self._callback_parser
        if self._refused is None or self._closed:
            return
        if parser.is_complete and not parser.remaining():
            parser.reset()
            self.worker.refusals.add(self)
        else:  # its head came in pieces, and more than it looked like: nothing may be taken for the next request
            self.refuse(close=True)
            self._close_transport()

    def _on_headers_complete(self) -> bool:
        parser = self._callback_parser
        predicts = parser.path.partition(b"?")[0] == b"/predict" and parser.method == b"POST"
        if predicts and self._is_to_be_refused():
            self._refused = time.perf_counter()
            return False
        skip: bool = super()._on_headers_complete()
        self.worker.asgi.turns.coming += 1
        if predicts:
            self.worker.refusals.expect()
        return skip

    def _is_to_be_refused(self) -> bool:
        """Whether there is no place, and a request that is here whole, and alone, on a connection that is kept."""
        if self.worker.asgi.places.free > self.worker.refusals.coming or not (
            self._awaiting_request and self.worker.alive
        ):
            return False
        parser = self._callback_parser
        if parser.http_version != (1, 1) or not parser.should_keep_alive or parser.is_chunked:
            return False
        _, end, body = self._data.partition(END_OF_HEAD)
        return bool(end and len(body) == parser.content_length)

    def hold(self) -> None:
        """Read no more until `refuse`."""
        self._pause_reading()

    def refuse(self, *, close: bool = False) -> None:
        """Send 429; `close`: as the last of this connection."""
        if self._closed or self._refused is None:
            return
        reply = self.worker.asgi.refuse(time.perf_counter() - self._refused)
        self._refused, self._refused_last = None, self.worker.loop.time()
        self._send_response_start(reply.status, replies.headers(reply), HTTP_1_1, close)
        self._safe_write(self._response_buffer + reply.body)
        self._resume_reading()

    def _keepalive_timeout(self) -> None:
        idle = 0 if self._refused else self.worker.loop.time() - self._refused_last
        if idle < self._keepalive:
            self._keepalive_handle = self.worker.loop.call_later(self._keepalive - idle, self._keepalive_timeout)
        else:
            super()._keepalive_timeout()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        if not self._conn_lost_handled:
            self.worker.connections.discard(self)
            self.worker.counts.add(self.worker.slot, -1)
        self._refused = None
        super().connection_lost(exc)

    def close_if_idle(self) -> None:
        """Close it, unless a request is being received or answered."""
        if self._awaiting_request:
            super()._keepalive_timeout()

    async def _serve_http_request(self, request: Any, sockname: Any, peername: Any) -> Any:
        return await self._handle_http_request(request, sockname, peername)

    def _send_error_response(self, status: int, message: str, extra_headers: Any = ()) -> None:
        body = replies.sentence(status, message).body
        head = (
            f"HTTP/1.1 {status} {self._get_reason_phrase(status)}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n"
        )
        head += "".join(f"{name}: {value}\r\n" for name, value in extra_headers)
        self._safe_write(head.encode("latin-1") + b"\r\n" + body)
