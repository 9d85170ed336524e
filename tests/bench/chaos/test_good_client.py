"""bench/chaos/good_client.py against a server that misbehaves in known ways: each request is counted once."""

import asyncio
import itertools
import json
import socket
import struct
from collections import Counter

import pytest

from bench.chaos.good_client import Client, Connections, GoodClientResult
from bench.chaos.good_requests import make_requests

PLAN = (Connections("plain", 1, is_kept_alive=True, pause_seconds=0),)
DIGITS = [request.digits[0] for request in make_requests()["plain"]]
"""The digits of the requests, in the order in which one connection sends them."""

ERRORS = {
    "429": ("429 Too Many Requests", "busy"),
    "422": ("422 Unprocessable Content", "no digit"),
    "500": ("500 Internal Server Error", "internal error"),
}


class MisbehavingServer:
    """Answers each request with the next of some behaviours, again and again, and counts them."""

    def __init__(self, *behaviours: str) -> None:
        self._behaviours = itertools.cycle(behaviours)
        self._digits = itertools.cycle(DIGITS)
        self.requests = 0
        self.counts: Counter[str] = Counter()
        self.enough = asyncio.Event()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                await reader.readexactly(int(head.partition("Content-Length: ")[2].partition("\r\n")[0]))
                behaviour, digit = next(self._behaviours), next(self._digits)
                self.counts[behaviour] += 1
                self.requests += 1
                if self.requests == 40:
                    self.enough.set()
                if behaviour == "reset":
                    linger = struct.pack("ii", 1, 0)
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    writer.close()
                    return
                if behaviour == "half a response":
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
                    writer.close()
                    return
                writer.write(respond(behaviour, digit))
                if behaviour == "announced close":
                    writer.close()
                    return
        except asyncio.IncompleteReadError:
            writer.close()


def respond(behaviour: str, digit: int) -> bytes:
    status, error = ERRORS.get(behaviour, ("200 OK", ""))
    digit = (digit + 1) % 10 if behaviour == "another digit" else digit
    document = {"error": error} if error else {"version": "3", "predictions": [{"digit": digit}]}
    body = json.dumps(document).encode()
    close = "Connection: close\r\n" if behaviour == "announced close" else ""
    return f"HTTP/1.1 {status}\r\n{close}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def count(server: MisbehavingServer) -> GoodClientResult:
    """Run the client until the server has had 40 requests."""
    listener = await asyncio.start_server(server.handle, "127.0.0.1", 0)
    async with listener:
        phases = asyncio.StreamReader()
        client = asyncio.create_task(Client(listener.sockets[0].getsockname()[1], PLAN).run(phases))
        await server.enough.wait()
        phases.feed_eof()
        return await client


def test_every_request_is_counted_as_what_became_of_it() -> None:
    async def run() -> None:
        server = MisbehavingServer(
            "right",
            "429",
            "422",
            "right",
            "another digit",
            "500",
            "reset",
            "right",
            "half a response",
            "announced close",
        )
        result = await count(server)
        counts = result.counts["calm"]["plain"]
        assert counts.sent == server.requests
        assert counts.right == server.counts["right"] + server.counts["announced close"]
        assert counts.refused == server.counts["429"]
        assert result.refusals == {
            "429: busy": server.counts["429"],
        }
        assert counts.wrong == server.counts["another digit"] + server.counts["500"] + server.counts["422"]
        assert Counter(lost.how for lost in result.lost) == {
            "ConnectionResetError": server.counts["reset"],
            "closed": server.counts["half a response"],
        }
        assert all(lost.port and 0 < lost.opened <= lost.at and not lost.is_refused_connection for lost in result.lost)
        assert result.versions == {"3": counts.right}
        assert 0 < counts.p50_ms <= counts.p99_ms

    asyncio.run(run())


def test_a_refused_connection_ends_the_client_and_is_no_request() -> None:
    async def run() -> GoodClientResult:
        listener = await asyncio.start_server(MisbehavingServer("right").handle, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        listener.close()
        await listener.wait_closed()
        phases = asyncio.StreamReader()
        phases.feed_eof()
        client = Client(port, PLAN)
        await client._send_repeatedly(PLAN[0])
        return await client.run(phases)

    result = asyncio.run(run())
    assert [lost.is_refused_connection for lost in result.lost] == [True]
    assert sum(counts.sent for kinds in result.counts.values() for counts in kinds.values()) == 0


@pytest.mark.parametrize("kind", ["plain", "photograph", "bulk"])
def test_neighbouring_requests_have_other_digits_or_the_same_picture(kind: str) -> None:
    requests = make_requests()[kind]
    if kind == "plain":
        assert all(before.digits != after.digits for before, after in itertools.pairwise(requests))
    assert all(request.data.startswith(b"POST /predict") for request in requests)
