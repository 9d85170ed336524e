"""The filter that lets no new connection begin, with real sockets and the kernel's own queue."""

import errno
import logging
import select
import socket
import sys
from collections.abc import Iterator
from typing import Any, cast

import pytest

from service.server.handshake_filter import refuse_handshakes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the filter is Linux's")


@pytest.fixture(params=[("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)], ids=["IPv4", "IPv6"])
def listener(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    host, family = request.param
    with socket.socket(family) as opened:
        opened.bind((host, 0))
        opened.listen(8)
        opened.settimeout(20)
        yield opened


def test_connections_in_the_queue_are_accepted_and_work(listener: socket.socket) -> None:
    with socket.create_connection(listener.getsockname()[:2], timeout=20) as client:
        refuse_handshakes(listener)
        client.sendall(b"request")
        accepted, _ = listener.accept()
        with accepted:
            accepted.settimeout(20)
            assert accepted.recv(100) == b"request"
            accepted.sendall(b"response")
        assert client.recv(100) == b"response"


def test_accepted_connections_go_on(listener: socket.socket) -> None:
    with socket.create_connection(listener.getsockname()[:2], timeout=20) as client:
        accepted, _ = listener.accept()
        with accepted:
            accepted.settimeout(20)
            refuse_handshakes(listener)
            listener.close()
            client.sendall(b"request")
            assert accepted.recv(100) == b"request"


def test_a_new_connection_does_not_begin_and_is_refused_when_the_socket_is_closed(listener: socket.socket) -> None:
    address = listener.getsockname()
    refuse_handshakes(listener)
    refuse_handshakes(listener)  # each worker does it
    listener.settimeout(0)
    with socket.socket(listener.family) as client:
        client.settimeout(0)
        with pytest.raises(BlockingIOError):
            client.connect(address)
        with pytest.raises(BlockingIOError):
            listener.accept()
        listener.close()
        select.select([], [client], [], 20)
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED


def test_a_system_without_the_filter_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    class Refusing:
        def setsockopt(self, *_: object) -> None:
            raise OSError("Protocol not available")

    with caplog.at_level(logging.WARNING, "service.server.handshake_filter"):
        refuse_handshakes(cast("Any", Refusing()))
    assert caplog.messages == ["cannot filter new connections at the stop: Protocol not available"]
