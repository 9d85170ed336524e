"""Throughput, latency, memory and start time of the service: `python -m bench.serving`, about four minutes.

Prints Markdown tables: one image per request in three formats, pictures that are normalised, images in bulk and single
ones beside them, more connections than the service accepts, pictures beside their decoding, memory and start. Two
servers that return fixed bytes run beside it, each with two workers: a Flask view under gunicorn's gthread worker
bounds any Flask view, and an ASGI application under gunicorn's asgi worker bounds service/server/asgi.py. With
pictures, a FastAPI server under two of uvicorn's workers runs beside it: bench/tutorial_server.py. All of them share
the cores with the load generator.

    python -m bench.serving --against PATH --rounds 5

compares this checkout of the service with another one instead: see bench/compare_checkouts.py.
"""

import argparse
import os
import platform
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

from bench import compare_checkouts, picture_speed, request_bodies
from bench.compare_checkouts import PICTURE_CONNECTIONS
from bench.load_generator import LoadResult, Request, by_python_client, closed_loop
from bench.request_bodies import PNG_FILE
from bench.server_process import GUNICORN, ServerProcess, start_server

CONNECTIONS = (1, 16, 64)
ROUNDS = 3
BULK_IMAGES = 1000
OVERLOAD_CONNECTIONS = (160, 256, 512, 1024)
"""Numbers of connections beyond the limit: two workers accept 80 requests at once, and the first is twice that."""
TIMED_CONNECTIONS = 4
"""Connections, of those of an overload, whose latencies are measured; at least 1 in 64."""
HEALTH_PATHS = ("/healthz", "/readyz", "/metrics")
NOOP = (*GUNICORN, "--bind", "127.0.0.1:{port}", "--log-level", "error", "--workers", "2")
NOOP_ASGI = (*NOOP, "-k", "asgi", "bench.noop_apps:asgi_app")
TUTORIAL = (
    *(sys.executable, "-m", "uvicorn", "bench.tutorial_server:app", "--host", "127.0.0.1", "--port", "{port}"),
    *("--workers", "2", "--log-level", "error", "--no-access-log"),
)
NOOP_FLASK = (*NOOP, "-k", "gthread", "--threads", "8", "bench.noop_apps:flask_app")


def single_pictures(service: ServerProcess, noop: dict[str, ServerProcess], seconds: float) -> None:
    """Print throughput and latency of one picture per request, and the ratios to no-op servers; medians of ROUNDS."""
    bodies = request_bodies.single_picture()
    cases = [("PNG", connections) for connections in CONNECTIONS] + [("form", 16), ("JSON", 16)]
    ratios = " | ".join(f"ratio to no-op {name} (its requests/s)" for name in noop)
    print(f"\n| one picture, connections | requests/s | p50 ms | p99 ms | failed | {ratios} |")
    print("|---|---:|---:|---:|---:|" + "---:|" * len(noop))
    for kind, connections in cases:
        results: dict[str, list[LoadResult]] = {name: [] for name in ("service", *noop)}
        servers = {"service": service} | noop
        for number in range(ROUNDS):
            for name in list(servers)[:: 1 if number % 2 else -1]:
                results[name].append(closed_loop(servers[name].predict_request(*bodies[kind]), connections, seconds))
        rates = {name: statistics.median(result.rate for result in several) for name, several in results.items()}
        p50 = statistics.median(result.p50_ms for result in results["service"])
        p99 = statistics.median(result.p99_ms for result in results["service"])
        failed = sum(result.failed for result in results["service"])
        ratios = " | ".join(f"{rates['service'] / rates[name]:.2f} ({rates[name]:,.0f})" for name in noop)
        print(f"| {kind}, {connections} | {rates['service']:,.0f} | {p50:.2f} | {p99:.2f} | {failed} | {ratios} |")


def protocols(service: ServerProcess, seconds: float) -> None:
    """Print the requests/s by each protocol, of one image and of many, relative to /predict; medians of ROUNDS.

    One image: /predict with a PNG file. Bulk: /predict with raw bytes, and all fields.
    """
    print("\n| request, connections | /predict, requests/s | Open Inference, binary | TensorFlow Serving, JSON |")
    print("|---|---:|---:|---:|")
    single = {
        "/predict": service.predict_request("image/png", PNG_FILE),
        "V2": service.open_inference_request(*request_bodies.open_inference(1)),
        "V1": service.tensorflow_serving_request(*request_bodies.tensorflow_serving()),
    }
    for connections in CONNECTIONS:
        _print_protocols(f"one image, {connections}", single, connections, seconds)
    bulk = {
        "/predict": service.predict_request(*request_bodies.bulk(BULK_IMAGES)),
        "V2": service.open_inference_request(*request_bodies.open_inference(BULK_IMAGES)),
    }
    _print_protocols(f"bulk of {BULK_IMAGES:,}, 2", bulk, 2, seconds)


def _print_protocols(title: str, requests: Mapping[str, Request], connections: int, seconds: float) -> None:
    rates: dict[str, list[float]] = {protocol: [] for protocol in requests}
    for number in range(ROUNDS):
        for protocol in list(requests)[:: 1 if number % 2 else -1]:
            rates[protocol].append(closed_loop(requests[protocol], connections, seconds).rate)
    medians = {protocol: statistics.median(values) for protocol, values in rates.items()}
    own = medians.pop("/predict")
    cells = [f"{medians[name] / own:.2f} ({medians[name]:,.0f})" if name in medians else "" for name in ("V2", "V1")]
    print(f"| {title} | {own:,.0f} | {' | '.join(cells)} |")


def normalised_pictures(service: ServerProcess, tutorial: ServerProcess, seconds: float) -> None:
    """Print throughput and latency of pictures that are normalised, and the ratios to a FastAPI server."""
    print(
        "\n| picture, connections | requests/s | p50 ms | p99 ms | failed | ratio to FastAPI (its requests/s, p99 ms) |"
    )
    print("|---|---:|---:|---:|---:|---:|")
    for name, picture in request_bodies.pictures().items():
        for connections in PICTURE_CONNECTIONS:
            result, other = (
                closed_loop(server.predict_request(*picture), connections, seconds) for server in (service, tutorial)
            )
            rates = f"{result.rate:,.0f} | {result.p50_ms:.1f} | {result.p99_ms:.1f} | {result.failed}"
            ratio = f"{result.rate / other.rate:.2f} ({other.rate:,.0f}, {other.p99_ms:.1f})"
            print(f"| {name}, {connections} | {rates} | {ratio} |")


def bulk_pictures(service: ServerProcess, seconds: float) -> None:
    """Print images per second in bulk, and the latency of single pictures during bulk requests."""
    print("\n| images per request, connections | images/s | p99 ms of one picture meanwhile, 4 connections |")
    print("|---|---:|---:|")
    single = service.predict_request("image/png", PNG_FILE)
    for count, connections in ((1000, 2), (10_000, 1)):
        bulk = service.predict_request(*request_bodies.bulk(count), "?fields=digit")
        alone = closed_loop(bulk, connections, seconds)
        with ThreadPoolExecutor(1) as pool:
            background = pool.submit(closed_loop, bulk, connections, seconds + 1)
            meanwhile = closed_loop(single, 4, seconds)
            background.result()
        print(f"| {count}, {connections} | {alone.rate * count:,.0f} | {meanwhile.p99_ms:.1f} |")


def overload(service: ServerProcess, seconds: float) -> None:
    """Print throughput and latency with more concurrent requests than the service accepts.

    Each number of connections is measured twice: for throughput, and again with some of the connections timed, because
    wrk's latencies include those of rejected requests.
    """
    request = service.predict_request("image/png", PNG_FILE)
    closed_loop(request, 16, 1)
    results = {
        connections: closed_loop(request, connections, seconds) for connections in (16, 64, *OVERLOAD_CONNECTIONS)
    }
    print("\n| connections | predictions/s | ratio to 64 connections | rejected requests/s | p50 ms | p99 ms |")
    print("|---|---:|---:|---:|---:|---:|")
    health_ms: list[float] = []
    for connections, result in results.items():
        timed_connections = max(TIMED_CONNECTIONS, connections // 64)
        record = health_ms if connections in OVERLOAD_CONNECTIONS else []
        with ThreadPoolExecutor(1) as pool, poll_health(service, record):
            background = pool.submit(closed_loop, request, connections - timed_connections, seconds)
            time.sleep(0.5)  # until all of them are connected
            timed = by_python_client(request, timed_connections, seconds - 1)
            background.result()
        rates = f"{result.rate:,.0f} | {result.rate / results[64].rate:.2f} | {result.failed / result.seconds:,.0f}"
        print(f"| {connections} | {rates} | {timed.p50_ms:.1f} | {timed.p99_ms:.1f} |")
    print(
        f"\nLatency of {', '.join(HEALTH_PATHS)} during overload, {len(health_ms)} requests:"
        f" median {statistics.median(health_ms):.0f} ms, maximum {max(health_ms):.0f} ms."
    )


@contextmanager
def poll_health(service: ServerProcess, latencies_ms: list[float]) -> Iterator[None]:
    """Request HEALTH_PATHS every 50 ms, each on a new connection, and append the latencies in milliseconds."""
    stop = threading.Event()

    def poll() -> None:
        while not stop.wait(0.05):
            for path in HEALTH_PATHS:
                start = time.perf_counter()
                connection = HTTPConnection("127.0.0.1", service.port, timeout=10)
                connection.request("GET", path)
                connection.getresponse().read()
                connection.close()
                latencies_ms.append(1000 * (time.perf_counter() - start))

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def describe_machine() -> str:
    """Cores, processor, Python and kernel in one line."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    processor = next((line.partition(":")[2].strip() for line in lines if "model name" in line), platform.machine())
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores of {processor}, Python {platform.python_version()}, Linux {platform.release()}"


def measure_service(seconds: float) -> None:
    """Print all tables of this checkout's service."""
    start_seconds = []
    for _ in range(3):
        with start_server() as service:
            start_seconds.append(service.start_seconds)
    with start_server() as service, start_server(NOOP_ASGI) as asgi, start_server(NOOP_FLASK) as flask:
        single_pictures(service, {"asgi": asgi, "flask": flask}, seconds - 1)
        warm_mb = service.memory_mb()
        protocols(service, seconds - 1)
        with start_server(TUTORIAL) as tutorial:
            normalised_pictures(service, tutorial, seconds)
        time.sleep(1)  # idle parser processes return memory
        pictures_mb = service.memory_mb()
        bulk_pictures(service, seconds)
        after_bulk_mb = service.memory_mb()
    with start_server() as service:
        overload(service, seconds)
    print()
    picture_speed.print_table()
    print("\n| memory and start | |\n|---|---:|")
    print(f"| proportional set size of all processes, after plain images | {warm_mb:.0f} MB |")
    print(f"| the same after pictures, with parser processes | {pictures_mb:.0f} MB |")
    print(f"| the same after bulk | {after_bulk_mb:.0f} MB |")
    print(f"| from exec to the first prediction | {statistics.median(start_seconds):.2f} s |")


def main() -> None:
    """Measure this checkout's service, or compare it with another checkout's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3, help="duration of each measurement (default: %(default)s)")
    parser.add_argument("--against", type=Path, metavar="PATH", help="compare with the service of this checkout")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of the comparison (default: %(default)s)")
    options = parser.parse_args()
    print(describe_machine())
    if options.against:
        compare_checkouts.print_comparison(Path.cwd(), options.against, options.rounds, options.seconds)
    else:
        measure_service(options.seconds)


if __name__ == "__main__":
    main()
