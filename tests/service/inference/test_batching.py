"""When the model is called, and for whom."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import numpy as np
import pytest

from service.inference.batching import DynamicBatcher
from service.inference.model_store import Model
from service.inference.runtimes import Batch, Probabilities
from service.prediction.predictor import Predictions


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


def turns(coming: int | None = None) -> DynamicBatcher:
    made = DynamicBatcher(lambda *_: None)
    made.expected_requests = coming
    return made


def together(*asked: Coroutine[Any, Any, Predictions]) -> list[Predictions | BaseException]:
    async def all_of_them() -> list[Predictions | BaseException]:
        return await asyncio.gather(*asked, return_exceptions=True)

    return asyncio.run(all_of_them())


def digits(answers: Predictions | BaseException) -> list[int]:
    assert isinstance(answers, Predictions)
    return list(answers.digits)


@pytest.mark.parametrize("coming", [None, 3])
def test_who_comes_together_is_answered_together_and_in_order(coming: int | None) -> None:
    which, runtime = model()
    shared = turns(coming)
    found = together(*(shared.predict(which, images(*some)) for some in ([1], [2, 3, 4], [5], [6])))
    assert [digits(answers) for answers in found] == [[1], [2, 3, 4], [5], [6]]
    assert runtime.calls == [6]


def at_once(shared: DynamicBatcher, which: Model, digit: int) -> bool:
    """Whether somebody who asks now is answered without waiting. Takes a running loop."""
    asked = shared.predict(which, images(digit))
    try:
        asked.send(None)
    except StopIteration as ended:  # a coroutine that ends at its first step has waited for nothing
        return digits(ended.value) == [digit]
    asked.close()
    return False


def test_who_is_alone_does_not_wait() -> None:
    async def one_after_the_other() -> None:
        for digit in range(5):
            assert at_once(shared, which, digit)
            await asyncio.sleep(0)

    (which, runtime), shared = model(), turns(coming=0)
    asyncio.run(one_after_the_other())
    assert runtime.calls == [1] * 5


def test_a_second_in_one_turn_tells_of_more_to_come() -> None:
    async def three_and_then_one() -> None:
        assert at_once(shared, which, 1)
        assert at_once(shared, which, 2)
        assert not at_once(shared, which, 3)
        await asyncio.sleep(0)
        assert not shared.expected_requests
        assert at_once(shared, which, 4)

    (which, runtime), shared = model(), turns(coming=0)
    asyncio.run(three_and_then_one())
    assert runtime.calls == [1, 1, 1, 1]


def test_after_company_the_loop_decides_and_alone_again_nobody_waits() -> None:
    which, runtime = model()
    shared = turns(coming=1)
    together(shared.predict(which, images(1)), shared.predict(which, images(2)))
    assert shared.expected_requests == 0
    together(shared.predict(which, images(3)))

    async def alone() -> None:
        assert at_once(shared, which, 4)

    asyncio.run(alone())
    assert runtime.calls == [2, 1, 1]


def test_what_never_begins_is_not_waited_for_forever() -> None:
    which, _ = model()
    shared = turns(coming=5)
    shared.request_started()
    assert shared.expected_requests == 4
    together(shared.predict(which, images(1)))
    assert shared.expected_requests == 0
    shared.request_started()
    assert shared.expected_requests == 0


def test_each_is_answered_by_the_model_that_it_began_with() -> None:
    (old, of_old), (new, of_new) = model("1"), model("2")
    shared = turns()
    found = together(*(shared.predict(which, images(5)) for which in (old, new, old, new)))
    assert [digits(answers) for answers in found] == [[5]] * 4
    assert sum(of_old.calls) == sum(of_new.calls) == 2


def test_a_fault_is_everyones_and_the_next_turn_is_well() -> None:
    which, runtime = model()
    shared = turns()
    found = together(*(shared.predict(which, images(digit)) for digit in (1, 10)))
    assert [str(error) for error in found] == ["no digit"] * 2
    assert digits(together(shared.predict(which, images(3)))[0]) == [3]
    assert runtime.calls == [2, 1]


def test_who_went_away_costs_the_others_nothing() -> None:
    which, _ = model()
    shared = turns()

    async def one_leaves() -> list[int]:
        leaving = asyncio.ensure_future(shared.predict(which, images(1)))
        staying = asyncio.ensure_future(shared.predict(which, images(2)))
        await asyncio.sleep(0)
        leaving.cancel()
        return digits(await staying)

    assert asyncio.run(one_leaves()) == [2]


def test_staying_awake_ends_by_itself() -> None:
    async def awake() -> int:
        loop, shared = asyncio.get_running_loop(), turns(coming=0)
        shared.spin_briefly()
        shared.spin_briefly()
        rounds = 0
        while shared._spin_until is not None:
            rounds += 1
            await asyncio.sleep(0)
        assert loop.time()
        return rounds

    assert asyncio.run(awake()) > 1
