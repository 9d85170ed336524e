"""A server in a process of its own, for the time of a benchmark."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import IO

from bench import process_tree
from bench.load_generator import Request
from bench.request_bodies import PNG_FILE

GUNICORN = (sys.executable, "-m", "gunicorn")
SERVICE = (*GUNICORN, "--config", "service/gunicorn.conf.py")
START_TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class ServerProcess:
    """A running server on 127.0.0.1, and the seconds from its start to its first successful response.

    It runs in a session of its own.
    """

    port: int
    process: subprocess.Popen[bytes]
    start_seconds: float
    output: IO[bytes]

    def predict_request(self, content_type: str, body: bytes, query: str = "") -> Request:
        """A request for POST /predict; `query` begins with "?"."""
        return Request(f"http://127.0.0.1:{self.port}/predict{query}", content_type, body)

    def open_inference_request(self, content_type: str, body: bytes, header: str) -> Request:
        """A request for POST /v2/models/digits/infer; `header` is the line with the bytes of its JSON."""
        return Request(f"http://127.0.0.1:{self.port}/v2/models/digits/infer", content_type, body, (header,))

    def tensorflow_serving_request(self, content_type: str, body: bytes) -> Request:
        """A request for POST /v1/models/digits:predict."""
        return Request(f"http://127.0.0.1:{self.port}/v1/models/digits:predict", content_type, body)

    def memory_mb(self) -> float:
        """Proportional set size of all processes of the server, in MB."""
        return process_tree.memory_mb(process.pid for process in process_tree.list_session(self.process.pid))

    def read_output(self) -> str:
        """What the server has written so far; its own position in the file, which it shares, does not move."""
        descriptor = self.output.fileno()
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode(errors="replace")


@contextmanager
def start_server(
    command: Sequence[str] = SERVICE, cwd: Path | None = None, environment: Mapping[str, str] = os.environ
) -> Iterator[ServerProcess]:
    """Start a server on a free port, wait until it classifies a picture, and stop it at the end.

    Args:
        command: the words of the command; "{port}" in them stands for the port. DIGITS_PORT has it too.
        cwd: the working directory; the current one by default.
        environment: the environment, to which DIGITS_PORT is added, and DIGITS_LOG_LEVEL unless it is set.

    Raises:
        SystemExit: the server ended, or did not respond within START_TIMEOUT_SECONDS; with what it wrote.
    """
    port = _free_port()
    words = [word.format(port=port) for word in command]
    settings = {"DIGITS_LOG_LEVEL": "error", **environment, "DIGITS_PORT": str(port)}
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        process = subprocess.Popen(words, cwd=cwd, env=settings, stdout=output, stderr=output, start_new_session=True)
        try:
            while not _responds(port):
                if process.poll() is not None or time.perf_counter() - start > START_TIMEOUT_SECONDS:
                    output.seek(0)
                    raise SystemExit(f"{' '.join(words)} does not respond:\n{output.read().decode()}")
                time.sleep(0.005)
            yield ServerProcess(port, process, time.perf_counter() - start, output)
        finally:
            process.terminate()
            process.wait()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _responds(port: int) -> bool:
    with (
        closing(HTTPConnection("127.0.0.1", port, timeout=10)) as connection,
        suppress(OSError, HTTPException),
    ):
        connection.request("POST", "/predict", PNG_FILE, {"Content-Type": "image/png"})
        return connection.getresponse().status == 200
    return False
