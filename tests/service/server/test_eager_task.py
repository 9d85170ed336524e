"""A coroutine without a task ends as one with a task would."""

import asyncio
from collections.abc import Callable

import pytest

from service.server import eager_task


def test_who_waits_for_nothing_needs_no_loop() -> None:
    heard = []

    async def quick() -> None:
        heard.append(await answer())

    async def answer() -> int:
        return 42

    eager_task.run_eagerly(quick())
    assert heard == [42]


def test_what_is_raised_at_once_is_raised_here() -> None:
    async def broken() -> None:
        raise ValueError("at once")

    with pytest.raises(ValueError, match="at once"):
        eager_task.run_eagerly(broken())


@pytest.mark.parametrize("start", [eager_task.run_eagerly, asyncio.ensure_future])
def test_who_waits_goes_on_with_what_comes(start: Callable[..., object]) -> None:
    async def waiting(futures: "list[asyncio.Future[int]]", ended: "asyncio.Future[list[object]]") -> None:
        heard: list[object] = []
        for future in futures:
            try:
                heard.append(await future)
            except ValueError as error:
                heard.append(str(error))
        heard.append(await asyncio.get_running_loop().run_in_executor(None, sum, [1, 2]))
        ended.set_result(heard)

    async def story() -> list[object]:
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[int]] = [loop.create_future() for _ in range(3)]
        ended: asyncio.Future[list[object]] = loop.create_future()
        futures[1].set_result(1)  # it is there before anybody waits for it
        start(waiting(futures, ended))
        futures[0].set_result(0)
        futures[2].set_exception(ValueError("two"))
        return await asyncio.wait_for(ended, 20)

    assert asyncio.run(story()) == [0, 1, "two", 3]


def test_what_is_raised_later_the_loop_is_told() -> None:
    async def broken(future: "asyncio.Future[None]") -> None:
        await future
        raise ValueError("later")

    async def story() -> BaseException:
        loop = asyncio.get_running_loop()
        told: asyncio.Future[BaseException] = loop.create_future()
        loop.set_exception_handler(lambda _, context: told.set_result(context["exception"]))
        future: asyncio.Future[None] = loop.create_future()
        eager_task.run_eagerly(broken(future))
        future.set_result(None)
        return await asyncio.wait_for(told, 20)

    assert str(asyncio.run(story())) == "later"
