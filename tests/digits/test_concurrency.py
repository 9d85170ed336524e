"""Many items at once: the order of the outputs, the bound on what is under way, and the end after an error."""

import asyncio
from collections.abc import Callable, Iterator
from threading import Barrier, Event

import pytest

from digits.concurrency import map_completed, map_ordered, map_ordered_async


def test_outputs_come_in_the_order_of_the_items() -> None:
    second = Event()

    def work(item: int) -> int:
        if item == 0:
            assert second.wait(10)
        elif item == 1:
            second.set()
        return item

    assert list(map_ordered(work, range(9), 2, Event())) == list(range(9))


def test_completed_outputs_wait_for_no_other() -> None:
    released = Event()

    def work(item: int) -> int:
        assert item or released.wait(10)
        return item

    outputs = map_completed(work, range(5), 2, Event())
    assert {next(outputs) for _ in range(4)} == {1, 2, 3, 4}
    released.set()
    assert list(outputs) == [0]


def test_as_many_as_the_limit_run_at_once_and_no_item_is_taken_before() -> None:
    barrier = Barrier(3)
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in range(9):
            taken.append(item)
            yield item

    def work(_: int) -> None:
        barrier.wait(10)

    outputs = map_ordered(work, items(), 3, Event())
    next(outputs)
    assert len(taken) <= 4
    assert len(list(outputs)) == 8


@pytest.mark.parametrize("mapping", [map_ordered, map_completed])
def test_an_error_ends_the_iteration_and_what_waits(mapping: Callable[..., Iterator[None]]) -> None:
    stop = Event()

    def work(item: int) -> None:
        if item:
            raise ZeroDivisionError
        assert stop.wait(10)

    with pytest.raises(ZeroDivisionError):
        list(mapping(work, iter([1, 0, 0, 0]), 2, stop))
    assert stop.is_set()


def test_an_error_cancels_the_other_tasks() -> None:
    cancelled: list[int] = []

    async def work(item: int) -> None:
        if not item:
            await asyncio.sleep(0)
            raise ZeroDivisionError
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(item)
            raise

    async def call() -> None:
        with pytest.raises(ZeroDivisionError):
            async for _ in map_ordered_async(work, range(9), 3):
                pass

    asyncio.run(call())
    assert cancelled == [1, 2]
