"""The probe of a half-closed connection, against the kernel's sockets under both event loops."""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from service.server.peer_probe import is_reset, send_probe
from tests.service.server.test_connection import until

EVENT_LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


class HalfOpen(asyncio.Protocol):
    """Keeps a connection open after the client's FIN."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.eof = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def eof_received(self) -> bool:
        self.eof.set()
        return True


async def connect() -> tuple[socket.socket, HalfOpen]:
    loop, protocol = asyncio.get_running_loop(), HalfOpen()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        await loop.connect_accepted_socket(lambda: protocol, listener.accept()[0])
    return client, protocol


def run(scenario: Coroutine[Any, Any, None], new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(asyncio.wait_for(scenario, 20))


@pytest.mark.parametrize("new_loop", EVENT_LOOPS.values(), ids=EVENT_LOOPS)
def test_a_client_that_has_closed_resets_the_connection_when_it_is_probed(new_loop: Any) -> None:
    async def scenario() -> None:
        client, server = await connect()
        client.close()
        await server.eof.wait()
        assert not is_reset(server.transport)
        send_probe(server.transport)
        await until(lambda: is_reset(server.transport))
        server.transport.abort()

    run(scenario(), new_loop)


@pytest.mark.parametrize("new_loop", EVENT_LOOPS.values(), ids=EVENT_LOOPS)
def test_a_half_closed_client_reads_nothing_of_the_probe(new_loop: Any) -> None:
    async def scenario() -> None:
        client, server = await connect()
        client.shutdown(socket.SHUT_WR)
        await server.eof.wait()
        send_probe(server.transport)
        server.transport.write(b"response")
        server.transport.close()
        assert not is_reset(server.transport)
        received = await asyncio.to_thread(lambda: client.makefile("rb").read())
        assert received == b"response"
        client.close()

    run(scenario(), new_loop)


@pytest.mark.parametrize("new_loop", EVENT_LOOPS.values(), ids=EVENT_LOOPS)
def test_a_connection_that_is_closed_counts_as_reset(new_loop: Any) -> None:
    async def scenario() -> None:
        client, server = await connect()
        server.transport.abort()
        await until(lambda: is_reset(server.transport))
        send_probe(server.transport)
        client.close()

    run(scenario(), new_loop)
