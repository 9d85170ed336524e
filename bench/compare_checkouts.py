"""Two checkouts of the service side by side: `python -m bench.serving --against PATH --rounds 5`.

Each checkout runs its own `service/gunicorn.conf.py` with its own newest model version, this interpreter and the same
settings. A round starts both services anew, and measures each case on one and immediately afterwards on the other;
the order alternates between rounds. Both measurements of a pair so meet nearly the same load on the machine: the ratio
of a pair is less noisy than the two rates. A round has 44 measurements: about two and a half minutes.
"""

import math
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bench import request_bodies
from bench.load_generator import LoadResult, closed_loop
from bench.server_process import SERVICE, ServerProcess, start_server

CONNECTIONS = (1, 16, 64)
PICTURE_CONNECTIONS = (1, 16)
BULK_IMAGES = 1000
WARM_UP_SECONDS = 1
HEADER = (
    "| request, connections | this, requests/s | other, requests/s | ratio, median | lowest to highest |"
    " this, p99 ms | other, p99 ms | this, failed | other, failed |\n"
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|"
)
PRINT_SETTINGS = (
    "from dataclasses import fields; from service.settings import Settings;"
    "print(*('DIGITS_' + field.name.upper() for field in fields(Settings)))"
)


@dataclass(frozen=True)
class Checkout:
    """A checkout of the repository, and the environment that its service is started with."""

    path: Path
    environment: Mapping[str, str]

    @classmethod
    def open(cls, path: Path) -> Self:
        """Find out which settings the service has, and leave the others out of the environment.

        Prints a line for each DIGITS_* variable that is left out, because the two services may then differ in it.

        Raises:
            SystemExit: the path is not a checkout of the service.
        """
        command = [sys.executable, "-c", PRINT_SETTINGS]
        done = subprocess.run(command, cwd=path, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{path} is not a checkout of the service:\n{done.stderr}")
        environment, unknown = select_settings(os.environ, done.stdout.split())
        for name in unknown:
            print(f"{name} is not a setting of {path}: its service runs without it")
        return cls(path, environment)

    def start(self) -> AbstractContextManager[ServerProcess]:
        """Run the service of this checkout."""
        return start_server(SERVICE, self.path, self.environment)


def select_settings(environment: Mapping[str, str], known: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Remove DIGITS_* variables that a service does not know, with which it would not start.

    Returns:
        The remaining environment, and the names of the removed variables.
    """
    allowed = {*known, "DIGITS_DATA"}
    unknown = sorted(name for name in environment if name.startswith("DIGITS_") and name not in allowed)
    return {name: value for name, value in environment.items() if name not in unknown}, unknown


@dataclass(frozen=True)
class Case:
    """A predict request on a number of connections."""

    name: str
    content_type: str
    body: bytes
    query: str
    connections: int

    def measure(self, server: ServerProcess, seconds: float) -> LoadResult:
        """Put the load on a server."""
        return closed_loop(server.predict_request(self.content_type, self.body, self.query), self.connections, seconds)


@dataclass(frozen=True)
class Pair:
    """The results of one case in one round."""

    this: LoadResult
    other: LoadResult

    @property
    def ratio(self) -> float:
        """Requests per second of this checkout divided by the other's; NaN if the other had no successful response."""
        return self.this.rate / self.other.rate if self.other.succeeded else math.nan


def default_cases() -> list[Case]:
    """PNG, form, JSON and bulk at all CONNECTIONS, pictures at PICTURE_CONNECTIONS."""
    images = {name: (*body, "") for name, body in request_bodies.single_picture().items()}
    images[f"bulk of {BULK_IMAGES}"] = (*request_bodies.bulk(BULK_IMAGES), "?fields=digit")
    return [
        Case(name, *body, number)
        for bodies, connections in ((images, CONNECTIONS), (request_bodies.pictures(), PICTURE_CONNECTIONS))
        for name, body in bodies.items()
        for number in connections
    ]


def print_comparison(this: Path, other: Path, rounds: int, seconds: float) -> None:
    """Measure all default cases, and print the table.

    Raises:
        SystemExit: a path is not a checkout of the service, or its service does not start.
    """
    cases, checkouts = default_cases(), (Checkout.open(this), Checkout.open(other))
    print(f"this: {this.resolve()}, other: {other.resolve()}; {rounds} rounds, {seconds:g} s per measurement\n")
    measured = [measure_round(*checkouts, cases, seconds, reverse=bool(number % 2)) for number in range(rounds)]
    print(HEADER)
    for index, case in enumerate(cases):
        print(format_row(case, [pairs[index] for pairs in measured]))


def measure_round(
    this: Checkout, other: Checkout, cases: Sequence[Case], seconds: float, *, reverse: bool = False
) -> list[Pair]:
    """Start the services of both checkouts, and measure each case on one after the other.

    Args:
        this: the checkout whose rates are the numerators.
        other: the checkout to compare with.
        cases: what to measure.
        seconds: duration of each measurement.
        reverse: whether the other checkout is measured first.

    Returns:
        One pair per case.
    """
    with this.start() as first, other.start() as second:
        order = (second, first) if reverse else (first, second)
        for server in order:
            cases[0].measure(server, WARM_UP_SECONDS)
        pairs = []
        for case in cases:
            results = {server.port: case.measure(server, seconds) for server in order}
            pairs.append(Pair(results[first.port], results[second.port]))
        return pairs


def format_row(case: Case, pairs: Sequence[Pair]) -> str:
    """One row of the table: medians over all rounds, lowest and highest ratio, sums of failed requests."""
    sides = [[pair.this for pair in pairs], [pair.other for pair in pairs]]
    rates = [f"{statistics.median(result.rate for result in side):,.0f}" for side in sides]
    p99 = [f"{statistics.median(result.p99_ms for result in side):.2f}" for side in sides]
    failed = [str(sum(result.failed for result in side)) for side in sides]
    ratios = [pair.ratio for pair in pairs]
    ratio = [f"{statistics.median(ratios):.3f}", f"{min(ratios):.3f} to {max(ratios):.3f}"]
    return "| " + " | ".join([f"{case.name}, {case.connections}", *rates, *ratio, *p99, *failed]) + " |"
