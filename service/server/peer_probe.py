"""Tells a client that has closed its connection from one that only sends nothing more.

Both send a FIN, and nothing else. The kernel of a client that has closed resets the connection when more data arrives
(RFC 9293, section 3.6.1); a client that has closed one direction still receives. The data is one byte of urgent data
(RFC 6093): a client does not find it among the bytes that it reads, unless it asks for it, so it need not understand
the interim response that would serve as well.
"""

import asyncio
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

PROBE_SECONDS = 0.25
"""How long a request may take after the client's FIN before the client is probed, and between two looks at the
connection after that: a client that has left is noticed after twice as long."""
TCP_CLOSE = 7
"""The state of a connection that was reset (netinet/tcp.h)."""


def send_probe(transport: asyncio.BaseTransport) -> None:
    """Send one byte of urgent data, if the connection takes it at once."""
    with suppress(OSError, ValueError), _socket_of(transport) as connection:
        connection.send(b"\n", socket.MSG_OOB | socket.MSG_DONTWAIT)


def is_reset(transport: asyncio.BaseTransport) -> bool:
    """Whether the client's kernel has reset the connection. Event loops do not look for it after a FIN."""
    with suppress(OSError, ValueError), _socket_of(transport) as connection:
        if sys.platform == "linux":
            return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == TCP_CLOSE
        return connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0
    return True


@contextmanager
def _socket_of(transport: asyncio.BaseTransport) -> Iterator[socket.socket]:
    """The socket itself: that of an event loop cannot be used. OSError, ValueError: it is closed."""
    found = transport.get_extra_info("socket")
    with socket.socket(fileno=os.dup(found.fileno())) as connection:
        yield connection
