"""What an operator and the machine do: swaps of versions, reloads, killed workers, killed parser processes."""

import os
import shutil
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from bench import process_tree
from bench.chaos.bad_versions import BAD_VERSIONS, copy_version, is_harmless
from bench.chaos.registry import STOPPING, Victim, misbehaviour

PARSER, FORK_SERVER = "digits-parser", "digits-fork"
"""Names of processes that the service sets."""
KEPT_VERSIONS = 3
"""Good versions that are kept; others are retired, that too which the arbiter has loaded."""
FIRST_BAD_VERSION = 1_000_000
"""Bad versions have higher numbers than good ones, so that each scan finds them first."""
SECONDS_FOR_A_BAD_VERSION = 20
"""How long a bad version stays until it is rejected: many polls."""
SECONDS_FOR_A_HARMLESS = 3
"""How long a version stays that may be served, or is not looked at."""
SECONDS_FOR_OTHER_WORKERS = 1


def publish_copy(victim: Victim, source: Path) -> Path:
    """Publish a copy of the version in `source` under the next number, by one rename."""
    number = victim.next_version()
    building = copy_version(source, victim.models / f".tmp-{number}", number)
    victim.good_versions.add(str(number))
    return building.rename(victim.models / str(number))


def newest_good(victim: Victim) -> Path:
    """The directory of the newest good version."""
    return victim.models / max(victim.good_versions, key=int)


@misbehaviour("good version published, an old one retired", "versions", ("published",), pause_seconds=1)
def swap(victim: Victim) -> str:
    """Publish a copy of the newest good version, and retire the oldest one by a rename."""
    publish_copy(victim, newest_good(victim))
    numbers = sorted(int(path.name) for path in victim.models.glob("[0-9]*") if path.name in victim.good_versions)
    for number in numbers[:-KEPT_VERSIONS]:
        retired = (victim.models / str(number)).rename(victim.models / f".retired-{number}")
        shutil.rmtree(retired)
    return "published"


def _publish_bad(victim: Victim, kind: str) -> str:
    """Wait until few bad versions are published, and publish one."""
    while not victim.bad_version_slots.acquire(timeout=0.2):
        if victim.stopping.is_set():
            return STOPPING
    try:
        return _publish_until_rejected(victim, kind)
    finally:
        victim.bad_version_slots.release()


def _publish_until_rejected(victim: Victim, kind: str) -> str:
    """Publish a bad version above all good ones until it is rejected, remove it, and return what the service logged."""
    number = FIRST_BAD_VERSION + victim.next_version()
    path, building = victim.models / str(number), victim.models / f".tmp-{number}"
    copy_version(newest_good(victim), building, number)
    BAD_VERSIONS[kind].spoil(building)
    if is_harmless(kind):
        victim.harmless_versions.add(str(number))
    building.rename(path)
    end = _wait_for_rejection(
        victim, number, SECONDS_FOR_A_HARMLESS if is_harmless(kind) else SECONDS_FOR_A_BAD_VERSION
    )
    removed = path.rename(building)
    if removed.is_dir() and not removed.is_symlink():
        shutil.rmtree(removed)
    else:
        removed.unlink()
    return end


def _wait_for_rejection(victim: Victim, number: int, seconds: float) -> str:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if f"version {number} is rejected (" in victim.read_log():
            victim.pause(SECONDS_FOR_OTHER_WORKERS)
            return "rejected"
        if victim.pause(0.2):
            return STOPPING
    return "not rejected"


for _name, _bad in BAD_VERSIONS.items():
    misbehaviour(f"version with {_name}", "versions", _bad.ends, pause_seconds=20)(
        lambda victim, kind=_name: _publish_bad(victim, kind)  # type: ignore[misc]
    )


@misbehaviour("worker killed", "processes", ("killed", "none there"), pause_seconds=6)
def kill_worker(victim: Victim) -> str:
    """Kill a worker with SIGKILL, and record its connections."""
    workers = process_tree.worker_pids(victim.arbiter)
    if not workers:
        return "none there"
    try:
        victim.kills.append(process_tree.kill_worker(workers[0], victim.port))
    except ProcessLookupError:
        return "none there"
    return "killed"


@misbehaviour("parser process killed", "processes", ("killed", "none there"), pause_seconds=3)
def kill_parser(victim: Victim) -> str:
    """Kill a process that parses bodies with SIGKILL."""
    return _kill_one(process_tree.named_pids(victim.arbiter, PARSER))


@misbehaviour("fork server killed", "processes", ("killed", "none there"), pause_seconds=15)
def kill_fork_server(victim: Victim) -> str:
    """Kill the process that forks a worker's parser processes with SIGKILL: the arbiter replaces the worker."""
    return _kill_one(process_tree.named_pids(victim.arbiter, FORK_SERVER))


def _kill_one(pids: Sequence[int]) -> str:
    if not pids:
        return "none there"
    with suppress(ProcessLookupError):
        os.kill(int(np.random.default_rng().choice(pids)), signal.SIGKILL)
    return "killed"


@misbehaviour("reload (SIGHUP)", "processes", ("sent",), pause_seconds=10)
def reload(victim: Victim) -> str:
    """Have the arbiter replace all workers."""
    os.kill(victim.arbiter, signal.SIGHUP)
    return "sent"
