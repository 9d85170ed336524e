"""Runs a scenario in a process of its own, which has a single thread when it starts: a fork server needs that."""

import asyncio
import multiprocessing
from collections.abc import Callable, Coroutine
from typing import Any

SECONDS = 120

Scenario = Callable[..., Coroutine[Any, Any, None]]


def run_in_fresh_process(scenario: Scenario, *arguments: object) -> None:
    """Run a coroutine function of a test module; fails if it raises."""
    process = multiprocessing.get_context("spawn").Process(target=_run, args=(scenario, *arguments))
    process.start()
    process.join(SECONDS)
    if process.is_alive():
        process.kill()
        process.join()
    assert process.exitcode == 0, f"{scenario.__name__} failed: its traceback is on standard error"


def _run(scenario: Scenario, *arguments: object) -> None:
    asyncio.run(scenario(*arguments))
