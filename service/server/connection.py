"""One client's connection, as gunicorn's asgi worker has it, with what a server in the open needs besides.

- A prediction that is here whole when its head is read, as almost all are, is answered at once: gunicorn would build
  a request and a scope and wake a task for it, which takes as long as everything else. Whatever is unusual about it
  takes gunicorn's way; both end in Application.predict.
- If all places are taken then, it is refused as service/server/load_shedding.py says.
- A client has `receive_timeout_seconds` to send the head of its first request, and gunicorn's `keepalive` for each
  after it: gunicorn itself waits forever for the first.
- Other requests are answered in the task of their connection: one task fewer than gunicorn's.
- Answers to what is no HTTP are JSON, as all errors are.

It builds on what gunicorn does not promise to keep, so gunicorn's version is pinned, and tests/system/test_http.py
holds all of this against real sockets.
"""

import asyncio
import math
import re
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from gunicorn.asgi.protocol import ASGIProtocol

from service import responses
from service.responses import JsonResponse
from service.server import eager_task
from service.server.request_body import BufferedBody

if TYPE_CHECKING:
    from service.server.worker import DigitsWorker

HTTP_1_1 = SimpleNamespace(version=(1, 1))
END_OF_HEAD = b"\r\n\r\n"
PREDICT = re.compile(rb"/predict(?:\?([\w=,&.~%+-]*))?", re.ASCII)
PASSTHROUGH_HEADERS = frozenset(
    b"host user-agent accept accept-encoding accept-language connection content-type content-length authorization "
    b"cache-control traceparent tracestate x-request-id x-real-ip x-forwarded-for x-forwarded-proto".split()
)
"""Headers that, if none comes twice, change nothing about how a request is read."""


class Connection(ASGIProtocol):  # type: ignore[misc]
    """One client's connection."""

    def __init__(self, worker: "DigitsWorker") -> None:
        super().__init__(worker)
        self._data = b""
        self._pipelined = b""
        self._fast_request_started: float | None = None
        """When the prediction came that is answered without a request; None: there is none."""
        self._last_response_at = -math.inf
        """When the last one was, in the loop's time."""
        self._has_hooks = bool(self.log.access_log_enabled or self._pre_request or self._post_request)

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin, and wait for the first head only so long."""
        super().connection_made(transport)
        self.worker.connections.add(self)
        seconds = self.worker.asgi.context.settings.receive_timeout_seconds
        self._keepalive_handle = self.worker.loop.call_later(seconds, self._keepalive_timeout)

    def data_received(self, data: bytes) -> None:
        """Read on."""
        if self._fast_request_started is not None:  # answers go out in the order of their requests
            self._pipelined += data
            self._pause_reading()
            return
        self._data = data
        super().data_received(data)
        self._data = b""  # so that a connection does not hold it until the next
        if self._fast_request_started is not None:
            self._predict(data)

    def _on_headers_complete(self) -> bool:
        parser = self._callback_parser
        if (
            parser.method == b"POST"
            and PREDICT.fullmatch(parser.path)
            and self._is_complete()
            and self._is_fast_path_eligible()
        ):
            self._fast_request_started = time.perf_counter()
            return False
        return bool(super()._on_headers_complete())

    def _is_complete(self) -> bool:
        """Whether all of the request is here, and nothing else."""
        # The first empty line in what came ends the head, unless it began in what came before.
        end = -1 if self._data[:1] in {b"\r", b"\n"} else self._data.find(END_OF_HEAD)
        follows = len(self._data) - end - len(END_OF_HEAD)
        parser = self._callback_parser
        return end >= 0 and not parser.is_chunked and bool(follows == parser.content_length)

    def _is_fast_path_eligible(self) -> bool:
        """Whether gunicorn has nothing to do for this request but to hand it on and keep the connection."""
        parser, worker = self._callback_parser, self.worker
        if self._has_hooks or not (worker.alive and self._keepalive):
            return False
        if parser.http_version != (1, 1) or not parser.should_keep_alive or worker.nr + 1 >= worker.max_requests:
            return False
        names = [name for name, _ in _headers(parser)]
        return PASSTHROUGH_HEADERS.issuperset(names) and len(set(names)) == len(names)

    def _predict(self, data: bytes) -> None:
        parser = self._callback_parser
        headers, path, body = _headers(parser), parser.path, data[len(data) - parser.content_length :]
        parser.reset()
        self.worker.nr += 1
        if self.worker.asgi.limiter.available:
            eager_task.run_eagerly(self._answer(headers, path.partition(b"?")[2], body))
        else:
            self.worker.rejections.submit(self)

    async def _answer(self, headers: list[tuple[bytes, bytes]], query: bytes, body: bytes) -> None:
        await self.worker.asgi.predict(headers, query, BufferedBody(body), self._send)
        self._next_request()

    async def _send(self, reply: JsonResponse) -> None:
        self._write(reply)
        if self._flow_control.write_paused:
            await self._flow_control.drain()

    def _write(self, reply: JsonResponse) -> None:
        if self._closed:
            return
        last = not self.worker.alive
        self._send_response_start(reply.status, responses.asgi_headers(reply), HTTP_1_1, last)
        self._send_body(reply.body)
        if last:
            self._close_transport()

    def _next_request(self) -> None:
        """Wait for the next request, or read it if it came meanwhile."""
        if self._closed:
            return
        if self._last_response_at < 0:
            self._arm_keepalive_timer()
        self._fast_request_started, self._last_response_at = None, self.worker.loop.time()
        self._resume_reading()
        held, self._pipelined = self._pipelined, b""
        if held:
            self.data_received(held)

    def pause(self) -> None:
        """Read no more until `refuse`."""
        self._pause_reading()

    def reject(self) -> None:
        """Send 429."""
        if self._closed or self._fast_request_started is None:
            return
        self._write(self.worker.asgi.reject(time.perf_counter() - self._fast_request_started))
        self._next_request()

    def _keepalive_timeout(self) -> None:
        idle = 0 if self._fast_request_started is not None else self.worker.loop.time() - self._last_response_at
        if idle < self._keepalive:
            self._keepalive_handle = self.worker.loop.call_later(self._keepalive - idle, self._keepalive_timeout)
        else:
            super()._keepalive_timeout()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        if not self._conn_lost_handled:
            self.worker.connections.discard(self)
            self.worker.counts.add(self.worker.slot, -1)
        super().connection_lost(exc)
        self.resume_writing()  # who waits to send more need not

    def close_if_idle(self) -> None:
        """Close it, unless a request is being received or answered."""
        if self._awaiting_request and self._fast_request_started is None:
            super()._keepalive_timeout()

    async def _serve_http_request(self, request: Any, sockname: Any, peername: Any) -> Any:
        return await self._handle_http_request(request, sockname, peername)

    def _send_error_response(self, status: int, message: str, extra_headers: Any = ()) -> None:
        body = responses.error_response(status, message).body
        head = (
            f"HTTP/1.1 {status} {self._get_reason_phrase(status)}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n"
        )
        head += "".join(f"{name}: {value}\r\n" for name, value in extra_headers)
        self._safe_write(head.encode("latin-1") + b"\r\n" + body)


def _headers(parser: Any) -> list[tuple[bytes, bytes]]:
    """What the C parser or gunicorn's own has read, names in small letters."""
    headers: list[tuple[bytes, bytes]] = getattr(parser, "asgi_headers", None) or parser.headers
    return headers
