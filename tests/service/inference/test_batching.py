"""Tests DynamicBatcher: which requests share a call of the model, in which iteration it runs, and how long the event
loop polls after a lone response. Time is a fake clock; iterations of the event loop are counted."""

import asyncio
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from service.inference import batching
from service.inference.batching import SPIN_SECONDS, DynamicBatcher, PendingBatch
from service.inference.model import Model
from service.inference.predictions import Predictions
from service.types import Batch, Probabilities


class FirstPixelRuntime:
    """A runtime that predicts the value of each image's first pixel, and records the size of every batch.

    Raises ValueError for a batch with a pixel over 9.
    """

    name = "first-pixel"

    def __init__(self) -> None:
        self.batch_sizes: list[int] = []

    def __call__(self, batch: Batch) -> Probabilities:
        assert batch.shape[1:] == (28, 28)
        assert batch.dtype == np.uint8
        self.batch_sizes.append(len(batch))
        if batch.max() > 9:
            raise ValueError("not a digit")
        return np.eye(10, dtype=np.float32)[batch[:, 0, 0]]


def new_model(version: str = "1") -> tuple[Model, FirstPixelRuntime]:
    runtime = FirstPixelRuntime()
    return Model(version, None, runtime), runtime


def images(*digits: int) -> bytes:
    """N x 784 bytes that FirstPixelRuntime predicts as these digits."""
    return b"".join(bytes([digit]) + bytes(783) for digit in digits)


def new_batcher() -> DynamicBatcher:
    return DynamicBatcher(lambda *_: None)


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine in a new event loop; fails if it hangs, as with a future that is never completed."""
    return asyncio.run(asyncio.wait_for(coroutine, 10))


def run_concurrently(*requests: Coroutine[Any, Any, Predictions]) -> list[Predictions | BaseException]:
    async def gather() -> list[Predictions | BaseException]:
        return await asyncio.gather(*requests, return_exceptions=True)

    results: list[Predictions | BaseException] = run(gather())
    return results


def digits(result: Predictions | BaseException) -> list[int]:
    assert isinstance(result, Predictions)
    return list(result.digits)


def completes_at_once(batcher: DynamicBatcher, model: Model, digit: int) -> bool:
    """Whether a request is predicted without waiting for the event loop. Needs a running loop."""
    coroutine = batcher.predict(model, images(digit))
    try:
        coroutine.send(None)
    except StopIteration as ended:  # a coroutine that ends at its first step has not waited
        return digits(ended.value) == [digit]
    coroutine.close()
    return False


class FakeClock:
    """Replaces `time` in the batching module; advances only when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    clock = FakeClock()
    monkeypatch.setattr(batching, "time", SimpleNamespace(perf_counter=clock.perf_counter))
    return clock


def test_requests_of_one_iteration_share_a_batch_and_keep_their_order() -> None:
    model, runtime = new_model()
    batcher = new_batcher()
    results = run_concurrently(*(batcher.predict(model, images(*some)) for some in ([1], [2, 3, 4], [5], [6])))
    assert [digits(result) for result in results] == [[1], [2, 3, 4], [5], [6]]
    assert runtime.batch_sizes == [1, 5]


def test_a_lone_request_is_run_immediately() -> None:
    async def send_one_per_iteration() -> None:
        for digit in range(5):
            assert completes_at_once(batcher, model, digit)
            await asyncio.sleep(0)

    (model, runtime), batcher = new_model(), new_batcher()
    run(send_one_per_iteration())
    assert runtime.batch_sizes == [1] * 5


def test_a_lone_request_of_several_images_is_run_immediately() -> None:
    async def predict() -> Predictions:
        return await batcher.predict(model, images(7, 8, 9))

    (model, runtime), batcher = new_model(), new_batcher()
    assert digits(run(predict())) == [7, 8, 9]
    assert runtime.batch_sizes == [3]


def test_the_second_request_of_an_iteration_starts_batching() -> None:
    async def send() -> None:
        await asyncio.gather(*(batcher.predict(model, images(digit)) for digit in (1, 2, 3)))
        await asyncio.gather(*(batcher.predict(model, images(digit)) for digit in (4, 5)))
        await batcher.predict(model, images(6))
        await asyncio.sleep(0)
        assert completes_at_once(batcher, model, 7)

    (model, runtime), batcher = new_model(), new_batcher()
    run(send())
    assert runtime.batch_sizes == [1, 2, 2, 1, 1]


def test_the_first_request_of_an_iteration_is_collected_while_batching() -> None:
    async def send() -> None:
        await asyncio.gather(*(batcher.predict(model, images(digit)) for digit in (1, 2, 3)))
        assert not completes_at_once(batcher, model, 4)

    (model, runtime), batcher = new_model(), new_batcher()
    run(send())
    assert runtime.batch_sizes[:2] == [1, 2]


def test_a_batch_of_two_requests_continues_batching_and_one_request_ends_it() -> None:
    async def send() -> None:
        await asyncio.gather(*(batcher.predict(model, images(digit)) for digit in (1, 2, 3)))
        await asyncio.gather(*(batcher.predict(model, images(digit)) for digit in (4, 5)))
        await asyncio.gather(*(batcher.predict(model, images(digit)) for digit in (6, 7)))
        await batcher.predict(model, images(8, 9))  # one request of two images
        await asyncio.sleep(0)
        assert completes_at_once(batcher, model, 0)

    (model, runtime), batcher = new_model(), new_batcher()
    run(send())
    assert runtime.batch_sizes == [1, 2, 2, 2, 2, 1]


def test_a_request_waits_one_iteration_at_most() -> None:
    """A collected request is complete in the next iteration: no timer delays it."""

    async def send() -> None:
        requests = [asyncio.ensure_future(batcher.predict(model, images(digit))) for digit in (1, 2, 3)]
        await asyncio.sleep(0)  # the requests run
        await asyncio.sleep(0)  # the batch runs
        await asyncio.sleep(0)  # the tasks take their results
        assert all(request.done() for request in requests)

    (model, _), batcher = new_model(), new_batcher()
    run(send())


def test_requests_are_predicted_by_the_model_that_they_started_with() -> None:
    (old, old_runtime), (new, new_runtime) = new_model("1"), new_model("2")
    batcher = new_batcher()
    results = run_concurrently(*(batcher.predict(model, images(5)) for model in (old, old, new, new, old)))
    assert [digits(result) for result in results] == [[5]] * 5
    assert (old_runtime.batch_sizes, new_runtime.batch_sizes) == ([1, 1, 1], [2])


def test_an_exception_of_the_model_is_raised_by_every_request_of_the_batch_only() -> None:
    model, runtime = new_model()
    batcher = new_batcher()
    results = run_concurrently(*(batcher.predict(model, images(digit)) for digit in (1, 2, 10)))
    assert digits(results[0]) == [1]
    assert [(type(error), str(error)) for error in results[1:]] == [(ValueError, "not a digit")] * 2
    assert digits(run_concurrently(batcher.predict(model, images(3)))[0]) == [3]
    assert runtime.batch_sizes == [1, 2, 1]


@pytest.mark.parametrize("digit", [2, 10])
def test_a_cancelled_request_does_not_affect_the_others_of_its_batch(digit: int) -> None:
    """With 10, the model fails: the exception is not set on the cancelled request."""
    model, _ = new_model()
    batcher = new_batcher()

    async def cancel_one() -> Predictions | BaseException:
        first, cancelled, other = (
            asyncio.ensure_future(batcher.predict(model, images(value))) for value in (0, 1, digit)
        )
        await asyncio.sleep(0)
        cancelled.cancel()
        _, _, result = await asyncio.gather(first, cancelled, other, return_exceptions=True)
        assert cancelled.cancelled()
        return result

    result = run(cancel_one())
    assert isinstance(result, ValueError) if digit > 9 else digits(result) == [digit]


def test_every_call_of_the_model_is_reported_with_its_images_and_seconds(clock: FakeClock) -> None:
    class SlowRuntime(FirstPixelRuntime):
        def __call__(self, batch: Batch) -> Probabilities:
            clock.now += len(batch) / 8
            return super().__call__(batch)

    reported: list[tuple[int, float]] = []
    batcher = DynamicBatcher(lambda count, seconds: reported.append((count, seconds)))
    model = Model("1", None, SlowRuntime())
    run_concurrently(*(batcher.predict(model, images(*some)) for some in ([1, 2], [3], [4, 5])))
    assert reported == [(2, 0.25), (3, 0.375)]


def test_spinning_lasts_200_microseconds() -> None:
    assert SPIN_SECONDS == 0.0002


def test_the_event_loop_polls_until_the_spin_ends(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """While spinning, each iteration schedules a callback, so the selector is polled without blocking."""

    async def spin() -> None:
        loop, batcher = asyncio.get_running_loop(), new_batcher()
        scheduled: list[object] = []
        call_soon: Any = loop.call_soon

        def record_and_call_soon(callback: object, *arguments: object, **options: object) -> object:
            scheduled.append(callback)
            return call_soon(callback, *arguments, **options)

        monkeypatch.setattr(loop, "call_soon", record_and_call_soon)

        def is_spinning() -> bool:
            spins = [call for call in scheduled if call == batcher._spin]
            scheduled.clear()
            return len(spins) == 1

        batcher.spin_briefly()
        assert is_spinning()
        for _ in range(5):
            await asyncio.sleep(0)
            assert is_spinning()
        clock.now += SPIN_SECONDS * 0.75
        batcher.spin_briefly()  # prolongs the spin, and schedules no second callback
        assert not is_spinning()
        await asyncio.sleep(0)
        assert is_spinning()
        clock.now += SPIN_SECONDS * 0.75
        await asyncio.sleep(0)
        assert is_spinning()
        clock.now += SPIN_SECONDS * 0.25
        await asyncio.sleep(0)
        assert not is_spinning()
        await asyncio.sleep(0)
        assert not is_spinning()
        batcher.spin_briefly()
        assert is_spinning()

    run(spin())


def test_the_event_loop_does_not_spin_while_batching(clock: FakeClock) -> None:
    async def spin_under_load() -> None:
        batcher = new_batcher()
        model, _ = new_model()
        await asyncio.gather(*(batcher.predict(model, images(digit)) for digit in (1, 2, 3)))
        batcher.spin_briefly()
        assert batcher._spin_until is None
        await batcher.predict(model, images(4))
        batcher.spin_briefly()
        assert batcher._spin_until == clock.now + SPIN_SECONDS
        clock.now += 1

    run(spin_under_load())


def test_a_pending_batch_gives_every_future_its_part() -> None:
    async def run_batch() -> None:
        model, runtime = new_model()
        loop = asyncio.get_running_loop()
        batch = PendingBatch(model)
        assert batch.size == 0
        futures = [batch.add(images(*some), loop.create_future()) for some in ([1], [2, 3], [4, 5, 6])]
        assert batch.size == 3
        batch.run(lambda model, joined: model.predict(np.frombuffer(joined, np.uint8).reshape(-1, 28, 28)))
        assert [digits(future.result()) for future in futures] == [[1], [2, 3], [4, 5, 6]]
        assert runtime.batch_sizes == [6]

    run(run_batch())
