"""Plain images -> answers: one call of the model for all that come in one turn of the event loop.

A call for one image takes 15 us, for sixteen 80. Nobody waits for company: who comes alone is asked for at once.
"""

import asyncio
import time
from collections.abc import Callable

import numpy as np

from service.imaging.mnist_format import IMAGE_SIDE
from service.inference.model_store import Model
from service.prediction.predictor import Predictions

SPIN_SECONDS = 0.0002


class DynamicBatcher:
    """The turns of one event loop."""

    def __init__(self, stage_completed: Callable[[str, float], None]) -> None:
        """`staged` is told the seconds of each call of the model, as "infer"."""
        self._stage_completed = stage_completed
        self._pending: PendingBatch | None = None
        self._ran_unbatched = False
        """Whether somebody was answered alone in this turn: another who comes in it tells of more to come."""
        self._last_batch_shared = False
        self._spin_until: float | None = None
        self.expected_requests: int | None = None
        """Requests whose heads are read and that are not begun yet, if the server counts them."""

    async def predict(self, model: Model, images: bytes) -> Predictions:
        """The answers to N images, N x 784 bytes."""
        if not self._is_idle:
            return await self._enqueue(model, images)
        if self._ran_unbatched:
            self._last_batch_shared = True
        else:
            self._ran_unbatched = True
            asyncio.get_running_loop().call_soon(self._next_iteration)
        return self._infer(model, images)

    def _next_iteration(self) -> None:
        self._ran_unbatched = False

    def request_started(self) -> None:
        """A request that was coming has begun."""
        if self.expected_requests:
            self.expected_requests -= 1

    def spin_briefly(self) -> None:
        """Keep the event loop from sleeping for a moment after an answer, while the next request may be on its way.

        To wake a sleeping process takes longer than an answer: a client that asks one thing after another is served
        a quarter faster. It costs at most VIGIL_SECONDS of one core an answer, and nothing where others wait anyway.
        """
        if not self._is_idle:
            return
        if self._spin_until is None:
            asyncio.get_running_loop().call_soon(self._spin)
        self._spin_until = time.perf_counter() + SPIN_SECONDS

    def _spin(self) -> None:
        if self._spin_until is not None and time.perf_counter() < self._spin_until:
            asyncio.get_running_loop().call_soon(self._spin)
        else:
            self._spin_until = None

    @property
    def _is_idle(self) -> bool:
        """Whether nobody else is here to be answered in the same call, nor was a moment ago."""
        return self.expected_requests == 0 and not self._last_batch_shared

    def _enqueue(self, model: Model, images: bytes) -> "asyncio.Future[Predictions]":
        loop = asyncio.get_running_loop()
        if self._pending is None or self._pending.model is not model:
            self._pending = PendingBatch(model)
            loop.call_soon(self._flush, self._pending)
        return self._pending.add(images, loop.create_future())

    def _flush(self, turn: "PendingBatch") -> None:
        if self._pending is turn:
            self._pending = None
        if self.expected_requests:
            self.expected_requests = 0  # whoever has not begun by now went away
        self._last_batch_shared = turn.size > 1
        turn.run(self._infer)

    def _infer(self, model: Model, images: bytes) -> Predictions:
        began = time.perf_counter()
        answers = Predictions.from_probabilities(
            model, model(np.frombuffer(images, np.uint8).reshape(-1, IMAGE_SIDE, IMAGE_SIDE))
        )
        self._stage_completed("infer", time.perf_counter() - began)
        return answers


class PendingBatch:
    """Those who came in one turn, to be answered by one model."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._images: list[bytes] = []
        self._futures: list[asyncio.Future[Predictions]] = []

    @property
    def size(self) -> int:
        """How many requests have joined."""
        return len(self._futures)

    def add(self, images: bytes, answers: asyncio.Future[Predictions]) -> asyncio.Future[Predictions]:
        """Add N x 784 bytes, and where the answers to them go."""
        self._images.append(images)
        self._futures.append(answers)
        return answers

    def run(self, call: Callable[[Model, bytes], Predictions]) -> None:
        """Answer them all; a fault is everyone's."""
        try:
            answers = call(self.model, b"".join(self._images))
        except Exception as error:  # noqa: BLE001 - whatever it is, each request raises it
            for future in self._futures:
                if not future.done():
                    future.set_exception(error)
            return
        start = 0
        for images, future in zip(self._images, self._futures, strict=True):
            stop = start + len(images) // (IMAGE_SIDE * IMAGE_SIDE)
            if not future.done():
                future.set_result(answers.slice(start, stop))
            start = stop
