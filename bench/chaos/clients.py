"""Clients that are slow, do not read, or disconnect when they should not."""

import time

from bench import request_bodies
from bench.chaos.connections import PREDICT_PNG, RawConnection, post
from bench.chaos.good_requests import ROW_FILE
from bench.chaos.registry import Victim, misbehaviour
from bench.request_bodies import PNG_FILE

PLAIN = post("/predict", "image/png", PNG_FILE)
SLOW = post("/predict?split=digits", "image/jpeg", ROW_FILE)
"""A request that leaves the event loop: the photograph is normalised."""
BULK = post("/predict", *request_bodies.bulk(10_000))
"""A request with 7.8 MB, whose response has several MB."""
HOLD_SECONDS = 8
LEFT = ("left",)
INCOMPLETE = (*LEFT, "408", "closed", "reset")
"""A worker that stops does not wait for the rest of a request."""


@misbehaviour("head sent byte by byte", "clients", INCOMPLETE, pause_seconds=0.1, threads=4)
def send_slow_head(victim: Victim) -> str:
    """Send a byte of the head four times a second, and leave before it is complete."""
    with victim.connect() as connection:
        for byte in PLAIN[:HOLD_SECONDS]:
            connection.send(bytes([byte]))
            if victim.pause(0.25):
                break
        return "left"


@misbehaviour("body sent byte by byte", "clients", INCOMPLETE, pause_seconds=0.1, threads=4)
def send_slow_body(victim: Victim) -> str:
    """Send a byte of the body four times a second, and leave before it is complete."""
    with victim.connect() as connection:
        connection.send(PREDICT_PNG + b"Content-Length: %d\r\n\r\n" % len(PNG_FILE))
        for byte in PNG_FILE[: 4 * HOLD_SECONDS]:
            connection.send(bytes([byte]))
            if victim.pause(0.25):
                break
        return "left"


@misbehaviour("idle connection without a request", "clients", LEFT, pause_seconds=0.1, threads=4)
def open_idle_connection(victim: Victim) -> str:
    """Open a connection, send nothing, and leave."""
    with victim.connect():
        victim.pause(HOLD_SECONDS / 4)
        return "left"


@misbehaviour("bulk response read slowly", "clients", ("200", "closed", "reset", *LEFT), pause_seconds=0.5, threads=2)
def read_slowly(victim: Victim) -> str:
    """Read 1 KB of a response of several MB ten times a second, and leave."""
    with victim.connect(receive_buffer=4096) as connection:
        connection.send(BULK)
        return _read_for(connection, victim, HOLD_SECONDS)


def _read_for(connection: RawConnection, victim: Victim, seconds: float) -> str:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not connection.socket.recv(1024):
            return "closed"
        if victim.pause(0.1):
            break
    return "left"


@misbehaviour("bulk response not read", "clients", LEFT, pause_seconds=0.5, threads=10)
def read_nothing(victim: Victim) -> str:
    """Send a bulk request, do not read its response, and leave."""
    with victim.connect(receive_buffer=4096) as connection:
        connection.send(BULK)
        victim.pause(HOLD_SECONDS)
        return "left"


@misbehaviour("half-closed connection, plain picture", "clients", ("200",), pause_seconds=0.3)
def half_close_after_plain_request(victim: Victim) -> str:
    """Close the sending half after the request (`nc -N`), and read the response."""
    with victim.connect() as connection:
        connection.send(PLAIN)
        connection.finish_sending()
        return connection.receive()


@misbehaviour("half-closed connection, photograph", "clients", ("200",), pause_seconds=0.3)
def half_close_after_slow_request(victim: Victim) -> str:
    """The same with a request that leaves the event loop."""
    with victim.connect() as connection:
        connection.send(SLOW)
        connection.finish_sending()
        return connection.receive()


@misbehaviour("reset after a request", "clients", LEFT, pause_seconds=0.1)
def reset_after_request(victim: Victim) -> str:
    """Reset the connection right after the request."""
    with victim.connect() as connection:
        connection.send(SLOW)
        connection.reset()
        return "left"


@misbehaviour("reset after two pipelined requests", "clients", LEFT, pause_seconds=0.1)
def reset_after_two_requests(victim: Victim) -> str:
    """Pipeline two requests, and reset the connection."""
    with victim.connect() as connection:
        connection.send(PLAIN + SLOW)
        victim.pause(0.01)
        connection.reset()
        return "left"


@misbehaviour("reset within a body", "clients", LEFT, pause_seconds=0.1)
def reset_within_body(victim: Victim) -> str:
    """Send half of a body, and reset the connection."""
    with victim.connect() as connection:
        connection.send(BULK[: len(BULK) // 2])
        connection.reset()
        return "left"


@misbehaviour(
    "100 requests pipelined behind a photograph", "clients", ("100 responses", "announced close"), pause_seconds=1
)
def pipeline_many_requests(victim: Victim) -> str:
    """Pipeline more than 64 KiB behind a slow request: each gets its response, unless one announces to be the last."""
    with victim.connect() as connection:
        connection.send(SLOW + 100 * post("/predict", "image/png", PNG_FILE + bytes(1000)))
        for _ in range(101):
            status = connection.receive()
            if status not in {"200", "429", "503"}:
                return status
            if connection.is_closing:
                return "announced close"
        return "100 responses"


@misbehaviour("40 connections at once, closed at once", "clients", LEFT, pause_seconds=1)
def flood_connections(victim: Victim) -> str:
    """Open many connections with a request each, and close them without reading."""
    for _ in range(40):
        with victim.connect() as connection:
            connection.send(PLAIN)
    return "left"
