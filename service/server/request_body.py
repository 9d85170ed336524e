"""Request bodies while they arrive: each bounded in bytes and in time, and all of them together in bytes."""

import asyncio
import gc
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from service.errors import RequestTimeout, TooManyRequests
from service.prediction import body_parser
from service.prediction.fast_path import MAX_BODY_BYTES
from service.server.asgi_types import Message, Receive
from service.settings import Settings
from service.system_calls import trim_memory

Result = TypeVar("Result")

MAX_BUFFERED_BODIES = 8
"""Times the largest body: what a worker holds of bodies, arriving or being handled; more are rejected with 429."""
STALL_SECONDS = 1.0
"""After so long without a part, a body makes room for others."""
RETURN_BYTES = 32 << 20
"""Bytes of released bodies after which their memory is returned; without it hostile bodies left 400 MB in a worker."""
RETURN_SECONDS = 2.0
"""How long after that: at most so often, because it takes milliseconds."""
LINGER_SECONDS = 2.0
"""How long a rejected body is received and discarded: closing at once could discard the response with it (RFC 9112,
section 9.6)."""


class ClientDisconnected(Exception):
    """The client disconnected before its request was complete."""


class ReceiveBudget:
    """The bytes of all bodies that one worker holds."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.limit = MAX_BUFFERED_BODIES * settings.max_body_bytes
        self.used = 0
        self._released = 0
        self._arriving: dict[StreamedBody, float] = {}
        """When the last part of each incomplete body arrived, in the event loop's time; in this order."""

    def part_arrived(self, body: "StreamedBody") -> None:
        """Note which body receives; the others may have stalled."""
        self._arriving.pop(body, None)
        self._arriving[body] = asyncio.get_running_loop().time()

    def forget(self, body: "StreamedBody") -> None:
        """A body is complete, or will not be."""
        self._arriving.pop(body, None)

    def make_room(self, receiving: "StreamedBody") -> bool:
        """Reject other bodies that have stalled, the longest time first, until the limit holds; False: it does not."""
        stalled_before = asyncio.get_running_loop().time() - STALL_SECONDS
        for body, last_part_at in tuple(self._arriving.items()):
            if self.used <= self.limit or last_part_at > stalled_before:
                break
            if body is receiving or body.is_small:
                continue
            self.forget(body)
            body.reject()
        return self.used <= self.limit

    def release(self, length: int) -> None:
        """Hold so many bytes fewer; once enough have been released, their memory is returned to the system."""
        self.used -= length
        self._released += length
        if self._released - length < RETURN_BYTES <= self._released:
            asyncio.get_running_loop().call_later(RETURN_SECONDS, self._return_memory)

    def _return_memory(self) -> None:
        """Return the memory of bodies that nothing needs any more.

        The traceback of a rejected request refers to its frames, these to the body, and they to the exception: only the
        garbage collector finds such cycles, and it counts objects, not bytes. What it frees stays in the heap.
        """
        self._released = 0
        gc.collect()
        trim_memory()


class BufferedBody:
    """A body that has arrived. `complete`: nothing more of it will arrive."""

    __slots__ = ("_body", "on_disconnect")
    complete = True

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.on_disconnect: Callable[[], object] | None = None
        """What the connection calls when the client disconnects."""

    async def read(self) -> bytes:
        """The complete body."""
        return self._body

    async def drain(self) -> None:
        """Receive and discard the rest of it: nothing."""

    def release(self) -> None:
        """A small body is not counted."""

    async def cancel_on_disconnect(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine as a task, and cancel it when the client disconnects.

        Raises:
            ClientDisconnected: the client disconnected.
        """
        task = asyncio.get_running_loop().create_task(work)
        self.on_disconnect = task.cancel
        try:
            return await task
        except asyncio.CancelledError:
            raise ClientDisconnected from None
        finally:
            self.on_disconnect = None


class StreamedBody:
    """A body that is arriving. `complete`: nothing more of it will arrive."""

    __slots__ = ("_budget", "_deadline", "_held", "_is_rejected", "_receive", "complete")

    def __init__(self, receive: Receive, budget: ReceiveBudget) -> None:
        self._receive, self._budget = receive, budget
        self._held = 0
        self._deadline: asyncio.Timeout | None = None
        self._is_rejected = False
        self.complete = False

    @property
    def is_small(self) -> bool:
        """Whether so little of it has arrived that other bodies never make it wait or be rejected."""
        return self._held <= MAX_BODY_BYTES

    async def read(self) -> bytes:
        """Receive the complete body.

        Raises:
            PayloadTooLarge: it has more bytes than are allowed.
            TooManyRequests: the worker holds too many bytes of bodies already.
            RequestTimeout: it does not arrive in time.
            ClientDisconnected: the client disconnected.
        """
        seconds = self._budget.settings.receive_timeout_seconds
        try:
            async with asyncio.timeout(seconds) as self._deadline:
                message = await self._receive()
                if message.get("more_body") or "body" not in message:
                    return await self._collect(message)
        except TimeoutError:
            if self._is_rejected:
                raise self._rejection() from None
            raise RequestTimeout(f"the body did not arrive within {seconds} seconds") from None
        finally:
            self._budget.forget(self)
        self.complete = True
        body = message["body"]
        self._hold(len(body))
        return bytes(body)

    async def drain(self) -> None:
        """Receive and discard the rest of it, for LINGER_SECONDS at most."""
        if not self.complete:
            with suppress(TimeoutError):
                async with asyncio.timeout(LINGER_SECONDS):
                    while (await self._receive()).get("more_body"):
                        pass

    async def _collect(self, message: Message) -> bytes:
        chunks = []
        while True:
            if message["type"] == "http.disconnect":
                raise ClientDisconnected
            chunk = message.get("body", b"")
            self.complete = not message.get("more_body")
            chunks.append(chunk)
            self._hold(len(chunk))
            if self.complete:
                return b"".join(chunks)
            message = await self._receive()

    def _hold(self, length: int) -> None:
        if self._is_rejected:  # a part had arrived already
            raise self._rejection()
        budget = self._budget
        self._held += length
        budget.used += length
        if not self.complete:
            budget.part_arrived(self)
        body_parser.check_body_size(self._held, budget.settings, at_least=True)
        if budget.used > budget.limit and not (self.is_small or budget.make_room(self)):
            raise self._rejection()

    def _rejection(self) -> TooManyRequests:
        limit = self._budget.limit
        return TooManyRequests(f"the worker holds more than {limit} bytes of bodies, which is the limit")

    def reject(self) -> None:
        """Have `read` raise TooManyRequests: other bodies need the room, and this one has stalled."""
        self._is_rejected = True
        self.release()
        if self._deadline is not None:
            self._deadline.reschedule(asyncio.get_running_loop().time())

    def release(self) -> None:
        """Count the body no longer; call it once the request has been handled."""
        self._budget.release(self._held)
        self._held = 0

    async def cancel_on_disconnect(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine as a task, and cancel it when the client disconnects. The body must be complete.

        Raises:
            ClientDisconnected: the client disconnected.
        """
        loop = asyncio.get_running_loop()
        task = loop.create_task(work)
        watcher = loop.create_task(self._wait_for_disconnect())
        watcher.add_done_callback(lambda _: task.cancel())
        try:
            return await task
        except asyncio.CancelledError:
            if watcher.done():
                raise ClientDisconnected from None
            raise
        finally:
            watcher.cancel()

    async def _wait_for_disconnect(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
