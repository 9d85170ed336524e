"""Parses hostile bodies, each in a child process with limits on CPU time and memory; prints a line of JSON for each.

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
from typing import Any

import numpy as np

from service.errors import RequestError
from service.imaging.reader import DEFAULT_OPTIONS, read_picture
from service.prediction.body_parser import parse_body
from service.prediction.options import parse_query
from service.settings import Settings
from tests.hostile_bodies import HOSTILE_BODIES, HostileBody
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
    for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"):  # what is loaded once is no growth
        read_picture(encode(page, kind=kind), Settings(), DEFAULT_OPTIONS)
    for name, build in HOSTILE_BODIES.items():
        if not words or any(word in name for word in words):
            print(json.dumps({"name": name} | parse_in_child(build())), flush=True)


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
    before = _address_space("VmSize")
    resource.setrlimit(resource.RLIMIT_AS, (before + MEMORY_BYTES, before + MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    started = time.process_time()
    outcome: Outcome = {"outcome": "parsed"}
    try:
        parse_body(body.body, body.content_type, Settings(), parse_query(body.query).normalise)
    except RequestError as error:
        outcome = {"outcome": "rejected", "status": error.status, "message": str(error)}
    except MemoryError:
        outcome = {"outcome": "memory"}
    growth = (_address_space("VmPeak") - before) >> 20
    return {"seconds": round(time.process_time() - started, 3), "megabytes": growth} | outcome


def _address_space(key: str) -> int:
    """The size of the address space in bytes, now (VmSize) or at its largest (VmPeak)."""
    with open("/proc/self/status") as status:  # noqa: PTH123 - the fewest allocations
        return next(int(line.split()[1]) << 10 for line in status if line.startswith(key))


if __name__ == "__main__":
    main(sys.argv[1:])
