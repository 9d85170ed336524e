"""Load on one URL, in a process of its own: by wrk where it is installed, else by a client on uvloop.

Closed: so many connections, each sends its next request when it has the answer to the last.
Open: so many requests a second, whatever the answers do; a latency begins when its request is due.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import numpy as np
import uvloop

LUA = Path(__file__).parent / "post.lua"


@dataclass(frozen=True)
class Post:
    """A request: where to, what type, what body."""

    url: str
    content_type: str
    body: bytes


@dataclass(frozen=True)
class Load:
    """What came of it; latencies in milliseconds, of what was answered with 200."""

    answered: int
    failed: int
    seconds: float
    p50: float
    p99: float
    refused: int = 0

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answered / self.seconds


def closed(post: Post, connections: int, seconds: float) -> Load:
    """So many connections, each with one request at a time."""
    return _by_wrk(post, connections, seconds) if shutil.which("wrk") else _by_client(post, connections, seconds)


def at_rate(post: Post, connections: int, seconds: float, rate: float) -> Load:
    """So many requests a second, over at most so many connections."""
    return _by_client(post, connections, seconds, rate)


def _by_wrk(post: Post, connections: int, seconds: float) -> Load:
    with tempfile.NamedTemporaryFile() as file:
        file.write(post.body)
        file.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--timeout", "10s", "-s", str(LUA), post.url]
        environment = os.environ | {"BODY": file.name, "TYPE": post.content_type}
        written = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    return Load(**json.loads(written.splitlines()[-1]))


def _by_client(post: Post, connections: int, seconds: float, rate: float = 0.0) -> Load:
    command = [
        sys.executable,
        "-m",
        "bench.load",
        post.url,
        post.content_type,
        str(connections),
        str(seconds),
        str(rate),
    ]
    return Load(**json.loads(subprocess.run(command, input=post.body, capture_output=True, check=True).stdout))


@dataclass
class Client:
    """What all connections of this process share."""

    request: bytes
    rate: float
    latencies: list[float] = field(default_factory=list)
    refused: int = 0
    failed: int = 0
    due: deque[float] = field(default_factory=deque)
    idle: list["Connection"] = field(default_factory=list)

    @classmethod
    def of(cls, post: Post, rate: float) -> Self:
        """Write the request out."""
        address = urlsplit(post.url)
        target = f"{address.path}?{address.query}" if address.query else address.path
        head = f"POST {target} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: {post.content_type}\r\n"
        return cls(f"{head}Content-Length: {len(post.body)}\r\n\r\n".encode() + post.body, rate)

    async def run(self, url: str, connections: int, seconds: float) -> Load:
        """Load it for so long."""
        loop, address = asyncio.get_running_loop(), urlsplit(url)
        for _ in range(connections):
            await loop.create_connection(lambda: Connection(self), address.hostname or "", address.port or 80)
        began = time.perf_counter()
        sent = 0
        while (now := time.perf_counter() - began) < seconds:
            if self.rate:
                due = int(now * self.rate) + 1
                self.due.extend(began + number / self.rate for number in range(sent, due))
                sent = due
            else:
                self.due.extend([time.perf_counter()] * len(self.idle))
            while self.due and self.idle:
                self.idle.pop().ask(self.due.popleft())
            await asyncio.sleep(0.0005 if self.rate else 0.05)
        spent = time.perf_counter() - began
        p50, p99 = (1000 * float(np.percentile(self.latencies or [np.nan], of)) for of in (50, 99))
        return Load(len(self.latencies), self.failed, spent, p50, p99, self.refused)


class Connection(asyncio.Protocol):
    """One connection, with at most one request under way."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._received = b""
        self._due = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request to be due."""
        self._transport = transport
        self._client.idle.append(self)

    def ask(self, due: float) -> None:
        """Send the request that is due since then."""
        self._due = due
        self._transport.write(self._client.request)

    def data_received(self, data: bytes) -> None:
        """Count the answer once it is whole, and go on."""
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found or len(body) < int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]):
            return
        client, now = self._client, time.perf_counter()
        match int(head[9:12]):
            case 200:
                client.latencies.append(now - self._due)
            case 429:
                client.refused += 1
            case _:
                client.failed += 1
        self._received = b""
        if client.rate and not client.due:
            client.idle.append(self)
        else:
            self.ask(client.due.popleft() if client.rate else now)

    def connection_lost(self, _: Exception | None) -> None:
        """A connection that ends is a failure."""
        self._client.failed += 1
        if self in self._client.idle:
            self._client.idle.remove(self)


def main() -> None:
    """URL TYPE CONNECTIONS SECONDS RATE, and the body as standard input; prints a Load as JSON."""
    url, content_type, connections, seconds, rate = sys.argv[1:]
    client = Client.of(Post(url, content_type, sys.stdin.buffer.read()), float(rate))
    print(json.dumps(asdict(uvloop.run(client.run(url, int(connections), float(seconds))))))


if __name__ == "__main__":
    main()
