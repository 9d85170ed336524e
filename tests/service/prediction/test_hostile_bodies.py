"""Tests that every hostile body is rejected or parsed within 2 s of CPU and 256 MiB, nearly all by a cheap bound."""

import json
import subprocess
import sys

import pytest

from bench.hostile_bodies import DEADLINE_ONLY, HOSTILE_BODIES, LARGE_PICTURES
from tests.bounded_parsing import CPU_SECONDS, MEMORY_BYTES, Outcome
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    """What came of each body, by its name."""
    command = [sys.executable, "-m", "tests.bounded_parsing"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line["name"]: line for line in lines}


def test_the_limits_are_those_of_the_process_that_parses() -> None:
    assert (CPU_SECONDS, MEMORY_BYTES) == (2, 268_435_456)


def test_every_body_has_an_outcome(outcomes: dict[str, Outcome]) -> None:
    assert list(outcomes) == [*HOSTILE_BODIES, *LARGE_PICTURES]
    assert len(HOSTILE_BODIES) >= 60


@pytest.mark.parametrize("name", [name for name in HOSTILE_BODIES if name not in DEADLINE_ONLY])
def test_a_cheap_bound_stops_a_hostile_body(outcomes: dict[str, Outcome], name: str) -> None:
    """The process reaches neither limit: it answers within both."""
    outcome = outcomes[name]
    assert outcome["outcome"] in {"rejected", "parsed"}, outcome
    assert outcome.get("status", 413) in {400, 413, 415, 422}
    assert len(outcome.get("message", "")) < 300


@pytest.mark.parametrize("name", sorted(DEADLINE_ONLY))
def test_only_the_limits_of_the_process_stop_other_bodies(outcomes: dict[str, Outcome], name: str) -> None:
    """Such a body is parsed on a faster machine; no bound tells it from a good one."""
    outcome = outcomes[name]
    decoder_out_of_memory = outcome.get("message", "").endswith("failed to read next frame")
    assert outcome["outcome"] in {"killed", "memory", "parsed"} or decoder_out_of_memory, outcome


@pytest.mark.parametrize("name", LARGE_PICTURES)
def test_the_largest_good_pictures_fit_into_the_memory(outcomes: dict[str, Outcome], name: str) -> None:
    assert outcomes[name]["outcome"] == "parsed", outcomes[name]
