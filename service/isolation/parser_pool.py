"""Parses request bodies in a few processes beside a worker, so that no body can harm the process that serves.

    event loop --  ParserPool.parse  --  an idle process, or a new one  --  reply
                                          over a limit, or cancelled: killed, replaced when one is needed again

Processes are started when requests need them, `picture_processes` at most, and kept. A request that finds none idle
waits for one, as long as it might take. Wall time is limited here, CPU time and memory by parser_process.py.
"""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable
from functools import partial

from service.errors import (
    ModelNotReady,
    OutOfMemory,
    ParserCrashed,
    ParserTimeout,
    PayloadTooLarge,
    RequestError,
    TooManyRequests,
)
from service.isolation.fork_server import ForkServer
from service.isolation.messages import (
    ERRORS,
    HEADER,
    OUT_OF_MEMORY,
    SOURCE_BYTES,
    Failure,
    InvalidReply,
    Reply,
    Request,
    decode_reply,
    encode_request,
)
from service.isolation.parser_process import run_parser
from service.prediction.body_parser import ParsedBody
from service.prediction.protocol import BodyFormat
from service.settings import Settings
from service.types import IMAGE_PIXELS

log = logging.getLogger(__name__)

WALL_FACTOR = 5
"""Wall time that a request may take, as a multiple of its CPU time: then the cores are busy with other things."""
MAX_DESCRIPTION_BYTES = 1 << 16
WAY_OUT = "send fewer or smaller pictures"
KILLED = "the process that parsed the body was killed, twice, as the kernel does when memory runs out; send it again"
EXIT_REPORT_SECONDS = 5.0
"""How long the report of an ended process is waited for; it takes a millisecond, unless the machine is overloaded."""


class ParserFailed(Exception):
    """A parser process raised an exception that is a defect of the service; its log has the traceback."""


class _ProcessEnded(Exception):
    """The process ended without a reply."""


class _Process:
    """A parser process, from the worker's side. `exited`: its wait status, once it has ended."""

    def __init__(self, number: int, connection: socket.socket) -> None:
        self.number, self._connection = number, connection
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def run(self, request: Request, max_images: int) -> Reply:
        """Send a request, and receive its reply.

        Raises:
            _ProcessEnded: the process ended.
            InvalidReply: it sent something else.
        """
        loop = asyncio.get_running_loop()
        head, body = encode_request(request)
        try:
            await loop.sock_sendall(self._connection, head)
            await loop.sock_sendall(self._connection, body)
            description, payload = HEADER.unpack(await self._receive(HEADER.size))
            if description > MAX_DESCRIPTION_BYTES or payload > max_images * (IMAGE_PIXELS + SOURCE_BYTES):
                raise InvalidReply(f"it has {description} and {payload} bytes")
            return decode_reply(await self._receive(description), await self._receive(payload))
        except ConnectionError:
            raise _ProcessEnded from None

    async def _receive(self, count: int) -> bytearray:
        loop, buffer, received = asyncio.get_running_loop(), bytearray(count), 0
        while received < count:
            more = await loop.sock_recv_into(self._connection, memoryview(buffer)[received:])
            if not more:
                raise _ProcessEnded
            received += more
        return buffer

    def close(self) -> None:
        """Close the connection: a process that is idle ends."""
        self._connection.close()


class ParserPool:
    """The parser processes of one worker; a BodyParser."""

    def __init__(self, settings: Settings, server: ForkServer, on_lost: Callable[[], None]) -> None:
        """`on_lost` is called when the fork server has ended, so that no process can be replaced."""
        self._settings, self._server, self._on_lost = settings, server, on_lost
        self._slots = asyncio.Semaphore(settings.picture_processes)
        self._idle: list[_Process] = []
        self._processes: dict[int, _Process] = {}
        """All that have not ended, by number."""
        self._loop: asyncio.AbstractEventLoop | None = None

    @classmethod
    def start(cls, settings: Settings, on_lost: Callable[[], None]) -> "ParserPool":
        """Create a pool, and its fork server. The calling process must have a single thread."""
        return cls(settings, ForkServer.start(partial(run_parser, settings)), on_lost)

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Use this event loop; only the first call has an effect."""
        if self._loop is None:
            self._loop = loop
            loop.add_reader(self._server.control, self._receive_exits)

    def close(self) -> None:
        """End all processes."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._server.control)
        self._server.close()

    def parse_blocking(self, body: bytes, body_format: BodyFormat) -> ParsedBody:
        """Parse a complete body, in a thread other than that of the event loop, which must be attached.

        Raises:
            RequestError: as `parse` raises it.
        """
        if self._loop is None:
            raise RuntimeError("the pool is not attached to an event loop")
        return asyncio.run_coroutine_threadsafe(self.parse(body, body_format), self._loop).result()

    async def parse(self, body: bytes, body_format: BodyFormat) -> ParsedBody:
        """Parse a complete body: `protocols.parse_body` in a parser process. If cancelled, the process is killed.

        Raises:
            RequestError: as `parse_body` raises it.
            ParserTimeout, PayloadTooLarge: it takes more CPU time, or more memory, than the settings allow.
            ParserCrashed: it ended its process.
            OutOfMemory: its process was killed from outside, and the next one as well.
            TooManyRequests: no process became idle in time, or it got too little of the cores.
            ModelNotReady: the worker is stopping, because its fork server has ended.
            ParserFailed: the parser has a defect.
        """
        self.attach(asyncio.get_running_loop())
        await self._acquire_slot()
        try:
            request = Request(body, body_format)
            result = await self._run(request) or await self._run(request)
        finally:
            self._slots.release()
        if result is None:
            raise OutOfMemory(KILLED)
        if isinstance(result, Failure):
            raise self._error(result)
        return result

    async def _acquire_slot(self) -> None:
        seconds = WALL_FACTOR * self._settings.picture_seconds
        try:
            async with asyncio.timeout(seconds):
                await self._slots.acquire()
        except TimeoutError:
            count = self._settings.picture_processes
            raise TooManyRequests(f"the worker's {count} parser processes were busy for {seconds:g} seconds") from None

    async def _run(self, request: Request) -> ParsedBody | Failure | None:
        """Run a request in one process; None if the process was killed from outside, so that another may run it.

        The kernel kills a process when it is out of memory, an operator when it looks stuck.
        """
        process = self._idle.pop() if self._idle else self._start_process()
        seconds = WALL_FACTOR * self._settings.picture_seconds
        try:
            async with asyncio.timeout(seconds):
                reply = await process.run(request, self._settings.max_pictures)
        except TimeoutError:
            self._discard(process)
            raise TooManyRequests(f"{_timeout_message(seconds)}: the machine is busy; send it again later") from None
        except InvalidReply as error:
            log.error("parser process %d sent an invalid reply: %s", process.number, error)  # noqa: TRY400
            self._discard(process)
            raise ParserCrashed(_crash_message(0)) from None
        except _ProcessEnded:
            self._check_exit(await self._wait_for_exit(process))
            return None
        except BaseException:  # the client has disconnected
            self._discard(process)
            raise
        if reply.is_last:
            self._discard(process)
        else:
            self._idle.append(process)
        return reply.result

    def _start_process(self) -> _Process:
        try:
            process = _Process(*self._server.fork())
        except OSError as error:
            log.error("no parser process can be started: %s", error)  # noqa: TRY400
            raise ModelNotReady("the worker cannot parse pictures, and is being replaced") from None
        self._processes[process.number] = process
        return process

    def _discard(self, process: _Process) -> None:
        """Have a process end, whatever it is doing."""
        self._server.kill(process.number)
        process.close()

    async def _wait_for_exit(self, process: _Process) -> int:
        """The wait status of a process that has closed its connection."""
        process.close()
        try:
            async with asyncio.timeout(EXIT_REPORT_SECONDS):
                return await process.exited
        except TimeoutError:
            return signal.SIGKILL

    def _check_exit(self, status: int) -> None:
        """Raise the error for a process that ended while it parsed a body, unless it was killed from outside."""
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        if number == signal.SIGPROF:
            message = _timeout_message(self._settings.picture_seconds, " of CPU time")
            raise ParserTimeout(f"{message}, which is the limit; {WAY_OUT}")
        if number != signal.SIGKILL:
            log.warning("a body ended its parser process: wait status %d", status)
            raise ParserCrashed(_crash_message(number))

    def _receive_exits(self) -> None:
        try:
            while exited := self._server.receive_exit():
                number, status = exited
                if process := self._processes.pop(number, None):
                    self._forget(process, status)
        except EOFError:
            log.error("the fork server has ended")  # noqa: TRY400
            if self._loop:
                self._loop.remove_reader(self._server.control)
            while self._processes:
                self._forget(self._processes.popitem()[1], signal.SIGKILL)
            self._on_lost()

    def _forget(self, process: _Process, status: int) -> None:
        if process in self._idle:
            self._idle.remove(process)
            process.close()
        if not process.exited.done():
            process.exited.set_result(status)

    def _error(self, failure: Failure) -> Exception:
        if failure.reason == OUT_OF_MEMORY:
            limit = self._settings.picture_memory_bytes
            sentence = f"parsing the body takes more than {limit} bytes of memory, which is the limit"
            return PayloadTooLarge(f"{sentence}; {WAY_OUT}")
        error: type[RequestError] | None = ERRORS.get(failure.reason)
        return error(failure.message) if error else ParserFailed("the log has the traceback of a parser process")


def _timeout_message(seconds: float, kind: str = "") -> str:
    return f"parsing the body takes more than {seconds:g} seconds{kind}"


def _crash_message(number: int) -> str:
    cause = f"signal {signal.Signals(number).name}" if number else "an invalid reply"
    return f"the body ended the process that parsed it ({cause}); save the picture as a PNG file, and send that"
