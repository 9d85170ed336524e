"""Runs the real service under gunicorn, on a free port, for the time of a test."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Queue
from urllib.parse import urlsplit

import httpx

from tests.exposition import samples

REPOSITORY = Path(__file__).parents[2]
ADDRESS = re.compile(r"Digits is ready on (https?://\S+)")
MODEL_LOADED = re.compile(r"\[(?P<pid>\d+)\] .*version (?P<version>\d+) is in use")
GUNICORN = (sys.executable, "-m", "gunicorn", "--config", "service/gunicorn.conf.py")
PATIENCE = 90  # seconds


class Server:
    """A running service. `client` sends requests to it, `lines` are what it has written, standard error included."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._unread_lines: Queue[str | None] = Queue()
        self._reader = threading.Thread(target=self._read_output)
        self._reader.start()
        self.address = self.wait_for(ADDRESS)[1]
        self.client = httpx.Client(base_url=self.address, timeout=PATIENCE)

    @property
    def log(self) -> str:
        """Everything that the service has written so far."""
        return "".join(self.lines)

    @property
    def host_and_port(self) -> tuple[str, int]:
        """The address for a socket."""
        address = urlsplit(self.address)
        assert address.hostname
        assert address.port
        return address.hostname, address.port

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of the workers that exist now."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in children]

    def predict(self, picture: bytes, content_type: str = "image/png", **headers: str) -> httpx.Response:
        """POST one body to /predict."""
        return self.client.post("/predict", content=picture, headers={"Content-Type": content_type} | headers)

    def wait_for(self, pattern: re.Pattern[str] | str) -> re.Match[str]:
        """Read lines that were not read before until one has the pattern in it; fails if the process ends first."""
        while (line := self._unread_lines.get(timeout=PATIENCE)) is not None:
            if match := re.search(pattern, line):
                return match
        raise AssertionError(f"the server ended without writing {pattern}:\n{self.log}")

    def wait_for_workers(self, count: int) -> None:
        """Wait until this many more workers have loaded a model."""
        for _ in range(count):
            self.wait_for(MODEL_LOADED)

    def wait_for_metrics(self, *expected: str) -> None:
        """Request /metrics until all of these samples are in it: a worker publishes its counts ten times a second."""
        deadline = time.monotonic() + 20
        while not set(expected) <= set(
            found := samples(self.client.get("/metrics", headers={"Connection": "close"}).text)
        ):
            assert time.monotonic() < deadline, found

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, wait until all processes have ended, and return the exit code."""
        self.client.close()
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise
        self._reader.join(PATIENCE)
        assert not self._reader.is_alive(), "a child process still runs: it holds the output open"
        return code

    def _read_output(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line)
            self._unread_lines.put(line)
        self.process.stdout.close()
        self._unread_lines.put(None)


@contextmanager
def serving(command: Sequence[str] = GUNICORN, cwd: Path = REPOSITORY, **settings: object) -> Iterator[Server]:
    """Start the service, and stop it at the end.

    Args:
        command: the command that starts it.
        cwd: its working directory.
        settings: DIGITS_* settings by their names in Settings; `port` is 0, a free one, unless given.
    """
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("DIGITS_", "MAKE", "MFLAGS"))
    }
    own = {f"DIGITS_{name.upper()}": str(value) for name, value in ({"port": 0} | settings).items()}
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=inherited | own,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        server = Server(process)
        try:
            yield server
        finally:
            server.stop()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)
