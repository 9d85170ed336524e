"""When the model is called, and for whom."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import numpy as np

from service.inference.batching import DynamicBatcher
from service.inference.model_store import Model
from service.inference.predictions import Predictions
from service.types import Batch, Probabilities


class Brightest:
    """Says of each image which of ten its first pixel is, and notes how many images each call had."""

    name = "brightest"

    def __init__(self) -> None:
        self.calls: list[int] = []

    def __call__(self, batch: Batch) -> Probabilities:
        self.calls.append(len(batch))
        if batch.max() > 9:
            raise ValueError("no digit")
        return np.eye(10, dtype=np.float32)[batch[:, 0, 0]]


def model(version: str = "1") -> tuple[Model, Brightest]:
    runtime = Brightest()
    return Model(version, None, runtime), runtime


def images(*digits: int) -> bytes:
    return b"".join(bytes([digit]) + bytes(783) for digit in digits)


def new_batcher() -> DynamicBatcher:
    return DynamicBatcher(lambda *_: None)


def together(*asked: Coroutine[Any, Any, Predictions]) -> list[Predictions | BaseException]:
    async def all_of_them() -> list[Predictions | BaseException]:
        return await asyncio.gather(*asked, return_exceptions=True)

    return asyncio.run(all_of_them())


def digits(answers: Predictions | BaseException) -> list[int]:
    assert isinstance(answers, Predictions)
    return list(answers.digits)


def test_requests_of_one_iteration_share_a_batch_and_keep_their_order() -> None:
    current, runtime = model()
    batcher = new_batcher()
    found = together(*(batcher.predict(current, images(*some)) for some in ([1], [2, 3, 4], [5], [6])))
    assert [digits(predictions) for predictions in found] == [[1], [2, 3, 4], [5], [6]]
    assert runtime.calls == [1, 5]


def completes_at_once(batcher: DynamicBatcher, current: Model, digit: int) -> bool:
    """Whether a request is predicted without waiting for the event loop. Needs a running loop."""
    coroutine = batcher.predict(current, images(digit))
    try:
        coroutine.send(None)
    except StopIteration as ended:  # a coroutine that ends at its first step has waited for nothing
        return digits(ended.value) == [digit]
    coroutine.close()
    return False


def test_a_lone_request_is_run_immediately() -> None:
    async def one_after_the_other() -> None:
        for digit in range(5):
            assert completes_at_once(batcher, current, digit)
            await asyncio.sleep(0)

    (current, runtime), batcher = model(), new_batcher()
    asyncio.run(one_after_the_other())
    assert runtime.calls == [1] * 5


def test_the_second_request_of_an_iteration_starts_batching() -> None:
    async def three_then_two_then_one_twice() -> None:
        await asyncio.gather(*(batcher.predict(current, images(digit)) for digit in (1, 2, 3)))
        await asyncio.gather(*(batcher.predict(current, images(digit)) for digit in (4, 5)))
        await batcher.predict(current, images(6))
        await asyncio.sleep(0)
        assert completes_at_once(batcher, current, 7)

    (current, runtime), batcher = model(), new_batcher()
    asyncio.run(three_then_two_then_one_twice())
    assert runtime.calls == [1, 2, 2, 1, 1]


def test_each_is_answered_by_the_model_that_it_began_with() -> None:
    (old, of_old), (new, of_new) = model("1"), model("2")
    shared = new_batcher()
    found = together(*(shared.predict(which, images(5)) for which in (old, new, old, new)))
    assert [digits(answers) for answers in found] == [[5]] * 4
    assert sum(of_old.calls) == sum(of_new.calls) == 2


def test_a_fault_is_everyones_and_the_next_turn_is_well() -> None:
    which, runtime = model()
    shared = new_batcher()
    found = together(*(shared.predict(which, images(digit)) for digit in (1, 2, 10)))
    assert digits(found[0]) == [1]
    assert [str(error) for error in found[1:]] == ["no digit"] * 2
    assert digits(together(shared.predict(which, images(3)))[0]) == [3]
    assert runtime.calls == [1, 2, 1]


def test_who_went_away_costs_the_others_nothing() -> None:
    which, _ = model()
    shared = new_batcher()

    async def one_leaves() -> list[int]:
        leaving = asyncio.ensure_future(shared.predict(which, images(1)))
        staying = asyncio.ensure_future(shared.predict(which, images(2)))
        await asyncio.sleep(0)
        leaving.cancel()
        return digits(await staying)

    assert asyncio.run(one_leaves()) == [2]


def test_staying_awake_ends_by_itself() -> None:
    async def awake() -> int:
        loop, shared = asyncio.get_running_loop(), new_batcher()
        shared.spin_briefly()
        shared.spin_briefly()
        rounds = 0
        while shared._spin_until is not None:
            rounds += 1
            await asyncio.sleep(0)
        assert loop.time()
        return rounds

    assert asyncio.run(awake()) > 1
