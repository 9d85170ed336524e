"""A real gunicorn of the service, as a context manager: on a free port, ended with the test."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Queue

import httpx

REPOSITORY = Path(__file__).parents[2]
ADDRESS = re.compile(r"Digits is ready on (https?://\S+)")
GUNICORN = (sys.executable, "-m", "gunicorn", "--config", "service/gunicorn.conf.py")
PATIENCE = 90


class Server:
    """A running service: `client` talks to it, `log` is all that it wrote."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._news: Queue[str | None] = Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.address = self.wait_for(ADDRESS)[1]
        self.client = httpx.Client(base_url=self.address, timeout=PATIENCE)

    @property
    def log(self) -> str:
        """Everything written so far, standard error included."""
        return "".join(self.lines)

    def wait_for(self, pattern: re.Pattern[str] | str) -> re.Match[str]:
        """The next line that has the pattern in it; fails if the process ends before one comes."""
        while (line := self._news.get(timeout=PATIENCE)) is not None:
            if match := re.search(pattern, line):
                return match
        raise AssertionError(f"the server ended without writing {pattern}:\n{self.log}")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; returns the exit code."""
        self.client.close()
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise
        self._reader.join(PATIENCE)
        assert not self._reader.is_alive(), "something still runs and could write"
        return code

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line)
            self._news.put(line)
        self.process.stdout.close()
        self._news.put(None)


@contextmanager
def serving(command: Sequence[str] = GUNICORN, cwd: Path = REPOSITORY, **settings: object) -> Iterator[Server]:
    """Start the service with DIGITS_* settings, given in small letters, and stop it at the end."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("DIGITS_", "MAKE", "MFLAGS"))}
    given = {f"DIGITS_{name.upper()}": str(value) for name, value in ({"port": 0} | settings).items()}
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=clean | given,
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
