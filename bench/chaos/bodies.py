"""Hostile bodies as misbehaviours: the table of bench/hostile_bodies.py, built once and kept in files."""

import itertools
from collections.abc import Callable
from pathlib import Path

from bench.chaos.connections import post
from bench.chaos.registry import CLIENT_ERRORS, Act, Misbehaviour, Victim
from bench.hostile_bodies import HOSTILE_BODIES

GROUP = "bodies"
ENDS = CLIENT_ERRORS | {"200"}
PAUSE_SECONDS = 15
SECONDS_UNTIL_LEAVING = 0.2


def hostile_bodies(directory: Path, is_chosen: Callable[[str, str], bool]) -> list[Misbehaviour]:
    """Build the chosen bodies, of which some have 15 MiB, into files in `directory`: one misbehaviour for each.

    One more sends each of them in turn, and leaves without waiting for the response.
    """
    kinds, files = [], []
    for number, (name, build) in enumerate(HOSTILE_BODIES.items()):
        if is_chosen(name, GROUP):
            content_type, query, body = build()
            files.append(directory / str(number))
            files[-1].write_bytes(post(f"/predict?{query.decode()}".rstrip("?"), content_type, body))
            kinds.append(Misbehaviour(name, GROUP, _sender(files[-1]), ENDS, PAUSE_SECONDS))
    if files:
        kinds.append(Misbehaviour("hostile body and leave", GROUP, _leaver(files), frozenset({"left"}), 0.5))
    return kinds


def _sender(file: Path) -> Act:
    def send(victim: Victim) -> str:
        with victim.connect() as connection, file.open("rb") as opened:
            try:
                connection.socket.sendfile(opened)
            except (BrokenPipeError, ConnectionResetError):
                return connection.receive()
            return connection.receive()

    return send


def _leaver(files: list[Path]) -> Act:
    cycle = itertools.cycle(files)

    def send_and_leave(victim: Victim) -> str:
        with victim.connect() as connection, next(cycle).open("rb") as opened:
            try:
                connection.socket.sendfile(opened)
            except (BrokenPipeError, ConnectionResetError):
                return "left"  # it was rejected before it was received
            victim.pause(SECONDS_UNTIL_LEAVING)
            return "left"

    return send_and_leave
