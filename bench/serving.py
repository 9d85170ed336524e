"""The service beside servers that do nothing, in one run: `python -m bench.serving`, about two and a half minutes.

Prints Markdown tables: one picture in its forms, many pictures, both at once, more than it can take, memory, start.
Flask doing nothing is the ceiling of any Flask view under gunicorn's threads; asgi doing nothing is the ceiling of
service/asgi.py. All share the cores with the load generator.
"""

import argparse
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from bench.load_generator import Load, Post, by_client, closed

GUNICORN = (sys.executable, "-m", "gunicorn")
CONNECTIONS = (1, 16, 64)
ROUNDS = 3
SEVEN = Path(__file__).parent.parent / "tests" / "pictures" / "seven.png"
CROWDS = (160, 256, 512, 1024)
"""Connections beyond the peak; two workers have 80 places, so the first is twice as many."""
PROBES = 4
"""Connections among them whose answers are timed."""


@dataclass
class Server:
    """A running server, and the seconds from its start to its first answer."""

    port: int
    process: subprocess.Popen[bytes]
    started: float

    def post(self, content_type: str, body: bytes, query: str = "") -> Post:
        """A request to predict."""
        return Post(f"http://127.0.0.1:{self.port}/predict{query}", content_type, body)

    def memory(self) -> float:
        """Proportional set size of all its processes, in MB."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return sum(_pss(pid) for pid in (str(self.process.pid), *children)) / 1000


def _pss(pid: str) -> int:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(rollup.split("\nPss:")[1].split()[0])


@contextmanager
def running(command: Sequence[str], first: Callable[[int], bool]) -> Iterator[Server]:
    """Start a server, with `{port}` filled in, until its first answer; stop it at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"DIGITS_PORT": str(port), "DIGITS_LOG_LEVEL": "error"}
    began = time.perf_counter()
    process = subprocess.Popen(
        [word.format(port=port) for word in command],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not first(port):
            if process.poll() is not None or time.perf_counter() - began > 60:
                raise SystemExit(f"{' '.join(command)} does not answer")
            time.sleep(0.005)
        yield Server(port, process, time.perf_counter() - began)
    finally:
        process.terminate()
        process.wait()


def answers(port: int, body: bytes = SEVEN.read_bytes(), kind: str = "image/png") -> bool:
    """Whether one picture is answered."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    with suppress(OSError, HTTPException):
        connection.request("POST", "/predict", body, {"Content-Type": kind})
        return connection.getresponse().status == 200
    return False


def form(file: bytes) -> tuple[str, bytes]:
    """A form as curl sends it."""
    head = b'Content-Disposition: form-data; name="file"; filename="seven.png"\r\nContent-Type: image/png'
    return "multipart/form-data; boundary=XX", b"--XX\r\n%b\r\n\r\n%b\r\n--XX--\r\n" % (head, file)


def one_picture(servers: dict[str, Server], seconds: float) -> None:
    """Throughput and latency of one picture, as PNG at all connections, as form and JSON at 16: medians of ROUNDS."""
    png = SEVEN.read_bytes()
    pixels = np.asarray(Image.open(BytesIO(png))).tolist()
    bodies = {
        "PNG": ("image/png", png),
        "form": form(png),
        "JSON": ("application/json", json.dumps({"images": [pixels]}).encode()),
    }
    cases = [("PNG", connections) for connections in CONNECTIONS] + [("form", 16), ("JSON", 16)]
    print("\n| one picture, connections | requests/s | p50 ms | p99 ms | failed | of asgi nothing | of Flask nothing |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for kind, connections in cases:
        loads: dict[str, list[Load]] = {name: [] for name in servers}
        for turn in range(ROUNDS):
            for name in list(servers)[:: 1 if turn % 2 else -1]:
                loads[name].append(closed(servers[name].post(*bodies[kind]), connections, seconds))
        rates = {name: statistics.median(load.rate for load in some) for name, some in loads.items()}
        p50, p99 = (statistics.median(getattr(load, of) for load in loads["ours"]) for of in ("p50", "p99"))
        ratios = (f"{rates['ours'] / rates[name]:.2f}x of {rates[name]:,.0f}" for name in ("asgi", "flask"))
        failed = sum(load.failed for load in loads["ours"])
        row = (f"{kind}, {connections}", f"{rates['ours']:,.0f}", f"{p50:.2f}", f"{p99:.2f}", failed, *ratios)
        print("|", " | ".join(map(str, row)), "|")


def many_pictures(ours: Server, seconds: float) -> None:
    """Images a second in bulk, and what that does to single pictures."""
    print("\n| many pictures | images/s | p99 ms of singles meanwhile, 4 connections |\n|---|---:|---:|")
    for count, connections in ((1000, 2), (10_000, 1)):
        images = np.random.default_rng(0).integers(0, 256, (count, 28, 28), np.uint8).tobytes()
        bulk = ours.post("application/octet-stream", images, "?fields=digit")
        alone = closed(bulk, connections, seconds)
        with ThreadPoolExecutor(1) as pool:
            beside = pool.submit(closed, bulk, connections, seconds + 1)
            singles = closed(ours.post("image/png", SEVEN.read_bytes()), 4, seconds)
            beside.result()
        print(f"| {count} in a request, {connections} connections | {alone.rate * count:,.0f} | {singles.p99:.1f} |")


def too_much(ours: Server, seconds: float) -> None:
    """More connections, each with a request, than all workers have places; then once more, timing what is answered."""
    post = ours.post("image/png", SEVEN.read_bytes())
    closed(post, 16, 1)
    loads = {connections: closed(post, connections, seconds) for connections in (16, 64, *CROWDS)}
    print("\n| more than it has places for, connections | answered/s | of the peak | refused/s | p50 ms | p99 ms |")
    print("|---|---:|---:|---:|---:|---:|")
    waited: list[float] = []
    for connections, load in loads.items():
        probes = max(PROBES, connections // 64)
        with ThreadPoolExecutor(1) as pool, looking(ours, waited if connections in CROWDS else []):
            beside = pool.submit(closed, post, connections - probes, seconds)
            time.sleep(0.5)  # until all of them are there
            timed = by_client(post, probes, seconds - 1)
            beside.result()
        rates = f"{load.rate:,.0f} | {load.rate / loads[64].rate:.2f} | {load.failed / load.seconds:,.0f}"
        print(f"| {connections} | {rates} | {timed.p50:.1f} | {timed.p99:.1f} |")
    middle = f"{statistics.median(waited):.0f} ms in the median, {max(waited):.0f} ms at most"
    print(f"\n/healthz, /readyz and /metrics meanwhile, {len(waited)} times: {middle}.")


@contextmanager
def looking(ours: Server, waited: list[float]) -> Iterator[None]:
    """Ask for /healthz, /readyz and /metrics all the while, and add the milliseconds that it took."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.05):
            for path in ("/healthz", "/readyz", "/metrics"):
                began = time.perf_counter()
                connection = HTTPConnection("127.0.0.1", ours.port, timeout=10)
                connection.request("GET", path)
                connection.getresponse().read()
                connection.close()
                waited.append(1000 * (time.perf_counter() - began))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def machine() -> str:
    """What it ran on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    name = next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores of {name}, Python {platform.python_version()}, Linux {platform.release()}"


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3, help="of each measurement")
    seconds = parser.parse_args().seconds
    print(machine())
    nothing = (*GUNICORN, "--bind", "127.0.0.1:{port}", "--log-level", "error", "--workers", "2")
    ours = (*GUNICORN, "--config", "service/gunicorn.conf.py")
    starts = []
    for _ in range(3):
        with running(ours, answers) as server:
            starts.append(server.started)
    with (
        running(ours, answers) as server,
        running((*nothing, "-k", "asgi", "bench.noop_apps:asgi_app"), answers) as asgi,
        running((*nothing, "-k", "gthread", "--threads", "8", "bench.noop_apps:flask_app"), answers) as flask,
    ):
        one_picture({"ours": server, "asgi": asgi, "flask": flask}, seconds - 1)
        warm = server.memory()
        many_pictures(server, seconds)
        after = server.memory()
    with running(ours, answers) as server:
        too_much(server, seconds)
    print("\n| memory and start | |\n|---|---:|")
    print(f"| proportional set size, all processes, warm | {warm:.0f} MB |")
    print(f"| after bulk | {after:.0f} MB |")
    print(f"| from exec to the first answer | {statistics.median(starts):.2f} s |")


if __name__ == "__main__":
    main()
