"""The process that parses request bodies, one after another, within limits that the kernel enforces.

- CPU time: an interval timer (setitimer(2), ITIMER_PROF) ends the process in the middle of any codec.
- Memory: RLIMIT_AS makes an allocation over the limit fail. In Python that is a MemoryError, in a codec its own error.
- Wall time is the worker's to measure: it kills the process.
"""

import logging
import os
import resource
import select
import signal
import socket
from typing import IO

from service.errors import RequestError
from service.isolation.messages import (
    FAILED,
    HEADER,
    OUT_OF_MEMORY,
    Failure,
    Reply,
    Request,
    decode_request,
    encode_reply,
)
from service.prediction.body_parser import ParsedBody
from service.protocols import parse_body
from service.settings import Settings
from service.system_calls import limit_memory, measure_memory, set_malloc_option, trim_memory

log = logging.getLogger(__name__)

NICENESS = 5
"""Beside an event loop that needs the core, a parser gets a quarter of it: beside 40 connections that send expensive
pictures, a service then makes twice as many cheap predictions."""
MAX_KEPT_BYTES = 32 << 20
"""A process that has grown by more ends after its reply: an allocator returns little of what it once had."""

IDLE_SECONDS = 0.2
"""A process that has waited for so long returns the memory that the last pictures took."""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, MAX_THRESHOLD = -1, -3, 32 << 20
"""Options of mallopt(3) of glibc, and the largest value of the second."""


def run_parser(settings: Settings, connection: socket.socket) -> None:
    """Parse the requests of a connection until it is closed, or until a request has failed for want of memory."""
    os.nice(NICENESS)
    _silence_codecs()
    _, resident = measure_memory()
    limit_memory(settings.picture_memory_bytes)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _keep_memory_while_busy()
    stream = connection.makefile("rb")
    while head := _read_head(connection, stream):
        try:
            result = _parse(stream, head, settings)
            is_last = _has_grown(resident)
            encoded = encode_reply(Reply(result, is_last))
        except MemoryError:
            encoded, is_last = encode_reply(Reply(Failure(OUT_OF_MEMORY, ""), is_last=True)), True
        try:
            connection.sendall(encoded)
        except ConnectionError:  # the worker has ended, or waits for the reply no longer
            return
        if is_last:
            return


def _silence_codecs() -> None:
    """Discard what codecs write to standard error, libtiff above all: clients choose the words. The log stays."""
    stream = os.fdopen(os.dup(2), "w")
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(stream)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def _has_grown(resident: int) -> bool:
    """Whether the process keeps much more memory than the `resident` bytes that it had; what it can, it returns."""
    if measure_memory()[1] - resident <= MAX_KEPT_BYTES:
        return False
    trim_memory()
    return measure_memory()[1] - resident > MAX_KEPT_BYTES


def _keep_memory_while_busy() -> None:
    """Reuse the memory of one picture for the next: to return its pages and get new ones takes a tenth of the time."""
    set_malloc_option(M_TRIM_THRESHOLD, MAX_THRESHOLD)
    set_malloc_option(M_MMAP_THRESHOLD, MAX_THRESHOLD)


def _read_head(connection: socket.socket, stream: IO[bytes]) -> bytes:
    """The first bytes of the next request; nothing if the connection was closed."""
    if not select.select([connection], [], [], IDLE_SECONDS)[0]:
        trim_memory()
    return stream.read(HEADER.size)


def _parse(stream: IO[bytes], head: bytes, settings: Settings) -> ParsedBody | Failure:
    signal.setitimer(signal.ITIMER_PROF, settings.picture_seconds)
    try:
        return _parse_request(_read_request(stream, head), settings)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _read_request(stream: IO[bytes], head: bytes) -> Request:
    description_length, body_length = HEADER.unpack(head)
    return decode_request(stream.read(description_length), stream.read(body_length))


def _parse_request(request: Request, settings: Settings) -> ParsedBody | Failure:
    try:
        return parse_body(request.body, request.body_format, settings)
    except RequestError as error:
        return Failure(error.reason, str(error))
    except MemoryError:
        raise
    except Exception:  # a defect of the service: the worker responds 500
        log.exception("Exception in a parser process")
        return Failure(FAILED, "")
