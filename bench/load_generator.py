"""Load on one URL, in a process of its own: by wrk where it is installed, else by a client on uvloop.

So many connections, and each sends its next request when it has the answer to the last.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
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
    """What came of it; latencies in milliseconds, by wrk of all that came, by the client of answers with 200 alone."""

    answered: int
    failed: int
    seconds: float
    p50: float
    p99: float

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answered / self.seconds


def closed(post: Post, connections: int, seconds: float) -> Load:
    """So many connections, each with one request at a time."""
    return (_by_wrk if shutil.which("wrk") else by_client)(post, connections, seconds)


def _by_wrk(post: Post, connections: int, seconds: float) -> Load:
    with tempfile.NamedTemporaryFile() as file:
        file.write(post.body)
        file.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--timeout", "10s", "-s", str(LUA), post.url]
        environment = os.environ | {"BODY": file.name, "TYPE": post.content_type}
        written = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    return Load(**json.loads(written.splitlines()[-1]))


def by_client(post: Post, connections: int, seconds: float) -> Load:
    """The same by the client, which takes more of the cores."""
    command = [
        sys.executable,
        "-m",
        "bench.load_generator",
        post.url,
        post.content_type,
        str(connections),
        str(seconds),
    ]
    return Load(**json.loads(subprocess.run(command, input=post.body, capture_output=True, check=True).stdout))


class Client:
    """What all connections of this process share."""

    def __init__(self, post: Post) -> None:
        address = urlsplit(post.url)
        target = f"{address.path}?{address.query}" if address.query else address.path
        head = f"POST {target} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: {post.content_type}\r\n"
        self.request = f"{head}Content-Length: {len(post.body)}\r\n\r\n".encode() + post.body
        self.host, self.port = address.hostname or "", address.port or 80
        self.latencies: list[float] = []
        self.failed = 0

    async def run(self, connections: int, seconds: float) -> Load:
        """Load it for so long."""
        loop = asyncio.get_running_loop()
        began = time.perf_counter()
        for _ in range(connections):
            await loop.create_connection(lambda: Connection(self), self.host, self.port)
        await asyncio.sleep(seconds)
        spent = time.perf_counter() - began
        p50, p99 = (1000 * float(np.percentile(self.latencies or [np.nan], of)) for of in (50, 99))
        return Load(len(self.latencies), self.failed, spent, p50, p99)


class Connection(asyncio.Protocol):
    """One connection, with one request under way."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._received = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Ask the first time."""
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        self._asked = time.perf_counter()
        self._transport.write(self._client.request)

    def data_received(self, data: bytes) -> None:
        """Count the answer once it is whole, and go on."""
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found or len(body) < int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]):
            return
        if head[9:12] == b"200":
            self._client.latencies.append(time.perf_counter() - self._asked)
        else:
            self._client.failed += 1
        self._received = b""
        self._ask()

    def connection_lost(self, _: Exception | None) -> None:
        """A connection that ends is a failure."""
        self._client.failed += 1


def main() -> None:
    """URL TYPE CONNECTIONS SECONDS, and the body as standard input; prints a Load as JSON."""
    url, content_type, connections, seconds = sys.argv[1:]
    client = Client(Post(url, content_type, sys.stdin.buffer.read()))
    print(json.dumps(asdict(uvloop.run(client.run(int(connections), float(seconds))))))


if __name__ == "__main__":
    main()
