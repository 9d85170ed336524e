"""The pool of parser processes: real processes, with a parser that does what the body says where that is needed."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.errors import (
    BadRequest,
    ModelNotReady,
    NoDigitFound,
    OutOfMemory,
    ParserCrashed,
    ParserTimeout,
    PayloadTooLarge,
    RequestError,
    TooManyRequests,
    UnsupportedMediaType,
)
from service.imaging.reader import DEFAULT_OPTIONS, NormaliseOptions
from service.isolation import parser_pool, parser_process
from service.isolation.fork_server import ForkServer
from service.isolation.parser_pool import ParserFailed, ParserPool
from service.isolation.parser_process import run_parser
from service.prediction.body_parser import ParsedBody, Source, parse_body
from service.prediction.protocol import BodyFormat
from service.settings import Settings
from tests.service.isolation.fresh_process import run_in_fresh_process
from tests.service.payloads import FORM, encode, form, json_of, stroke

PNG = encode(255 - np.pad(stroke(), 40))
DEADLINE_SECONDS = 60


Target = Callable[[socket.socket], None]


@asynccontextmanager
async def pool_of(settings: Settings, target: Target | None = None) -> AsyncIterator[ParserPool]:
    """A pool, and its processes until the end of the block."""
    pool = ParserPool(settings, ForkServer.start(target or partial(run_parser, settings)), lambda: None)
    try:
        yield pool
    finally:
        pool.close()


kept: list[bytes] = []


def obey(body: bytes, *_: object) -> ParsedBody:
    """Stands in for `parse_body`: does what the body says, and returns the process id as the number of a picture."""
    command, argument = (body.decode() + " ").split(" ")[:2]
    if command == "spin":
        sum(range(10**12))  # hours in native code
    elif command == "sleep":
        time.sleep(DEADLINE_SECONDS)
    elif command == "allocate":
        bytearray(int(argument))
    elif command == "grow":
        kept.append(os.urandom(int(argument)))
    elif command == "die":
        os.kill(os.getpid(), int(argument))
    elif command == "die_once" and not Path(argument).exists():
        Path(argument).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    elif command == "fail":
        raise ZeroDivisionError
    elif command == "write_pid":
        Path(argument).write_text(str(os.getpid()))  # a FIFO: waits for its reader
        time.sleep(DEADLINE_SECONDS)
    return ParsedBody(np.zeros((1, 28, 28), np.uint8), [Source(os.getpid(), 1, (0, 0, 28, 28))])


async def send(pool: ParserPool, body: str) -> int:
    """Have a process do something; returns its id."""
    parsed = await pool.parse(body.encode(), BodyFormat("native", ""))
    assert parsed.sources
    return parsed.sources[0].picture


async def error_of(parsing: Awaitable[object]) -> tuple[type[Exception], str]:
    try:
        await parsing
    except Exception as error:  # noqa: BLE001 - whatever it is, the test compares it
        return type(error), str(error)
    raise AssertionError("no error was raised")


async def wait_until_gone(pid: int) -> None:
    """Wait until a process has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(descriptor, ended.set)
    async with asyncio.timeout(DEADLINE_SECONDS):
        await ended.wait()
    asyncio.get_running_loop().remove_reader(descriptor)
    os.close(descriptor)


async def started_process(fifo: Path) -> int:
    """Wait until a process runs `write_pid FIFO`; returns its id."""
    return int(await asyncio.to_thread(fifo.read_text))


async def parses_as_the_process_itself() -> None:
    settings = Settings(max_pictures=20)
    always, split = NormaliseOptions("always"), NormaliseOptions(split=True)
    cases: list[tuple[bytes, str, NormaliseOptions]] = [
        (PNG, "image/png", DEFAULT_OPTIONS),
        (form(PNG, encode(stroke()), PNG), FORM, DEFAULT_OPTIONS),
        (json_of(*[stroke().tolist()] * 17), "application/json", DEFAULT_OPTIONS),
        (np.stack([stroke()] * 3).tobytes(), "application/octet-stream", always),
        (encode(255 - np.pad(np.hstack([stroke()] * 4), 40)), "image/png", split),
    ]
    async with pool_of(settings) as pool:
        for body, content_type, options in cases * 2:
            here, there = (
                parse_body(body, content_type, settings, options),
                await pool.parse(body, BodyFormat("native", content_type, options=options)),
            )
            assert there.images.tolist() == here.images.tolist()
            assert there.sources == here.sources
            assert there.images.dtype == np.uint8
            blocking = await asyncio.to_thread(
                pool.parse_blocking, body, BodyFormat("native", content_type, options=options)
            )
            assert blocking.images.tolist() == here.images.tolist()


async def raises_the_errors_of_the_parser() -> None:
    settings = Settings(max_pictures=2, max_pixels=20_000)
    blank = encode(np.full((50, 50), 255, np.uint8))
    cases: list[tuple[bytes, str, type[RequestError]]] = [
        (b"", "image/png", BadRequest),
        (PNG[:-30], "image/png", BadRequest),
        (b"text", "image/png", UnsupportedMediaType),
        (blank, "image/png", NoDigitFound),
        (encode(np.zeros((200, 200), np.uint8)), "image/png", PayloadTooLarge),
        (form(PNG, blank), FORM, NoDigitFound),
    ]
    async with pool_of(settings) as pool:
        for body, content_type, expected in cases:
            with pytest.raises(expected) as here:
                parse_body(body, content_type, settings)
            assert await error_of(pool.parse(body, BodyFormat("native", content_type))) == (expected, str(here.value))


async def limits_time_and_memory() -> None:
    settings = Settings(picture_seconds=0.5, picture_processes=1, picture_memory_bytes=64 << 20)
    way_out = "send fewer or smaller pictures"
    async with pool_of(settings) as pool:
        first = await send(pool, "")
        assert await send(pool, "") == first  # a process is kept
        parser_pool.WALL_FACTOR = 200  # other processes may take the cores
        assert await error_of(send(pool, "spin")) == (
            ParserTimeout,
            f"parsing the body takes more than 0.5 seconds of CPU time, which is the limit; {way_out}",
        )
        second = await send(pool, "")
        assert second != first
        parser_pool.WALL_FACTOR = 2
        assert await error_of(send(pool, "sleep")) == (
            TooManyRequests,
            "parsing the body takes more than 1 seconds: the machine is busy; send it again later",
        )
        await wait_until_gone(second)
        third = await send(pool, "")
        too_large = f"parsing the body takes more than {64 << 20} bytes of memory, which is the limit; {way_out}"
        assert await error_of(send(pool, f"allocate {96 << 20}")) == (PayloadTooLarge, too_large)
        fourth = await send(pool, f"allocate {32 << 20}")
        assert len({first, second, third, fourth}) == 4
        assert await send(pool, "") == fourth


async def replaces_a_process_that_has_kept_memory() -> None:
    async with pool_of(Settings(picture_processes=1)) as pool:
        small = await send(pool, f"grow {8 << 20}")
        assert await send(pool, f"grow {32 << 20}") == small
        await wait_until_gone(small)
        assert await send(pool, "") != small


async def survives_crashes(once: Path) -> None:
    async with pool_of(Settings(picture_processes=2)) as pool:
        for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS):
            crash, good = await asyncio.gather(error_of(send(pool, f"die {number}")), send(pool, ""))
            cause = f"the body ended the process that parsed it (signal {signal.Signals(number).name})"
            assert crash == (ParserCrashed, f"{cause}; save the picture as a PNG file, and send that")
            assert good
        assert await send(pool, f"die_once {once}")  # killed from outside: another process parses it
        assert await error_of(send(pool, f"die {signal.SIGKILL}")) == (OutOfMemory, parser_pool.KILLED)
        assert (await error_of(send(pool, "fail")))[0] is ParserFailed
        idle = await send(pool, "")
        os.kill(idle, signal.SIGKILL)
        await wait_until_gone(idle)
        assert await send(pool, "") != idle


async def a_cancelled_call_ends_its_process(fifo: Path) -> None:
    async with pool_of(Settings(picture_processes=1)) as pool:
        parsing = asyncio.create_task(send(pool, f"write_pid {fifo}"))
        pid = await started_process(fifo)
        parsing.cancel()
        await asyncio.wait([parsing])
        assert parsing.cancelled()
        await wait_until_gone(pid)
        assert await send(pool, "")


async def a_request_waits_for_a_process_no_longer_than_it_may_take() -> None:
    async with pool_of(Settings(picture_processes=2, picture_seconds=60)) as pool:
        busy = [asyncio.create_task(send(pool, "sleep")) for _ in range(2)]
        await asyncio.sleep(0)
        waiting = asyncio.create_task(send(pool, ""))
        await asyncio.sleep(0)
        parser_pool.WALL_FACTOR = 0.01  # type: ignore[assignment]
        assert await error_of(send(pool, "")) == (
            TooManyRequests,
            "the worker's 2 parser processes were busy for 0.6 seconds",
        )
        parser_pool.WALL_FACTOR = 5
        for task in busy:
            task.cancel()
        assert await waiting
        await asyncio.wait(busy)


async def ends_without_its_fork_server() -> None:
    server = ForkServer.start(partial(run_parser, Settings()))
    lost = asyncio.Event()
    pool = ParserPool(Settings(), server, lost.set)
    idle = await send(pool, "")
    os.kill(server.pid, signal.SIGKILL)
    async with asyncio.timeout(DEADLINE_SECONDS):
        await lost.wait()
    await wait_until_gone(idle)
    assert await error_of(send(pool, "")) == (
        ModelNotReady,
        "the worker cannot parse pictures, and is being replaced",
    )


async def rejects_a_reply_that_is_none() -> None:
    def reply_nonsense(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"\xff" * 1000)
        time.sleep(DEADLINE_SECONDS)

    async with pool_of(Settings(), reply_nonsense) as pool:
        cause = "the body ended the process that parsed it (an invalid reply)"
        assert await error_of(send(pool, "")) == (
            ParserCrashed,
            f"{cause}; save the picture as a PNG file, and send that",
        )


async def leaves_its_processes_open(fifo: Path, pids: Path) -> None:
    server = ForkServer.start(partial(run_parser, Settings()))
    pool = ParserPool(Settings(), server, lambda: None)
    idle = await send(pool, "")
    busy = [asyncio.create_task(send(pool, f"write_pid {fifo}")), asyncio.create_task(send(pool, ""))]
    pid = await started_process(fifo)
    await asyncio.wait(busy, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.to_thread(pids.write_text, f"{server.pid} {idle} {pid}")
    os._exit(0)  # as at a crash of the worker


@pytest.mark.parametrize("scenario", [parses_as_the_process_itself, raises_the_errors_of_the_parser])
def test_parses_as_the_process_itself_does(scenario: Any) -> None:
    run_in_fresh_process(scenario)


def obedient(scenario: Any, *arguments: object) -> None:
    run_in_fresh_process(_with_obey, scenario, *arguments)


async def _with_obey(scenario: Any, *arguments: object) -> None:
    setattr(parser_process, "parse_body", obey)  # noqa: B010 - it is private to its module
    await scenario(*arguments)


def test_a_request_over_a_limit_gets_an_error_and_the_next_one_another_process() -> None:
    obedient(limits_time_and_memory)


def test_a_process_that_keeps_memory_is_replaced() -> None:
    obedient(replaces_a_process_that_has_kept_memory)


def test_a_crash_costs_one_response(tmp_path: Path) -> None:
    obedient(survives_crashes, tmp_path / "once")


def test_a_cancelled_call_ends_its_process(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    obedient(a_cancelled_call_ends_its_process, tmp_path / "fifo")


def test_a_request_waits_for_a_process_no_longer_than_it_may_take() -> None:
    obedient(a_request_waits_for_a_process_no_longer_than_it_may_take)


def test_reports_that_its_fork_server_has_ended() -> None:
    obedient(ends_without_its_fork_server)


def test_an_invalid_reply_is_a_crash() -> None:
    run_in_fresh_process(rejects_a_reply_that_is_none)


def test_all_processes_end_with_the_worker(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    obedient(leaves_its_processes_open, tmp_path / "fifo", tmp_path / "pids")
    for pid in (tmp_path / "pids").read_text().split():
        asyncio.run(wait_until_gone(int(pid)))
