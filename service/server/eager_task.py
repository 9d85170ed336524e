"""Runs a coroutine eagerly, without a task: where nothing is awaited, a task takes as long as encoding the response.

asyncio has eager tasks from Python 3.12 on (https://docs.python.org/3/library/asyncio-task.html#eager-task-factory);
they replace this module once 3.12 is the oldest version supported. Unlike a task, the coroutine cannot be cancelled, so
`asyncio.timeout` does not work in it.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any


def run_eagerly(coroutine: Coroutine[Any, None, None]) -> None:
    """Run a coroutine until it awaits, and continue it when what it awaits is done.

    Raises:
        Exception: what the coroutine raises before it awaits; a later exception goes to the event loop's handler.
    """
    try:
        future: asyncio.Future[object] | None = coroutine.send(None)
    except StopIteration:
        return
    if future is None:  # a bare yield, as of asyncio.sleep(0): continue in the next iteration
        asyncio.get_running_loop().call_soon(run_eagerly, coroutine)
        return
    future._asyncio_future_blocking = False  # noqa: SLF001 - marks the future as awaited
    future.add_done_callback(lambda _: run_eagerly(coroutine))
