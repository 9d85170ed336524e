"""Dynamic batching: one call of the model for all requests of one iteration of the event loop.

A call for one image takes 15 us, for sixteen 80 us. There is no batching delay: a lone request is run immediately. A
second request within one iteration shows concurrent load and starts batching: requests are then collected until the
end of their iteration. A batch of one request ends batching.
"""

import asyncio
import time
from collections.abc import Callable

import numpy as np

from service.inference.model import Model
from service.inference.predictions import Predictions
from service.types import IMAGE_PIXELS, IMAGE_SIDE

SPIN_SECONDS = 0.0002
"""How long the event loop polls for the next request after a lone response."""


class DynamicBatcher:
    """Batches the requests of one event loop."""

    def __init__(self, inference_completed: Callable[[int, float], None]) -> None:
        """`inference_completed` is called after each call of the model, with the number of images and the seconds."""
        self._inference_completed = inference_completed
        self._pending: PendingBatch | None = None
        self._is_batching = False
        self._ran_unbatched = False
        """Whether a request was run unbatched in this iteration."""
        self._spin_until: float | None = None

    async def predict(self, model: Model, images: bytes) -> Predictions:
        """Predict N images, given as N x 784 bytes.

        Raises:
            Exception: what the model raises; every request of a batch raises it.
        """
        if self._is_batching or self._ran_unbatched:
            self._is_batching = True
            return await self._enqueue(model, images)
        self._ran_unbatched = True
        asyncio.get_running_loop().call_soon(self._next_iteration)
        return self._infer(model, images)

    def spin_briefly(self) -> None:
        """Keep the event loop polling for SPIN_SECONDS after a lone response.

        A sleeping process takes longer to wake than a prediction takes: a client that sends one request after another
        gets a third more responses. The cost is at most SPIN_SECONDS of one core a response, and nothing under
        concurrent load.
        """
        if self._is_batching:
            return
        if self._spin_until is None:
            asyncio.get_running_loop().call_soon(self._spin)
        self._spin_until = time.perf_counter() + SPIN_SECONDS

    def _spin(self) -> None:
        if self._spin_until is not None and time.perf_counter() < self._spin_until:
            asyncio.get_running_loop().call_soon(self._spin)
        else:
            self._spin_until = None

    def _next_iteration(self) -> None:
        self._ran_unbatched = False

    def _enqueue(self, model: Model, images: bytes) -> "asyncio.Future[Predictions]":
        loop = asyncio.get_running_loop()
        if self._pending is None or self._pending.model is not model:
            self._pending = PendingBatch(model)
            loop.call_soon(self._flush, self._pending)
        return self._pending.add(images, loop.create_future())

    def _flush(self, batch: "PendingBatch") -> None:
        if self._pending is batch:
            self._pending = None
        self._is_batching = batch.size > 1
        batch.run(self._infer)

    def _infer(self, model: Model, images: bytes) -> Predictions:
        started = time.perf_counter()
        predictions = model.predict(np.frombuffer(images, np.uint8).reshape(-1, IMAGE_SIDE, IMAGE_SIDE))
        self._inference_completed(len(predictions.digits), time.perf_counter() - started)
        return predictions


class PendingBatch:
    """Requests that one call of a model will serve."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._images: list[bytes] = []
        self._futures: list[asyncio.Future[Predictions]] = []

    @property
    def size(self) -> int:
        """The number of requests."""
        return len(self._futures)

    def add(self, images: bytes, future: asyncio.Future[Predictions]) -> asyncio.Future[Predictions]:
        """Add a request of N x 784 bytes, and the future of its predictions."""
        self._images.append(images)
        self._futures.append(future)
        return future

    def run(self, infer: Callable[[Model, bytes], Predictions]) -> None:
        """Run the model once, and complete every future; an exception is set on all of them."""
        try:
            predictions = infer(self.model, b"".join(self._images))
        except Exception as error:  # noqa: BLE001 - whatever it is, each request raises it
            for future in self._futures:
                if not future.done():
                    future.set_exception(error)
            return
        start = 0
        for images, future in zip(self._images, self._futures, strict=True):
            stop = start + len(images) // IMAGE_PIXELS
            if not future.done():
                future.set_result(predictions.slice(start, stop))
            start = stop
