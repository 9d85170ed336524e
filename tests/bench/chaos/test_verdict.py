"""bench/chaos/verdict.py and tables.py: what fails the experiment, and what is excused."""

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bench.chaos import tables, verdict
from bench.chaos.experiment import CALM, EVERYTHING, Memory, Result
from bench.chaos.good_client import Counts, GoodClientResult, Lost
from bench.chaos.registry import Misbehaviour
from bench.process_tree import Kill

KILL = Kill(77, at=10.0, ports=frozenset({5000}))
LOST = Lost("plain", EVERYTHING, "closed", 5000, opened=9.0, at=10.5, is_refused_connection=False)
KIND = Misbehaviour("odd body", "bodies", lambda _: "400", frozenset({"400"}), 1)


def result() -> Result:
    """A result without a failure."""
    counts = {
        phase: {kind: Counts(10, 10, p50_ms=1.5, p99_ms=2.5) for kind in ("plain", "photograph", "bulk")}
        for phase in (CALM, EVERYTHING)
    }
    memory = Memory(100, 300, 110, 9, 9, 0)
    good = GoodClientResult(counts, [LOST], {"1": 60}, {"429: too many": 2})
    return Result(
        good,
        memory,
        {"odd body": KIND},
        {"odd body": Counter({"400": 3, "429": 1, "worker killed": 1})},
        [KILL],
        {"1"},
        newest_in_use=True,
        stopped_at=20.0,
        exit_code=0,
        log="Worker (pid:77) was sent SIGKILL!\nWorker (pid:78) was sent SIGTERM!\n",
    )


def test_a_request_lost_with_its_killed_worker_is_excused() -> None:
    assert verdict.failures(result()) == []
    assert verdict.split_lost(result()) == ([LOST], [])


@pytest.mark.parametrize(
    "lost",
    [
        dataclasses.replace(LOST, port=5001),
        dataclasses.replace(LOST, opened=10.1),
        dataclasses.replace(LOST, at=9.9),
        dataclasses.replace(LOST, is_refused_connection=True),
    ],
    ids=["another worker's", "opened after the kill", "lost before the kill", "refused before the stop"],
)
def test_any_other_lost_request_fails(lost: Lost) -> None:
    other = result()
    other.good.lost.append(lost)
    (failure,) = verdict.failures(other)
    assert failure.startswith("the good client lost a request (plain, in everything): closed")
    assert verdict.split_lost(other) == ([LOST], [lost])


def test_a_connection_refused_after_the_stop_is_not_lost() -> None:
    other = result()
    other.good.lost = [dataclasses.replace(LOST, is_refused_connection=True, at=20.5)]
    assert verdict.failures(other) == []
    assert verdict.split_lost(other) == ([], [])


@pytest.mark.parametrize(
    ("changes", "failure"),
    [
        ({"newest_in_use": False}, "not all workers took the newest version after the chaos"),
        ({"exit_code": None}, "the stop ended with the exit code None"),
        ({"served": set()}, "versions that must not be served were: 1"),
        ({"kills": [Kill(1, 10.0, KILL.ports)]}, "worker 77 ended by itself: was sent SIGKILL"),
        ({"log": "Worker (pid:5) exited with code 3."}, "worker 5 ended by itself: exited with code 3"),
        (
            {"log": 'Traceback (most recent call last):\n  File "a", line 1\n  File "b", line 2\nOSError: no space\n'},
            "'Traceback' stands 1 times in the log: File \"b\", line 2: OSError: no space",
        ),
        ({"ends": {"odd body": Counter({"500": 2})}}, "odd body: 500 (2 times); expected: 400"),
        ({"memory": Memory(100, 300, 126, 9, 9, 0)}, "the service has 126 MB after the chaos, and had 100 MB before"),
        ({"memory": Memory(100, 300, 100, 9, 10, 0)}, "there are 10 processes after the chaos, and were 9"),
        ({"memory": Memory(100, 300, 100, 9, 9, 2)}, "2 processes still run after the stop"),
    ],
)
def test_each_fault_of_the_service_fails(changes: dict[str, Any], failure: str) -> None:
    (found,) = verdict.failures(dataclasses.replace(result(), **changes))
    assert found.startswith(failure)


def test_a_wrong_response_and_a_client_without_responses_fail() -> None:
    other = result()
    other.good.counts[EVERYTHING]["bulk"] = Counts(2, 0, wrong=2, first_wrong="200, [3] for [7]")
    wrong, none_right = verdict.failures(other)
    assert wrong == "2 wrong responses to the good client (bulk, in everything): 200, [3] for [7]"
    assert none_right == "the good client got no right response (bulk, in everything)"


def test_tables_state_what_was_sent_and_how_it_ended() -> None:
    lines = tables.markdown(result(), "2 cores").splitlines()
    assert lines[:4] == [
        "| headline | value |",
        "|---|---|",
        "| requests of the good client | 60 |",
        "| lost, on connections of workers that were killed | 1 |",
    ]
    assert "| p99 of a plain prediction, calm | 2.5 ms |" in lines
    assert "| everything | plain | 10 | 10 | 0 | 0 | 1 | 0 | 1.5 | 2.5 |" in lines
    assert "| all | all | 60 | 60 | 0 | 0 | 1 | 0 | | |" in lines
    assert "| 429: too many | 2 |" in lines
    assert "| Hostile bodies | 1 | 5 | 400: 3, 429: 1, worker killed: 1 |" in lines
    assert "| odd body | 5 | 400: 3, 429: 1, worker killed: 1 |" in lines
    assert "| memory of all processes before | 100 MB |" in lines


def test_figures_of_a_page_are_replaced_and_its_text_stays(tmp_path: Path) -> None:
    page = tmp_path / "chaos.md"
    page.write_text(f"# Chaos\n\n{tables.MARKER}\n| old |\n")
    tables.replace_figures(page, "| new |")
    assert page.read_text() == f"# Chaos\n\n{tables.MARKER}\n| new |\n"
