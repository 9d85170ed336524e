"""The phases of the experiment: calm, hostile bodies alone, everything at once, calm again, a stop under load."""

import os
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from json import loads
from pathlib import Path

from bench import process_tree
from bench.chaos import bodies
from bench.chaos.bad_versions import copy_version
from bench.chaos.clients import BULK, SLOW
from bench.chaos.connections import connect
from bench.chaos.good_client import GoodClient, GoodClientResult, start_good_client
from bench.chaos.registry import GROUPS, REGISTRY, Ends, Misbehaviour, Victim, misbehaving
from bench.process_tree import Kill
from bench.server_process import ServerProcess, start_server

CALM, HOSTILE, EVERYTHING, AFTER, STOP = "calm", "hostile bodies", "everything", "calm again", "stop"
SETTINGS = {
    "DIGITS_WORKERS": "2",
    "DIGITS_MODEL_POLL_SECONDS": "0.25",
    "DIGITS_SHUTDOWN_TIMEOUT_SECONDS": "10",
    "DIGITS_LOG_LEVEL": "warning",
}
STOP_TIMEOUT_SECONDS = 40
SECONDS_TO_TAKE_A_VERSION = 15
RESPONSES_BY_THE_NEWEST = 20
"""So many new connections must meet the newest version: each worker accepts some of them."""


WARM_UP_CONNECTIONS, WARM_UP_REQUESTS = 24, 4


@dataclass(frozen=True)
class Plan:
    """Durations in seconds, and which misbehaviours take part.

    Attributes:
        niceness: added to that of this process once the service runs: the attackers would have machines of their own.
        words: groups, or words in names, of the kinds that take part; all without any.
        added: more kinds.
    """

    calm_seconds: float = 10
    hostile_seconds: float = 20
    chaos_seconds: float = 60
    settle_seconds: float = 15
    load_seconds: float = 2
    niceness: int = 0
    words: Sequence[str] = ()
    added: Sequence[Misbehaviour] = ()

    def includes(self, name: str, group: str) -> bool:
        """Whether a kind takes part."""
        return not self.words or any(group == word if word in GROUPS else word in name for word in self.words)


@dataclass
class Memory:
    """Proportional set size of all processes in MB, and the number of processes."""

    before_mb: float = 0
    peak_mb: float = 0
    after_mb: float = 0
    processes_before: int = 0
    processes_after: int = 0
    processes_left: int = 0


@dataclass
class Result:
    """Everything that was counted.

    Attributes:
        good: what the good client counted.
        ends: how each misbehaviour ended, and how often.
        kinds: the misbehaviours by name.
        kills: the workers that were killed on purpose.
        served: the numbers of versions that may be served.
        newest_in_use: whether all workers took the newest good version after the chaos.
        stopped_at: time.monotonic() of the SIGTERM.
        stop_seconds: how long the service took to stop.
        exit_code: of the arbiter; None if it had to be killed.
        log: what the service has written.
    """

    good: GoodClientResult
    memory: Memory
    kinds: dict[str, Misbehaviour]
    ends: dict[str, Counter[str]] = field(default_factory=dict)
    kills: list[Kill] = field(default_factory=list)
    served: set[str] = field(default_factory=set)
    newest_in_use: bool = False
    stopped_at: float = 0
    stop_seconds: float = 0
    exit_code: int | None = None
    log: str = ""


def run(plan: Plan, models: Path = Path("models/digits")) -> Result:
    """Run all phases on a copy of the newest version in `models`."""
    with tempfile.TemporaryDirectory(prefix="digits-chaos-") as name:
        directory = Path(name)
        newest = max(models.glob("[0-9]*"), key=lambda path: int(path.name))
        (directory / "models").mkdir()
        copy_version(newest, directory / "models" / "1", 1)
        (directory / "bodies").mkdir()
        hostile = bodies.hostile_bodies(directory / "bodies", plan.includes)
        others = [kind for kind in REGISTRY.values() if plan.includes(kind.name, kind.group)]
        kinds = [*hostile, *others, *plan.added]
        environment = os.environ | SETTINGS | {"DIGITS_MODEL_DIR": str(directory / "models")}
        with start_server(environment=environment) as server, start_good_client(server.port) as client:
            victim = Victim(server.port, server.process.pid, directory / "models", server.read_output)
            victim.good_versions.add(str(victim.next_version()))
            os.nice(plan.niceness)
            return _run_phases(plan, kinds, server, client, victim)


def _run_phases(
    plan: Plan, kinds: list[Misbehaviour], server: ServerProcess, client: GoodClient, victim: Victim
) -> Result:
    ends, memory = Ends(), Memory()
    hostile = [kind for kind in kinds if kind.group == bodies.GROUP]
    clients = [kind for kind in kinds if kind.group in {"clients", "requests", bodies.GROUP}]
    _warm_up(server.port)
    time.sleep(plan.calm_seconds)
    memory.before_mb, memory.processes_before = _measure(server)
    phases: Sequence[tuple[str, Sequence[Misbehaviour], float]] = (
        (HOSTILE, hostile, plan.hostile_seconds),
        (EVERYTHING, kinds, plan.chaos_seconds),
        (AFTER, [], plan.settle_seconds),
    )
    with _sampled(server, memory):
        for phase, chosen, seconds in phases:
            client.begin(phase)
            with misbehaving(victim, chosen, ends, seconds):
                time.sleep(seconds)
    newest_in_use = _wait_for_newest(victim)
    memory.after_mb, memory.processes_after = _measure(server)
    client.begin(STOP)
    with misbehaving(victim, clients, ends, plan.load_seconds):
        time.sleep(plan.load_seconds)
        victim.stopped_at = time.monotonic()
        exit_code = _stop(server)
        stop_seconds = time.monotonic() - victim.stopped_at
    memory.processes_left = len(process_tree.list_session(server.process.pid))
    result = Result(client.finish(), memory, {kind.name: kind for kind in kinds}, ends.counts(), victim.kills)
    result.served = victim.good_versions | victim.harmless_versions
    result.newest_in_use, result.exit_code, result.stop_seconds = newest_in_use, exit_code, stop_seconds
    result.stopped_at, result.log = victim.stopped_at, server.read_output()
    return result


def _warm_up(port: int) -> None:
    """Use all threads and processes of the service at once, so that their memory is in use before it is measured."""

    def send(request: bytes) -> None:
        with connect(port) as connection:
            for _ in range(WARM_UP_REQUESTS):
                connection.request(request)

    with ThreadPoolExecutor(WARM_UP_CONNECTIONS) as threads:
        list(threads.map(send, [BULK, SLOW] * (WARM_UP_CONNECTIONS // 2)))


def _measure(server: ServerProcess) -> tuple[float, int]:
    return server.memory_mb(), len(process_tree.list_session(server.process.pid))


@contextmanager
def _sampled(server: ServerProcess, memory: Memory) -> Iterator[None]:
    """Measure the memory twice a second, and keep the maximum."""
    is_over = threading.Event()

    def sample() -> None:
        while not is_over.wait(0.5):
            memory.peak_mb = max(memory.peak_mb, server.memory_mb())

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _wait_for_newest(victim: Victim) -> bool:
    """Publish one more version, and return whether all workers take it."""
    source = victim.models / max((path.name for path in victim.models.glob("[0-9]*") if path.is_dir()), key=int)
    number = str(victim.next_version())
    copy_version(source, victim.models / ".tmp-last", int(number)).rename(victim.models / number)
    victim.good_versions.add(number)
    deadline = time.monotonic() + SECONDS_TO_TAKE_A_VERSION
    while time.monotonic() < deadline:
        if {_version_in_use(victim.port) for _ in range(RESPONSES_BY_THE_NEWEST)} == {number}:
            return True
        time.sleep(0.25)
    return False


def _version_in_use(port: int) -> str | None:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/model")
        manifest = loads(connection.getresponse().read())
        return str(manifest.get("version"))
    except (OSError, HTTPException, ValueError):
        return None
    finally:
        connection.close()


def _stop(server: ServerProcess) -> int | None:
    """Send SIGTERM, and return the exit code; None if the service had to be killed."""
    server.process.terminate()
    deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        if (code := server.process.poll()) is not None:
            return code
        time.sleep(0.05)
    server.process.kill()
    return None
