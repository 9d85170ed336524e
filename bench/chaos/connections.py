"""A client's connection byte by byte, for clients that do not speak HTTP as they should."""

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, parse_headers

TIMEOUT_SECONDS = 40
"""Longer than the service waits for anything: a client without a response after that gets none."""
PREDICT_PNG = b"POST /predict HTTP/1.1\r\nHost: chaos\r\nContent-Type: image/png\r\n"


def post(target: str, content_type: str, body: bytes) -> bytes:
    """A complete POST request with a Content-Length."""
    head = f"POST {target} HTTP/1.1\r\nHost: chaos\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
    return head.encode("latin-1") + b"\r\n" + body


class RawConnection:
    """A connection to 127.0.0.1. `port` is the client's port, `opened` the time.monotonic() before it was opened."""

    def __init__(self, connected: socket.socket, opened: float) -> None:
        self.socket = connected
        self.port: int = connected.getsockname()[1]
        self.opened = opened
        self.is_closing = False
        """Whether a response has announced that it is the last."""
        self._reader = connected.makefile("rb")

    def send(self, data: bytes) -> None:
        """Send these bytes."""
        self.socket.sendall(data)

    def receive(self) -> str:
        """Read a response to its end, and describe it.

        Returns:
            The status in digits; "closed" if the connection ended before a response, "truncated" within one,
            "not HTTP" if it is no response.

        Raises:
            OSError: the connection was reset, or TIMEOUT_SECONDS passed.
        """
        line = self._reader.readline(1000)
        if not line:
            return "closed"
        words = line.split()
        if not line.startswith(b"HTTP/1.1 ") or len(words) < 2:
            return "not HTTP"
        try:
            headers = parse_headers(self._reader)
            length = int(headers.get("Content-Length", "0"))
        except (HTTPException, ValueError):
            return "not HTTP"
        self.is_closing |= headers.get("Connection", "").lower() == "close"
        if words[1] == b"100":
            return self.receive()
        return words[1].decode() if len(self._reader.read(length)) == length else "truncated"

    def request(self, data: bytes) -> str:
        """Send a request, and describe the response as `receive` does.

        A server may respond and close before it has read everything: then the response counts, not the broken pipe.
        """
        try:
            self.send(data)
        except (BrokenPipeError, ConnectionResetError):
            return self.receive()
        return self.receive()

    def finish_sending(self) -> None:
        """Close the sending half: the server reads the end of the connection, and can still respond."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Have the connection end with a reset when it is closed."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def close_reader(self) -> None:
        """Release the socket: it is closed once its reader is."""
        self._reader.close()


@contextmanager
def connect(port: int, *, receive_buffer: int | None = None) -> Iterator[RawConnection]:
    """Open a connection to 127.0.0.1, and close it at the end; `receive_buffer`: bytes of the socket's buffer."""
    with socket.socket() as opened:
        opened.settimeout(TIMEOUT_SECONDS)
        if receive_buffer:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        started = time.monotonic()
        opened.connect(("127.0.0.1", port))
        connection = RawConnection(opened, started)
        try:
            yield connection
        finally:
            connection.close_reader()
