"""Plain images -> answers: one call of the model for all that come in one turn of the event loop.

A call for one image takes 15 us, for sixteen 80. Nobody waits for company: who comes alone is asked for at once.
"""

import asyncio
import time
from collections.abc import Callable

import numpy as np

from service.imaging.mnist_format import IMAGE_SIDE
from service.inference.model_store import Model
from service.prediction.predictor import Answers

VIGIL_SECONDS = 0.0002


class Turns:
    """The turns of one event loop."""

    def __init__(self, staged: Callable[[str, float], None]) -> None:
        """`staged` is told the seconds of each call of the model, as "infer"."""
        self._staged = staged
        self._open: Turn | None = None
        self._asked = False
        """Whether somebody was answered alone in this turn: another who comes in it tells of more to come."""
        self._company = False
        self._awake_until: float | None = None
        self.coming: int | None = None
        """Requests whose heads are read and that are not begun yet, if the server counts them."""

    async def ask(self, model: Model, images: bytes) -> Answers:
        """The answers to N images, N x 784 bytes."""
        if not self._alone:
            return await self._join(model, images)
        if self._asked:
            self._company = True
        else:
            self._asked = True
            asyncio.get_running_loop().call_soon(self._pass)
        return self._call(model, images)

    def _pass(self) -> None:
        self._asked = False

    def begun(self) -> None:
        """A request that was coming has begun."""
        if self.coming:
            self.coming -= 1

    def stay_awake(self) -> None:
        """Keep the event loop from sleeping for a moment after an answer, while the next request may be on its way.

        To wake a sleeping process takes longer than an answer: a client that asks one thing after another is served
        a quarter faster. It costs at most VIGIL_SECONDS of one core an answer, and nothing where others wait anyway.
        """
        if not self._alone:
            return
        if self._awake_until is None:
            asyncio.get_running_loop().call_soon(self._look)
        self._awake_until = time.perf_counter() + VIGIL_SECONDS

    def _look(self) -> None:
        if self._awake_until is not None and time.perf_counter() < self._awake_until:
            asyncio.get_running_loop().call_soon(self._look)
        else:
            self._awake_until = None

    @property
    def _alone(self) -> bool:
        """Whether nobody else is here to be answered in the same call, nor was a moment ago."""
        return self.coming == 0 and not self._company

    def _join(self, model: Model, images: bytes) -> "asyncio.Future[Answers]":
        loop = asyncio.get_running_loop()
        if self._open is None or self._open.model is not model:
            self._open = Turn(model)
            loop.call_soon(self._end, self._open)
        return self._open.join(images, loop.create_future())

    def _end(self, turn: "Turn") -> None:
        if self._open is turn:
            self._open = None
        if self.coming:
            self.coming = 0  # whoever has not begun by now went away
        self._company = turn.size > 1
        turn.answer(self._call)

    def _call(self, model: Model, images: bytes) -> Answers:
        began = time.perf_counter()
        answers = Answers.of(model, model(np.frombuffer(images, np.uint8).reshape(-1, IMAGE_SIDE, IMAGE_SIDE)))
        self._staged("infer", time.perf_counter() - began)
        return answers


class Turn:
    """Those who came in one turn, to be answered by one model."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._images: list[bytes] = []
        self._answers: list[asyncio.Future[Answers]] = []

    @property
    def size(self) -> int:
        """How many requests have joined."""
        return len(self._answers)

    def join(self, images: bytes, answers: asyncio.Future[Answers]) -> asyncio.Future[Answers]:
        """Add N x 784 bytes, and where the answers to them go."""
        self._images.append(images)
        self._answers.append(answers)
        return answers

    def answer(self, call: Callable[[Model, bytes], Answers]) -> None:
        """Answer them all; a fault is everyone's."""
        try:
            answers = call(self.model, b"".join(self._images))
        except Exception as error:  # noqa: BLE001 - whatever it is, each request raises it
            for future in self._answers:
                if not future.done():
                    future.set_exception(error)
            return
        start = 0
        for images, future in zip(self._images, self._answers, strict=True):
            stop = start + len(images) // (IMAGE_SIDE * IMAGE_SIDE)
            if not future.done():
                future.set_result(answers.part(start, stop))
            start = stop
