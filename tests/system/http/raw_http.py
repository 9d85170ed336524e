"""HTTP/1.1 byte by byte: requests as bytes, and connections that send and receive them."""

import select
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from http.client import parse_headers
from typing import NamedTuple

import numpy as np

from tests.service.payloads import encode, stroke
from tests.system.server import Server

PICTURE = encode(stroke())
"""A PNG file of 28x28 pixels, which the fast path reads."""
PHOTOGRAPH = encode(np.full((1500, 1500), 255, np.uint8) - np.pad(stroke(), 736))
"""A PNG file that takes a parser process some hundredths of a second to read."""
TIMEOUT_SECONDS = 60

HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
GET_HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


def with_body(body: bytes, head: bytes = HEAD) -> bytes:
    """A request with a Content-Length; `head` has no empty line at its end."""
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


PREDICT = with_body(PICTURE)
PREDICT_PHOTOGRAPH = with_body(PHOTOGRAPH)
PREDICT_CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(PICTURE), PICTURE)


class Response(NamedTuple):
    """A response: status, phrase, headers without the date, body."""

    status: int
    phrase: str
    headers: dict[str, str]
    body: bytes


class RawConnection:
    """A client's connection."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self._reader = connected.makefile("rb")

    def send(self, data: bytes) -> None:
        """Send these bytes."""
        self.socket.sendall(data)

    def receive(self, method: str = "POST") -> Response:
        """Read the next response, which must have a Content-Length; `method` is that of its request."""
        version, _, rest = self._reader.readline().decode().partition(" ")
        assert version == "HTTP/1.1", version
        status, _, phrase = rest.removesuffix("\r\n").partition(" ")
        headers = {name: value for name, value in parse_headers(self._reader).items() if name != "Date"}
        body = b"" if method == "HEAD" else self._reader.read(int(headers["Content-Length"]))
        return Response(int(status), phrase, headers, body)

    def request(self, data: bytes, method: str = "POST") -> Response:
        """Send a request, and read its response."""
        self.send(data)
        return self.receive(method)

    def receive_line(self) -> bytes:
        """Read one line."""
        return self._reader.readline()

    def has_data(self) -> bool:
        """Whether something can be read now. Nothing may have been read of an incomplete response."""
        return bool(select.select([self.socket], [], [], 0)[0])

    def is_closed(self) -> bool:
        """Wait for the end of the connection; False if there is data instead."""
        try:
            return self._reader.read(1) == b""
        except ConnectionResetError:
            return True


def connect(server: Server, *, receive_buffer: int | None = None) -> AbstractContextManager[RawConnection]:
    """Open a connection to a service, as `open_connection`."""
    return open_connection(server.host_and_port, receive_buffer=receive_buffer)


@contextmanager
def open_connection(address: tuple[str, int], *, receive_buffer: int | None = None) -> Iterator[RawConnection]:
    """Open a connection, and close it at the end; `receive_buffer`: size of the socket's buffer in bytes."""
    with socket.socket() as opened:
        opened.settimeout(TIMEOUT_SECONDS)
        if receive_buffer:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        opened.connect(address)
        connection = RawConnection(opened)
        try:
            yield connection
        finally:
            connection._reader.close()


def wait_until_read(server: Server) -> None:
    """Wait until a server with one worker has read all that was sent to it: it responds to a later request."""
    assert server.client.get("/healthz").status_code == 200
