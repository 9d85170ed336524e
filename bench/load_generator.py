"""Closed-loop HTTP load on one URL, from a separate process: wrk where it is installed, else a client on uvloop.

Closed loop: each connection sends its next request when it has received the response to the last one, so the number of
connections is the number of concurrent requests.
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

WRK_SCRIPT = Path(__file__).parent / "post.lua"


@dataclass(frozen=True)
class Request:
    """A POST request: URL with its query, content type, body; `headers`: further ones, as lines without their ends."""

    url: str
    content_type: str
    body: bytes
    headers: tuple[str, ...] = ()

    @property
    def header_lines(self) -> tuple[str, ...]:
        """The content type and the further headers."""
        return (f"Content-Type: {self.content_type}", *self.headers)


@dataclass(frozen=True)
class LoadResult:
    """Counts and latencies of one measurement.

    Attributes:
        succeeded: responses with status 200 (wrk: 2xx and 3xx).
        failed: other responses, and connections that failed.
        seconds: duration of the measurement.
        p50_ms: median latency in milliseconds; of all responses with wrk, of status 200 only with the Python client.
        p99_ms: 99th percentile of the same latencies.
    """

    succeeded: int
    failed: int
    seconds: float
    p50_ms: float
    p99_ms: float

    @property
    def rate(self) -> float:
        """Successful requests per second."""
        return self.succeeded / self.seconds


def closed_loop(request: Request, connections: int, seconds: float) -> LoadResult:
    """Send the request on this many connections at once for some seconds.

    Args:
        request: what every connection sends.
        connections: number of connections, each with one request in flight.
        seconds: duration; wrk rounds it to whole seconds, at least 1.

    Raises:
        subprocess.CalledProcessError: the load generator failed.
    """
    return (_by_wrk if shutil.which("wrk") else by_python_client)(request, connections, seconds)


def _by_wrk(request: Request, connections: int, seconds: float) -> LoadResult:
    with tempfile.NamedTemporaryFile() as file:
        file.write(request.body)
        file.flush()
        duration = f"-d{max(1, round(seconds))}s"
        command = ["wrk", "-t1", f"-c{connections}", duration, "--timeout", "10s", "-s", str(WRK_SCRIPT), request.url]
        environment = os.environ | {"BODY": file.name, "HEADERS": "\n".join(request.header_lines)}
        output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    return LoadResult(**json.loads(output.splitlines()[-1]))


def by_python_client(request: Request, connections: int, seconds: float) -> LoadResult:
    """`closed_loop` without wrk, by `Client` in a process of its own; it takes more CPU time than wrk does."""
    arguments = [request.url, request.content_type, str(connections), str(seconds), *request.headers]
    command = [sys.executable, "-m", "bench.load_generator", *arguments]
    return LoadResult(**json.loads(subprocess.run(command, input=request.body, capture_output=True, check=True).stdout))


class Client:
    """State shared by all connections of the Python client: the request as bytes, latencies in seconds, failures."""

    def __init__(self, request: Request) -> None:
        address = urlsplit(request.url)
        target = f"{address.path}?{address.query}" if address.query else address.path
        head = (f"POST {target} HTTP/1.1", f"Host: {address.netloc}", *request.header_lines)
        self.request = "\r\n".join([*head, f"Content-Length: {len(request.body)}", "", ""]).encode() + request.body
        self.host, self.port = address.hostname or "", address.port or 80
        self.latencies: list[float] = []
        self.failed = 0

    async def run(self, connections: int, seconds: float) -> LoadResult:
        """Open the connections, and measure until the time is over."""
        loop = asyncio.get_running_loop()
        start = time.perf_counter()
        for _ in range(connections):
            await loop.create_connection(lambda: Connection(self), self.host, self.port)
        await asyncio.sleep(seconds)
        elapsed = time.perf_counter() - start
        p50, p99 = (1000 * float(np.percentile(self.latencies or [np.nan], percent)) for percent in (50, 99))
        return LoadResult(len(self.latencies), self.failed, elapsed, p50, p99)


class Connection(asyncio.Protocol):
    """One connection with one request in flight. Reads only responses that declare a Content-Length."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._received = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Send the first request."""
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        self._transport.write(self._client.request)

    def data_received(self, data: bytes) -> None:
        """Record the response once it is complete, and send the next request."""
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found or len(body) < int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]):
            return
        if head[9:12] == b"200":
            self._client.latencies.append(time.perf_counter() - self._sent_at)
        else:
            self._client.failed += 1
        self._received = b""
        self._send()

    def connection_lost(self, _: Exception | None) -> None:
        """Count a lost connection as a failure."""
        self._client.failed += 1


def main() -> None:
    """Measure, with arguments URL TYPE CONNECTIONS SECONDS HEADER... and the body on stdin; print the LoadResult."""
    url, content_type, connections, seconds, *headers = sys.argv[1:]
    client = Client(Request(url, content_type, sys.stdin.buffer.read(), tuple(headers)))
    print(json.dumps(asdict(uvloop.run(client.run(int(connections), float(seconds))))))


if __name__ == "__main__":
    main()
