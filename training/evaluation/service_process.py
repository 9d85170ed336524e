"""A process of the service that reads pictures with one version, for the time of a measurement.

`training` imports nothing from `service`: gunicorn starts it as an operator does, on a free port of 127.0.0.1 and with
the default settings, and a model directory in which the version is the only one.
"""

import importlib.util
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO, NoReturn

from training.evaluation.service_client import ServiceError

ROOT = Path(__file__).parents[2]
CONFIGURATION = ROOT / "service" / "gunicorn.conf.py"
SETTINGS = {"DIGITS_PORT": "0", "DIGITS_LOG_LEVEL": "warning", "DIGITS_SHUTDOWN_TIMEOUT_SECONDS": "5"}
END_SECONDS = 10
"""From SIGTERM to SIGKILL."""

_READY = re.compile(r"Digits is ready on (\S+)")
# The kernel ends the service if this process is killed, which then cannot end it. PR_SET_PDEATHSIG of prctl(2) is 1.
_LAUNCHER = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() != int(sys.argv[2]):
    sys.exit("the parent has ended")
os.execv(sys.executable, [sys.executable, "-m", "gunicorn", "--config", sys.argv[1]])
"""


@contextmanager
def serve_version(path: Path, number: int) -> Iterator[str]:
    """Start the service with the version in the directory `path`; yields its address, and ends it in any case.

    Raises:
        ServiceError: the service is not installed here, or does not start. If it cannot be used, the error has what it
            logged last.
        SystemExit: SIGTERM arrived; the service was ended.
    """
    if not CONFIGURATION.is_file() or importlib.util.find_spec("gunicorn") is None:
        raise ServiceError(
            "the service, which reads the pictures, is not installed here; give the --url of a running one"
        )
    with tempfile.TemporaryDirectory(prefix="digits-evaluate-") as directory, _exit_at_sigterm():
        models, log = Path(directory, "models"), Path(directory, "log")
        models.mkdir()
        (models / str(number)).symlink_to(path.resolve(), target_is_directory=True)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("DIGITS_")}
        with (
            log.open("w") as stderr,
            subprocess.Popen(
                [sys.executable, "-c", _LAUNCHER, str(CONFIGURATION), str(os.getpid())],
                cwd=ROOT,
                env=inherited | SETTINGS | {"DIGITS_MODEL_DIR": str(models)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                start_new_session=True,  # Ctrl-C interrupts this process only
            ) as process,
        ):
            try:
                yield _read_address(process.stdout)
            except ServiceError as error:
                raise ServiceError(f"{error}{_last_line(log)}") from error
            finally:
                _end(process)


@contextmanager
def _exit_at_sigterm() -> Iterator[None]:
    def leave(number: int, _: FrameType | None) -> NoReturn:
        sys.exit(128 + number)

    previous = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _read_address(stdout: IO[str] | None) -> str:
    for line in stdout or ():
        if match := _READY.match(line):
            return match[1]
    raise ServiceError("the service did not start")


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    written = [line for line in lines if line.strip()]
    return f"; it logged: {written[-1]}" if written else ""


def _end(process: subprocess.Popen[str]) -> None:
    """End the service, and whatever of its processes is left."""
    try:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(END_SECONDS)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
