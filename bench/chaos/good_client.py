"""A client that does everything right, and counts: `python -m bench.chaos.good_client PORT [KIND ...]`.

Several connections, kept alive and with one request each, send requests of several kinds at a moderate rate; each
response is compared with the known digits. The names of the phases arrive on stdin, one a line; at the end of stdin
the last requests are completed and the counts are printed as JSON.
"""

import asyncio
import dataclasses
import itertools
import json
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import uvloop

from bench.chaos.good_requests import GoodRequest, make_requests

TIMEOUT_SECONDS = 30
REFUSALS = (429, 503)


class Connections(NamedTuple):
    """So many connections that send requests of a kind; each pauses after a response."""

    kind: str
    number: int
    is_kept_alive: bool
    pause_seconds: float


PLAN = (
    Connections("plain", 6, is_kept_alive=True, pause_seconds=0.02),
    Connections("plain", 2, is_kept_alive=False, pause_seconds=0.02),
    Connections("photograph", 1, is_kept_alive=True, pause_seconds=0.2),
    Connections("photograph", 1, is_kept_alive=False, pause_seconds=0.2),
    Connections("bulk", 1, is_kept_alive=True, pause_seconds=0.1),
)
KINDS = {connections.kind for connections in PLAN}


@dataclass(frozen=True)
class Lost:
    """A request without a complete response.

    Attributes:
        kind: the kind of request.
        phase: the phase in which it was sent.
        how: how it ended.
        port: the client's port of its connection; 0 if it was not connected.
        opened: time.monotonic() at which the connection was opened.
        at: time.monotonic() at which the loss was noticed.
        is_refused_connection: whether the connection itself was refused.
    """

    kind: str
    phase: str
    how: str
    port: int
    opened: float
    at: float
    is_refused_connection: bool


@dataclass
class Counts:
    """What became of the requests of one kind in one phase; latencies in ms are those of right responses."""

    sent: int = 0
    right: int = 0
    refused: int = 0
    wrong: int = 0
    first_wrong: str = ""
    p50_ms: float = 0
    p99_ms: float = 0


@dataclass
class GoodClientResult:
    """Counts by phase and kind, lost requests, right responses by version, refusals by status and sentence."""

    counts: dict[str, dict[str, Counts]]
    lost: list[Lost]
    versions: dict[str, int]
    refusals: dict[str, int]


class Stream(NamedTuple):
    """An open connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    port: int
    opened: float


class Client:
    """All connections of the client, and what they counted."""

    def __init__(self, port: int, plan: Sequence[Connections] = PLAN) -> None:
        self._port, self._plan = port, plan
        self._requests = make_requests()
        self._phase = "calm"
        self._is_finished = self._is_refused = False
        self._result = GoodClientResult({}, [], {}, {})
        self._versions: Counter[str] = Counter()
        self._refusals: Counter[str] = Counter()
        self._latencies: dict[tuple[str, str], list[float]] = {}

    async def run(self, phases: asyncio.StreamReader) -> GoodClientResult:
        """Send requests until the stream of phases ends, or a connection is refused: the service has stopped."""
        tasks = [
            asyncio.create_task(self._send_repeatedly(connections))
            for connections in self._plan
            for _ in range(connections.number)
        ]
        while line := await phases.readline():
            self._phase = line.decode().strip()
        self._is_finished = True
        await asyncio.gather(*tasks)
        for (phase, kind), seconds in self._latencies.items():
            counts = self._counts(phase, kind)
            counts.p50_ms, counts.p99_ms = (1000 * float(np.percentile(seconds, percent)) for percent in (50, 99))
        self._result.versions, self._result.refusals = dict(self._versions), dict(self._refusals)
        return self._result

    def _counts(self, phase: str, kind: str) -> Counts:
        return self._result.counts.setdefault(phase, {}).setdefault(kind, Counts())

    async def _send_repeatedly(self, connections: Connections) -> None:
        stream: Stream | None = None
        for request in itertools.cycle(self._requests[connections.kind]):
            if self._is_finished or self._is_refused:
                break
            stream = await self._send(request, connections.kind, stream)
            if stream and not connections.is_kept_alive:
                stream.writer.close()
                stream = None
            await asyncio.sleep(connections.pause_seconds)
        if stream:
            stream.writer.close()

    async def _send(self, request: GoodRequest, kind: str, stream: Stream | None) -> Stream | None:
        """Send one request and count it; return the connection if it may be used again."""
        phase, started = self._phase, time.monotonic()
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                if stream is None:
                    stream = await _open(self._port)
                stream.writer.write(request.data)
                head = (await stream.reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                body = await stream.reader.readexactly(int(head.partition("content-length: ")[2].partition("\r\n")[0]))
        except (TimeoutError, OSError, asyncio.IncompleteReadError) as error:
            self._lose(kind, phase, error, stream)
            return None
        counts = self._counts(phase, kind)
        counts.sent += 1
        if self._judge(request, counts, int(head[9:12]), body):
            self._latencies.setdefault((phase, kind), []).append(time.monotonic() - started)
        if "connection: close" in head:
            stream.writer.close()
            return None
        return stream

    def _lose(self, kind: str, phase: str, error: Exception, stream: Stream | None) -> None:
        how = {"TimeoutError": f"no response within {TIMEOUT_SECONDS} s", "IncompleteReadError": "closed"}
        is_refused = isinstance(error, ConnectionRefusedError)
        if not is_refused:
            self._counts(phase, kind).sent += 1
        port, opened = (stream.port, stream.opened) if stream else (0, 0.0)
        name = type(error).__name__
        lost = Lost(kind, phase, how.get(name, name), port, opened, time.monotonic(), is_refused)
        self._result.lost.append(lost)
        self._is_refused |= is_refused
        if stream:
            stream.writer.transport.abort()

    def _judge(self, request: GoodRequest, counts: Counts, status: int, body: bytes) -> bool:
        """Count a complete response, and return whether it is the right one."""
        if status in REFUSALS:
            counts.refused += 1
            self._refusals[f"{status}: {json.loads(body)['error']}"] += 1
            return False
        document = json.loads(body) if status == 200 else {"predictions": []}
        digits = [prediction["digit"] for prediction in document["predictions"]]
        if digits != request.digits:
            counts.wrong += 1
            counts.first_wrong = (
                counts.first_wrong or f"{status}, {digits[:4]} for {request.digits[:4]}: {body[:200]!r}"
            )
            return False
        counts.right += 1
        self._versions[document["version"]] += 1
        return True


async def _open(port: int) -> Stream:
    opened = time.monotonic()  # not after it: the worker may be killed between
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    client: socket.socket = writer.get_extra_info("socket")
    return Stream(reader, writer, client.getsockname()[1], opened)


class GoodClient:
    """The client's process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def begin(self, phase: str) -> None:
        """Count under the name of this phase what is sent from now on."""
        if self._process.stdin:
            self._process.stdin.write(f"{phase}\n")
            self._process.stdin.flush()

    def finish(self) -> GoodClientResult:
        """Have the client complete its last requests, and return what it counted.

        Raises:
            SystemExit: the client failed; it has written why to stderr.
        """
        output, _ = self._process.communicate()
        if self._process.returncode:
            raise SystemExit(f"the good client ended with {self._process.returncode}")
        return _from_json(json.loads(output))


@contextmanager
def start_good_client(port: int, *kinds: str) -> Iterator[GoodClient]:
    """Start the client in a process of its own, and end it with the block; `kinds`: of requests, all by default."""
    command = [sys.executable, "-m", __name__, str(port), *kinds]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield GoodClient(process)
        finally:
            process.kill()


def _from_json(document: Mapping[str, Any]) -> GoodClientResult:
    counts = {
        phase: {kind: Counts(**values) for kind, values in kinds.items()} for phase, kinds in document["counts"].items()
    }
    return GoodClientResult(
        counts, [Lost(**lost) for lost in document["lost"]], document["versions"], document["refusals"]
    )


async def _main(port: int, kinds: Collection[str]) -> GoodClientResult:
    phases = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(phases), sys.stdin)
    return await Client(port, [connections for connections in PLAN if connections.kind in kinds]).run(phases)


if __name__ == "__main__":
    document = json.dumps(dataclasses.asdict(uvloop.run(_main(int(sys.argv[1]), sys.argv[2:] or KINDS))))
    with open(sys.stdout.fileno(), "w", closefd=False) as output:
        output.write(document)
