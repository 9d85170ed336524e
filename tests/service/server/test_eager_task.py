"""A coroutine that is run eagerly ends as one in a task does."""

import asyncio
from collections.abc import Callable

import pytest

from service.server.eager_task import run_eagerly


def test_a_coroutine_that_awaits_nothing_needs_no_event_loop() -> None:
    results = []

    async def outer() -> None:
        results.append(await inner())

    async def inner() -> int:
        return 42

    run_eagerly(outer())
    assert results == [42]


def test_an_exception_before_the_first_await_is_raised() -> None:
    async def broken() -> None:
        raise ValueError("at once")

    with pytest.raises(ValueError, match="at once"):
        run_eagerly(broken())


@pytest.mark.parametrize("start", [run_eagerly, asyncio.ensure_future])
def test_a_coroutine_continues_with_the_results_that_it_awaits(start: Callable[..., object]) -> None:
    async def collect(futures: "list[asyncio.Future[int]]", ended: "asyncio.Future[list[object]]") -> None:
        results: list[object] = []
        for future in futures:
            try:
                results.append(await future)
            except ValueError as error:
                results.append(str(error))
            await asyncio.sleep(0)  # a bare yield
        results.append(await asyncio.get_running_loop().run_in_executor(None, sum, [1, 2]))
        ended.set_result(results)

    async def scenario() -> list[object]:
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[int]] = [loop.create_future() for _ in range(3)]
        ended: asyncio.Future[list[object]] = loop.create_future()
        futures[1].set_result(1)  # done before it is awaited
        start(collect(futures, ended))
        futures[0].set_result(0)
        futures[2].set_exception(ValueError("two"))
        return await asyncio.wait_for(ended, 20)

    assert asyncio.run(scenario()) == [0, 1, "two", 3]


def test_a_later_exception_goes_to_the_handler_of_the_event_loop() -> None:
    async def broken(future: "asyncio.Future[None]") -> None:
        await future
        raise ValueError("later")

    async def scenario() -> BaseException:
        loop = asyncio.get_running_loop()
        reported: asyncio.Future[BaseException] = loop.create_future()
        loop.set_exception_handler(lambda _, context: reported.set_result(context["exception"]))
        future: asyncio.Future[None] = loop.create_future()
        run_eagerly(broken(future))
        future.set_result(None)
        return await asyncio.wait_for(reported, 20)

    assert str(asyncio.run(scenario())) == "later"
