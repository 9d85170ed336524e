"""A coroutine run at once, and in no task: where nothing is waited for, a task takes as long as an answer's JSON.

As asyncio's eager tasks, which come with Python 3.12 (https://docs.python.org/3/library/asyncio-task.html), but nobody
can cancel it: no `asyncio.timeout` works in it.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any


def run_eagerly(coroutine: Coroutine[Any, None, None]) -> None:
    """Run a coroutine until it waits for a future, and on from there as soon as that is done.

    Raises:
        Exception: what the coroutine raises before it waits; what it raises later, the event loop is told.
    """
    try:
        future: asyncio.Future[object] = coroutine.send(None)
    except StopIteration:
        return
    future._asyncio_future_blocking = False  # noqa: SLF001 - how a future is told that it was seen to be waited for
    future.add_done_callback(lambda _: run_eagerly(coroutine))
