"""Tests trials: a network that crashes, takes too long or too much memory does so in another process."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.inference import trial
from service.inference.rejection import ModelRejected
from service.inference.trial import try_network  # before a fixture replaces it
from tests.bad_versions import published_version

ROOT_OFFSET = 16
"""Of the root table's vtable in a TFLite model: LiteRT 2.3.0 follows it without a check."""


@pytest.fixture
def tflite(one_version: Path) -> bytes:
    return (one_version / "1" / "model.tflite").read_bytes()


@pytest.fixture(params=["fork", "spawn"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How the process is started: as in the arbiter, or as in a worker."""
    monkeypatch.setattr(trial, "may_fork", lambda: request.param == "fork")
    return str(request.param)


def rejection(network: bytes | Path, size: int = 1000) -> ModelRejected:
    with pytest.raises(ModelRejected) as caught:
        try_network(network, size)
    return caught.value


@pytest.mark.usefixtures("way")
def test_a_good_network_passes(tflite: bytes) -> None:
    try_network(tflite, len(tflite))


def test_a_good_network_passes_with_tensorflow(one_version: Path, tflite: bytes) -> None:
    try_network(one_version / "1", len(tflite))


def test_a_network_that_is_none_is_rejected_as_in_this_process(tmp_path: Path, tflite: bytes) -> None:
    by_litert, by_tensorflow = rejection(tflite[:100]), rejection(tmp_path)
    assert (by_litert.reason, by_tensorflow.reason) == ("signature", "signature")
    assert str(by_litert).startswith("the TFLite model cannot be loaded: ")
    assert str(by_tensorflow).startswith("the SavedModel cannot be loaded: ")


@pytest.mark.usefixtures("way")
def test_a_network_that_crashes_litert_is_rejected() -> None:
    """The committed version with four bytes changed: found by changing every word, see the module's docstring."""
    content = bytearray((published_version() / "model.tflite").read_bytes())
    content[ROOT_OFFSET : ROOT_OFFSET + 4] = bytes(4)
    error = rejection(bytes(content))
    assert (error.reason, str(error), error.transient) == (
        "crash",
        "the model ends the process that runs it by SIGSEGV",
        False,
    )


@pytest.mark.parametrize(
    ("statement", "message", "transient"),
    [
        ("os.kill(os.getpid(), signal.SIGABRT)", "the model ends the process that runs it by SIGABRT", False),
        ("os.kill(os.getpid(), signal.SIGKILL)", "the model ends the process that runs it by SIGKILL", True),
        ("sys.exit(3)", "the process that tried the model ended with exit code 1", False),
        ("os._exit(0)", "the process that tried the model ended with exit code 0", False),
        ("while True: pass", "the model takes over 2 s to load and run", True),
        ("time.sleep(60)", "the model takes over 2 s to load and run", True),
        ("bytearray(1 << 33)", "the model takes over 256 MiB of memory", False),
        ("print('{}'); raise RuntimeError('a\\nb')", "the model cannot be run: a b", False),
        ("raise UnicodeDecodeError('utf-8', b'', 0, 1, '?')", "the model cannot be run: 'utf-8' codec", False),
    ],
)
def test_whatever_a_network_does_is_reported(  # noqa: PLR0913 - most are fixtures
    statement: str, message: str, *, transient: bool, way: str, tflite: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "SECONDS", {"litert": 2})
    definition = f"import os, signal, sys, time\ndef network(content):\n    {statement}"
    if way == "fork":
        scope: dict[str, Any] = {}
        exec(definition, scope)  # noqa: S102 - a function that cannot be sent to another process
        monkeypatch.setattr(trial, "LiteRT", scope["network"])
    else:
        start = "import json, sys\nsys.path[:] = json.loads(sys.argv[1])\nfrom service.inference import trial"
        monkeypatch.setattr(trial, "BOOTSTRAP", f"{start}\n{definition}\ntrial.LiteRT = network\ntrial.main()")
    error = rejection(tflite, 0)
    assert str(error).startswith(message)
    assert error.transient == transient


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("error", [BlockingIOError(11, "Resource temporarily unavailable"), OSError(12, "No memory")])
def test_a_process_that_cannot_be_started_is_no_fault_of_the_network(
    error: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(subprocess, "run", fail)
    monkeypatch.setattr(os, "fork", fail)
    rejected = rejection(b"")
    assert (rejected.reason, rejected.transient) == ("error", True)
    assert "cannot be started" in str(rejected)


def test_only_a_process_with_a_single_thread_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    thread.start()
    try:
        assert not trial.may_fork()
    finally:
        release.set()
        thread.join()
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    assert trial.may_fork()
    monkeypatch.setitem(sys.modules, "tensorflow", sys)
    assert not trial.may_fork()


def test_the_process_ends_with_its_parent(tmp_path: Path) -> None:
    """A worker that is killed leaves none behind."""
    pid_file = tmp_path / "pid"
    bootstrap = (
        "import json, os, sys, time; sys.path[:] = json.loads(sys.argv[1]); from service.inference import trial; "
        f"trial._limit_process('litert', 1 << 30); open({str(pid_file)!r} + '~', 'w').write(str(os.getpid())); "
        f"os.rename({str(pid_file)!r} + '~', {str(pid_file)!r}); time.sleep(60)"
    )
    script = (
        "from service.inference import trial; trial.may_fork = lambda: False; "
        f"trial.BOOTSTRAP = {bootstrap!r}; trial.try_network(b'', 0)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    wait_until(lambda: pid_file.exists() or parent.poll() is not None)
    child = int(pid_file.read_text())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_until(lambda: not is_running(child))


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)  # no event to wait for: the process is not a child of this one
