"""One client's HTTP/1.1 connection (RFC 9112), whatever the client does with it.

- Requests are handled one at a time, and responses are sent in their order. What arrives behind a request waits; over
  MAX_PENDING_BYTES of it, nothing more is received, and TCP holds the client back.
- What is not a valid request, or does not arrive in time, gets an error as JSON. The connection is closed after the
  client had time to read it: closing at once could discard the response (RFC 9112, section 9.6).
- A client may close its direction of the connection after its requests, and still gets the responses. One that has
  left is noticed (peer_probe.py), so that its request can be ended.
- The body of a GET, DELETE or the like is received within the limits, and discarded.

The first request must begin within `receive_timeout_seconds` of the connection, and each further one within
`keepalive_seconds` of the response before it. A head must arrive within `receive_timeout_seconds` of its first byte.
gunicorn itself waits for the first request without a limit.
"""

import asyncio
import math
from typing import Any

from service.server import peer_probe
from service.server.gunicorn_compat import HttpConnection
from service.server.request_body import LINGER_SECONDS
from service.server.request_head import METHODS_WITH_BODY, InvalidHead, check_head, parse_absolute_form

MAX_FEED_BYTES = 65_536
"""Parsed in one go: of what follows a complete request, the C parser keeps so much and drops the rest."""
MAX_PENDING_BYTES = 65_536
"""Behind a request that is being handled; one more read of the event loop may be added."""
MAX_DRAINED_BYTES = 65_536
"""The connection is kept after a response that comes before the end of a body of so many bytes: it is discarded."""

MAX_BODY_PIECES = 65_536
"""Of one body, chunks or what arrives of them at once: each takes 3 us, and its memory."""

INCOMPLETE = "the connection was closed before the request was complete"


class Http1Connection(HttpConnection):
    """A connection whose requests all go through gunicorn."""

    def __init__(self, host: Any) -> None:
        super().__init__(host)
        self._loop: asyncio.AbstractEventLoop = host.loop
        self._pending = bytearray()
        """What arrived behind the current request."""
        self._receiving_since: float | None = None
        """When the first byte of a head, or the head before a body that is discarded, arrived; None: nothing is due."""
        self._last_response_at = -math.inf
        """When the last response was sent, in the event loop's time."""
        self._is_half_closed = False
        """Whether the client has sent its FIN."""
        self._discarded: int | None = None
        """The bytes of a body that no route reads; None if the current request has no such body."""
        self._body_pieces = 0
        self._has_failed = False
        self._has_long_timeout = True
        """Whether the timeout that is set is longer than `keepalive_seconds`."""
        settings = host.asgi.context.settings
        self._receive_timeout, self._max_body_bytes = settings.receive_timeout_seconds, settings.max_body_bytes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start, and wait for the first head within the limit."""
        super().connection_made(transport)
        if self.parser is not None:  # None: HTTP/2 was negotiated, and gunicorn handles all of it
            self._set_timeout(self._receive_timeout)

    def _set_timeout(self, seconds: float) -> None:
        self._has_long_timeout = seconds > self.keepalive_seconds
        self.set_timeout(seconds)

    def data_received(self, data: bytes) -> None:
        """Parse, or keep for later: responses are sent in the order of their requests."""
        if self.is_request_complete:
            self._receive_later(data)
        else:
            self.parse(data)

    def _receive_later(self, data: bytes) -> None:
        if self.is_closed:
            return
        self._pending += data
        if len(self._pending) > MAX_PENDING_BYTES:
            self.pause_reading()

    def parse(self, data: bytes) -> None:
        """Parse up to the end of a request, and keep the rest for later."""
        if len(data) <= MAX_FEED_BYTES:
            self.feed(data)
        else:
            for start in range(0, len(data), MAX_FEED_BYTES):
                self.feed(data[start : start + MAX_FEED_BYTES])
                if self.is_request_complete:
                    if self.has_request:  # if not, the data was one request, and its rest is its body
                        self._receive_later(data[start + MAX_FEED_BYTES :])
                    break
        if self._receiving_since is None and not (self.is_request_complete or self.has_request or self.parser is None):
            self._receiving_since = self._loop.time()
            self._set_timeout(self._receive_timeout)

    def headers_complete(self) -> bool:
        """Check the head, and have the application handle the request."""
        self._receiving_since = None
        parser = self.parser
        check_head(parser.method, parser.http_version, self.request_headers)
        target = parse_absolute_form(parser.path)
        super().headers_complete()
        if target is not None:
            self.set_target(target)
        self.ignore_upgrade()  # as RFC 9110, section 7.8 allows; Flask would take it for a handshake
        self._discarded, self._body_pieces = None, 0
        if parser.method not in METHODS_WITH_BODY and (parser.is_chunked or parser.content_length):
            self._discard_body(parser.content_length or 0)
        return False

    def _discard_body(self, length: int) -> None:
        if length > self._max_body_bytes:
            raise InvalidHead(413, f"the body has {length} bytes; {self._max_body_bytes} are allowed")
        self._discarded, self._receiving_since = 0, self._loop.time()
        self._set_timeout(self._receive_timeout)
        self.write_continue()

    def body_received(self, chunk: bytes) -> None:
        """Give a part of a body to the application, or discard it."""
        self._body_pieces += 1
        if self._body_pieces > MAX_BODY_PIECES:
            raise InvalidHead(413, f"the body arrives in more than {MAX_BODY_PIECES} pieces; send larger chunks")
        if self._discarded is None:
            super().body_received(chunk)
            return
        self._discarded += len(chunk)
        if self._discarded > self._max_body_bytes:
            limit = self._max_body_bytes
            raise InvalidHead(413, f"the body has more than {limit} bytes; {limit} are allowed")

    @property
    def is_ready(self) -> bool:
        """Whether the current request can be handled: a body that is discarded has arrived."""
        return self._discarded is None or self.is_request_complete

    async def serve_requests(self) -> None:
        """Have the application handle one request after the other."""
        while await self.wait_for_request():
            self._receiving_since = None
            if not await self.respond():
                return
            self.finish_request(self.forget_request())
            if self.has_request:  # pipelined requests that need no thread must not keep the event loop from others
                await asyncio.sleep(0)

    def finish_request(self, rest: bytes = b"") -> None:
        """Wait for the next request, or parse it if it has arrived meanwhile.

        Args:
            rest: what the parser has received of it.
        """
        if self.is_closed:
            return
        self.is_request_complete = False
        if self._has_long_timeout:
            self._has_long_timeout = False
            self.arm_keepalive()
        self._last_response_at = self._loop.time()
        if rest or self._pending:
            self._parse_pending(rest)
        if not self.is_reading and self.may_resume_reading():
            self.resume_reading()
        if self._is_half_closed and not (self.is_request_complete or self.has_request):
            self._end_input()

    def _parse_pending(self, rest: bytes) -> None:
        if rest and not self.is_closing:
            self.parse(rest)
        while self._pending and not (self.is_request_complete or self.is_closing):
            piece = bytes(self._pending[:MAX_FEED_BYTES])
            del self._pending[:MAX_FEED_BYTES]
            self.parse(piece)

    def will_close(self) -> bool:
        """Whether the response comes before the end of its request, and more may follow than is discarded."""
        length = self.parser.content_length
        return not self.is_request_complete and (self.parser.is_chunked or length > MAX_DRAINED_BYTES)

    def may_resume_reading(self) -> bool:
        """Whether there is room for more bytes behind the current request."""
        return len(self._pending) <= MAX_PENDING_BYTES

    def timed_out(self) -> None:
        """Close the connection if the client is late.

        A request does not cancel the timeout, and a response does not set one: comparing times takes less.
        """
        now = self._loop.time()
        if self._receiving_since is not None and not self.is_request_complete:
            left = self._receiving_since + self._receive_timeout - now
            if left <= 0:
                self.fail(408, f"the request did not arrive within {self._receive_timeout} seconds")
                return
        elif self.is_request_complete or self.has_request:
            left = max(self.keepalive_seconds, 1)
        else:
            left = self._last_response_at + self.keepalive_seconds - now
            if left <= 0:
                self.close_when_idle()
                return
        self._set_timeout(left)

    def eof_received(self) -> bool:
        """The client sends nothing more: keep the connection for the responses that it still waits for.

        Returns:
            Whether the connection stays open. TLS has no half-closed connections.
        """
        if self.parser is None or self.is_closed:
            return False
        if not self.is_request_complete:
            self._end_input()
            return False
        if self.is_encrypted:
            return False
        self._is_half_closed = True
        self._loop.call_later(peer_probe.PROBE_SECONDS, self._probe)
        return True

    def _end_input(self) -> None:
        """Nothing more arrives: close the connection, with an error if a request is incomplete."""
        if self._receiving_since is not None or self.has_request:
            self.fail(400, INCOMPLETE)
        else:
            self.close_when_idle()

    def _probe(self, *, is_first: bool = True) -> None:
        """Find out whether the client has left, as long as a response is due."""
        if self.is_closing:
            return
        if peer_probe.is_reset(self.transport):
            self.transport.abort()
            return
        if is_first:
            peer_probe.send_probe(self.transport)
        self._loop.call_later(peer_probe.PROBE_SECONDS, lambda: self._probe(is_first=False))

    def fail(self, status: int, message: str) -> None:
        """Write an error, unless the current request has a response already, and close the connection."""
        if self.is_closed:
            return
        if not self.has_responded:
            self.write_error(status, message)
        self._has_failed = True
        self.close()

    def close(self) -> None:
        """Close the connection, after LINGER_SECONDS if bytes may arrive that nobody reads.

        A socket that is closed before such bytes are read sends a reset, and with a reset the client may lose the
        response that was sent before it (RFC 9112, section 9.6).
        """
        if self.is_closed:
            return
        is_incomplete = self._receiving_since is not None or (self.has_request and not self.is_request_complete)
        has_more = bool(self._pending or self.rest) or not self.is_reading
        if (self._has_failed or is_incomplete or has_more) and not (self._is_half_closed or self.is_closing):
            self.close_for_writing()
            self._loop.call_later(LINGER_SECONDS, self.transport.close)
        else:
            super().close()

    def close_if_idle(self) -> None:
        """Close the connection, unless a request has begun to arrive, or is being handled."""
        is_idle = not (self.has_request or self.is_request_complete or self.parser is None or self.is_closing)
        if is_idle and self._receiving_since is None and not self.has_unread_data():
            self.close_when_idle()
