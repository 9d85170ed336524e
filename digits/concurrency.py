"""A function applied to many items at once, in threads or in tasks, with a bounded number of them under way."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from threading import Event
from typing import TypeVar

Item = TypeVar("Item")
Output = TypeVar("Output")


def map_ordered(function: Callable[[Item], Output], items: Iterable[Item], limit: int, stop: Event) -> Iterator[Output]:
    """Yield the outputs in the order of the items; an exception of the function ends the iteration.

    Items are taken from the iterable in the thread of the caller, at most `limit` before their output is taken. `stop`
    is set at the end: a function that waits for something should end then, because its thread is waited for.
    """
    with ThreadPoolExecutor(limit, "digits") as executor:
        pending: deque[Future[Output]] = deque()
        try:
            for item in items:
                if len(pending) == limit:
                    yield pending.popleft().result()
                pending.append(executor.submit(function, item))
            while pending:
                yield pending.popleft().result()
        finally:
            stop.set()
            _cancel(pending)


def map_completed(
    function: Callable[[Item], Output], items: Iterable[Item], limit: int, stop: Event
) -> Iterator[Output]:
    """As map_ordered, with each output as soon as it exists."""
    with ThreadPoolExecutor(limit, "digits") as executor:
        pending: set[Future[Output]] = set()
        try:
            for item in items:
                pending.add(executor.submit(function, item))
                done, pending = wait(pending, None if len(pending) == limit else 0, FIRST_COMPLETED)
                yield from (future.result() for future in done)
            while pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        finally:
            stop.set()
            _cancel(pending)


async def map_ordered_async(
    function: Callable[[Item], Awaitable[Output]], items: Iterable[Item], limit: int
) -> AsyncGenerator[Output, None]:
    """As map_ordered, in tasks."""

    async def call(item: Item) -> Output:
        return await function(item)

    pending: deque[asyncio.Task[Output]] = deque()
    try:
        for item in items:
            if len(pending) == limit:
                yield await pending.popleft()
            pending.append(asyncio.create_task(call(item)))
        while pending:
            yield await pending.popleft()
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)


def _cancel(futures: Iterable[Future[Output]]) -> None:
    for future in futures:
        future.cancel()
