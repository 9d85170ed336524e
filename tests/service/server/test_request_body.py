"""Bodies that arrive: their limits in bytes and time, together and each."""

import asyncio
import gc
import weakref
from collections.abc import Iterable

import pytest

from service.errors import PayloadTooLarge, RequestTimeout, TooManyRequests
from service.server import request_body
from service.server.asgi_types import Message
from service.server.request_body import BufferedBody, ClientDisconnected, ReceiveBudget, StreamedBody
from service.settings import Settings

LIMIT = 100


class Source:
    """Sends messages; when there are no more, it waits for ever."""

    def __init__(self, messages: Iterable[Message]) -> None:
        self.messages = list(messages)

    async def __call__(self) -> Message:
        if not self.messages:
            await asyncio.Event().wait()
        return self.messages.pop(0)


def chunk(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def budget() -> ReceiveBudget:
    return ReceiveBudget(Settings(max_body_bytes=LIMIT, receive_timeout_seconds=1))


def test_a_body_in_one_message_or_in_several_is_the_same() -> None:
    shared = budget()
    for messages in (
        [chunk(b"abc", more=False)],
        [chunk(b"a"), chunk(b""), chunk(b"bc"), chunk(b"", more=False)],
    ):
        body = StreamedBody(Source(messages), shared)
        assert asyncio.run(body.read()) == b"abc"
        assert body.complete
        assert shared.used == 3
        body.release()
        assert shared.used == 0


@pytest.mark.parametrize("pieces", [1, 2])
def test_the_limit_is_the_last_size_accepted(pieces: int) -> None:
    def messages(size: int) -> list[Message]:
        first = size // pieces
        return [
            chunk(bytes(first), more=pieces > 1),
            *([chunk(bytes(size - first), more=False)] if pieces > 1 else []),
        ]

    assert len(asyncio.run(StreamedBody(Source(messages(LIMIT)), budget()).read())) == LIMIT
    with pytest.raises(PayloadTooLarge, match=r"^the body has more than 100 bytes; 100 are allowed$"):
        asyncio.run(StreamedBody(Source(messages(LIMIT + 1)), budget()).read())


LARGE = 100_000
REJECTION = r"^the worker holds more than 800000 bytes of bodies, which is the limit$"


def large_budget() -> ReceiveBudget:
    return ReceiveBudget(Settings(max_body_bytes=LARGE, receive_timeout_seconds=60))


def test_a_body_over_the_limit_of_all_makes_room_by_the_rejection_of_one_that_has_stalled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario() -> None:
        shared = large_budget()
        stalled = [StreamedBody(Source([chunk(bytes(LARGE))]), shared) for _ in range(8)]
        tasks = [asyncio.ensure_future(body.read()) for body in stalled]
        await asyncio.sleep(0)
        assert shared.used == shared.limit == 8 * LARGE
        newcomers = [StreamedBody(Source([chunk(bytes(LARGE - 1)), chunk(b"x", more=False)]), shared) for _ in range(3)]
        with pytest.raises(TooManyRequests, match=REJECTION):
            await newcomers[0].read()  # the others may still arrive
        newcomers[0].release()
        monkeypatch.setattr(request_body, "STALL_SECONDS", 0)
        for newcomer in newcomers[1:]:
            assert len(await newcomer.read()) == LARGE
        for task in tasks[:2]:
            with pytest.raises(TooManyRequests, match=REJECTION):
                await task
        assert not any(task.done() for task in tasks[2:])
        assert shared.used == shared.limit
        for task in tasks[2:]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for body in (*newcomers, *stalled):
            body.release()
        assert shared.used == 0

    asyncio.run(scenario())


def test_a_large_body_is_rejected_while_others_are_handled_and_a_small_one_never() -> None:
    async def scenario() -> None:
        shared = large_budget()
        handled = [StreamedBody(Source([chunk(bytes(LARGE), more=False)]), shared) for _ in range(8)]
        for body in handled:
            await body.read()
        small = StreamedBody(Source([chunk(bytes(1000)), chunk(bytes(64_000), more=False)]), shared)
        assert len(await small.read()) == 65_000
        large = StreamedBody(Source([chunk(bytes(LARGE))]), shared)
        with pytest.raises(TooManyRequests, match=REJECTION):
            await large.read()
        for body in (small, large, *handled):
            body.release()
        assert shared.used == 0

    asyncio.run(scenario())


def test_a_body_that_does_not_arrive_in_time_is_rejected_and_released() -> None:
    shared = budget()
    body = StreamedBody(Source([chunk(b"x")]), shared)
    with pytest.raises(RequestTimeout, match=r"^the body did not arrive within 1 seconds$"):
        asyncio.run(body.read())
    body.release()
    assert shared.used == 0


def test_a_client_that_disconnects_ends_the_body() -> None:
    with pytest.raises(ClientDisconnected):
        asyncio.run(StreamedBody(Source([chunk(b"x"), {"type": "http.disconnect"}]), budget()).read())


def test_drain_discards_the_rest_and_gives_up_after_the_linger_time(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source([chunk(b"x"), chunk(b"y"), chunk(b"z", more=False), chunk(b"of another request")])
    asyncio.run(StreamedBody(source, budget()).drain())
    assert len(source.messages) == 1
    monkeypatch.setattr(request_body, "LINGER_SECONDS", 0.01)
    asyncio.run(StreamedBody(Source([chunk(b"x")]), budget()).drain())


def test_a_complete_body_is_not_drained() -> None:
    async def scenario() -> None:
        source = Source([chunk(b"x", more=False), chunk(b"of another request")])
        body = StreamedBody(source, budget())
        await body.read()
        await body.drain()
        assert len(source.messages) == 1
        buffered = BufferedBody(b"abc")
        assert (buffered.complete, await buffered.read()) == (True, b"abc")
        await buffered.drain()

    asyncio.run(scenario())


@pytest.mark.parametrize("released", [99, 100])
def test_memory_of_released_bodies_is_returned_once_there_is_enough_of_it(
    monkeypatch: pytest.MonkeyPatch, released: int
) -> None:
    monkeypatch.setattr(request_body, "RETURN_BYTES", 100)
    monkeypatch.setattr(request_body, "RETURN_SECONDS", 0)

    async def release() -> bool:
        shared, garbage = budget(), Source([])
        garbage.messages.append({"itself": garbage})
        reference = weakref.ref(garbage)
        del garbage
        shared.release(50)
        shared.release(released - 50)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return reference() is None

    gc.disable()
    try:
        assert asyncio.run(release()) == (released == 100)
    finally:
        gc.enable()
