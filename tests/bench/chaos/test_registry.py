"""bench/chaos/registry.py: ends are counted as they are, and excused only with a reason."""

import socket
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.chaos.registry import KILLED, STOPPING, Ends, Misbehaviour, Victim, misbehaving, perform
from bench.process_tree import Kill


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as created:
        yield created


def victim(listener: socket.socket) -> Victim:
    return Victim(listener.getsockname()[1], 0, Path(), str)


def kind(act: Callable[[Victim], str], *expected: str) -> Misbehaviour:
    return Misbehaviour("odd", "clients", act, frozenset(expected), 0.01)


def request(served: Victim) -> str:
    with served.connect() as connection:
        return connection.request(b"x")


def respond(listener: socket.socket, response: bytes) -> None:
    connection, _ = listener.accept()
    connection.recv(1)
    connection.sendall(response)
    connection.close()


@pytest.mark.parametrize(
    ("response", "end"),
    [
        (b"HTTP/1.1 422 No\r\nContent-Length: 2\r\n\r\n{}", "422"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "200"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}", "truncated"),
        (b"SSH-2.0\r\n", "not HTTP"),
        (b"", "closed"),
    ],
)
def test_a_response_is_described(listener: socket.socket, response: bytes, end: str) -> None:
    served = victim(listener)

    def act(target: Victim) -> str:
        with target.connect() as connection:
            connection.send(b"x")
            respond(listener, response)
            return connection.receive()

    assert perform(served, kind(act)) == end


def test_a_refused_connection_is_excused_only_after_the_stop(listener: socket.socket) -> None:
    served = victim(listener)
    listener.close()
    assert perform(served, kind(request)) == "refused"
    served.stopped_at = 0.0
    assert perform(served, kind(request)) == STOPPING


def test_a_closed_connection_is_excused_if_its_worker_was_killed(listener: socket.socket) -> None:
    served = victim(listener)

    def act(target: Victim) -> str:
        with target.connect() as connection:
            target.kills = [Kill(1, connection.opened + 1, frozenset({connection.port}))]
            return "closed"

    assert perform(served, kind(act)) == KILLED
    assert perform(served, kind(act, "closed")) == "closed"
    assert perform(served, kind(lambda _: "closed")) == "closed"


def test_misbehaviours_are_repeated_until_the_end_and_counted(listener: socket.socket) -> None:
    served, ends = victim(listener), Ends()

    def act(target: Victim) -> str:
        if ends.counts().get("odd", Counter())["done"] == 5:
            target.stopping.set()
        return "done"

    with misbehaving(served, [kind(act)], ends, 0):
        assert served.stopping.wait(30)
    assert ends.counts() == {"odd": {"done": 6}}
