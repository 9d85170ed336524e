"""Parses the hostile bodies and the largest pictures, each in a child with limits on CPU time and memory.

Prints a line of JSON for each:

    python -m tests.bounded_parsing             all of them
    python -m tests.bounded_parsing JPEG JSON   those whose name has one of these words

The process is started for this, so that it has one thread and can fork; pytest cannot.
"""

import json
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.hostile_bodies import HOSTILE_BODIES, LARGE_PICTURES, HostileBody
from service.errors import RequestError
from service.imaging.reader import DEFAULT_OPTIONS, read_picture
from service.prediction.body_parser import parse_body
from service.prediction.options import parse_query
from service.settings import Settings
from tests.service.payloads import encode, stroke

CPU_SECONDS = 2
"""The default of DIGITS_PICTURE_SECONDS."""
MEMORY_BYTES = 256 << 20
"""Growth of the address space while a body is parsed."""
KILLED = {signal.SIGXCPU, signal.SIGKILL, signal.SIGSEGV}
"""SIGSEGV: orjson does not check every allocation."""

Outcome = dict[str, Any]


def main(words: list[str]) -> None:
    """Parse the bodies whose name has one of the words, or all."""
    page = np.kron(255 - stroke(), np.ones((20, 20), np.uint8))
    for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "AVIF"):  # what is loaded once is no growth
        read_picture(encode(page, kind=kind), Settings(), DEFAULT_OPTIONS)
    for name in [*HOSTILE_BODIES, *LARGE_PICTURES]:
        if not words or any(word in name for word in words):
            hostile = name in HOSTILE_BODIES
            body = HOSTILE_BODIES[name]() if hostile else HostileBody("image/*", b"", LARGE_PICTURES[name]())
            print(json.dumps({"name": name} | parse_in_child(body)), flush=True)


def parse_in_child(body: HostileBody) -> Outcome:
    """Fork, parse, and return what came of it: `outcome` is parsed, rejected, memory or killed."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reader)
        with os.fdopen(writer, "w") as pipe:
            json.dump(_parse(body), pipe)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        report = pipe.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return {"outcome": "killed" if os.WTERMSIG(status) in KILLED else "crashed", "signal": os.WTERMSIG(status)}
    return dict(json.loads(report))


def _parse(body: HostileBody) -> Outcome:
    limit = _read_memory("VmSize") + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    Path("/proc/self/clear_refs").write_text("5")  # sets VmHWM to VmRSS
    before, started = _read_memory("VmRSS"), time.process_time()
    outcome: Outcome = {"outcome": "parsed"}
    try:
        parse_body(body.body, body.content_type, Settings(), parse_query(body.query).normalise)
    except RequestError as error:
        outcome = {"outcome": "rejected", "status": error.status, "message": str(error)}
    except MemoryError:
        outcome = {"outcome": "memory"}
    growth = (_read_memory("VmHWM") - before) >> 20
    return {"seconds": round(time.process_time() - started, 3), "megabytes": growth} | outcome


def _read_memory(key: str) -> int:
    """Bytes of address space (VmSize), resident now (VmRSS), or resident at most (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(key))


if __name__ == "__main__":
    main(sys.argv[1:])
