"""bench/chaos/experiment.py on the real service, with small numbers: its accounting of killed workers is exact."""

import os
import signal

import pytest

from bench import process_tree
from bench.chaos import faults, verdict
from bench.chaos.experiment import Plan, run
from bench.chaos.registry import Misbehaviour, Victim

pytestmark = [pytest.mark.system, pytest.mark.alone]


def kill_unrecorded(victim: Victim) -> str:
    """Kill a worker behind the back of the accounting."""
    os.kill(process_tree.worker_pids(victim.arbiter)[0], signal.SIGKILL)
    return "killed"


def plan(kill: Misbehaviour) -> Plan:
    """Swaps of good versions, and workers killed."""
    return Plan(
        calm_seconds=1,
        hostile_seconds=0,
        chaos_seconds=3,
        settle_seconds=0.5,
        load_seconds=0.5,
        words=("good version published",),
        added=[kill],
    )


def test_requests_lost_with_a_recorded_kill_are_excused() -> None:
    result = run(plan(Misbehaviour("kill", "processes", faults.kill_worker, frozenset({"killed", "none there"}), 1)))
    assert result.kills
    excused, lost = verdict.split_lost(result)
    assert excused
    assert lost == []
    assert len(result.good.versions) > 1
    assert not [failure for failure in verdict.failures(result) if "ended by itself" in failure or "version" in failure]


def test_a_request_lost_without_a_recorded_kill_is_noticed() -> None:
    result = run(plan(Misbehaviour("kill", "processes", kill_unrecorded, frozenset({"killed"}), 1)))
    excused, lost = verdict.split_lost(result)
    assert excused == []
    assert lost
    failures = verdict.failures(result)
    assert any(failure.startswith("the good client lost a request") for failure in failures)
    assert any("ended by itself: was sent SIGKILL" in failure for failure in failures)
