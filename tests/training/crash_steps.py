"""Kills an action at every step: `python -S -m tests.training.crash_steps ACTION DIRECTORY`.

A step is a line of the traced modules that is about to run, or a file system operation that is about to happen. For
each step N from 1 a forked process runs the action in DIRECTORY/N and kills itself at step N, until a process survives;
then the number of that last step is printed. The module imports nothing outside of the standard library but the modules
under test, so that it can fork safely and run without site-packages.
"""

import itertools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from tests.training.publish.publisher import publish_small_files
from training import atomic_write
from training.publish import registry

WATCHED_EVENTS = ("open", "os.", "shutil.", "tempfile.")
TRACED_FILES = (atomic_write.__file__, registry.__file__)
OLD, NEW = b"old" * 1000, b"new" * 2000


def replace_file(directory: Path) -> None:
    """Replace OLD by NEW in DIRECTORY/file."""
    atomic_write.atomic_write(directory / "file", NEW)


def prepare_file(directory: Path) -> None:
    (directory / "file").write_bytes(OLD)


def publish(directory: Path) -> None:
    """Publish a second version while a directory of an earlier crash is present."""
    publish_small_files(directory)


def prepare_models(directory: Path) -> None:
    publish_small_files(directory)
    (directory / ".tmp-old").mkdir()
    (directory / ".tmp-old" / "data").write_bytes(b"half")


ACTIONS: dict[str, tuple[Callable[[Path], None], Callable[[Path], None]]] = {
    "atomic_write": (prepare_file, replace_file),
    "publish": (prepare_models, publish),
}


def die_at(last: int) -> None:
    """Let this process kill itself at a step, counted from 1."""
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1
        if steps == last:
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(event: str, _: tuple[Any, ...]) -> None:
        if event.startswith(WATCHED_EVENTS):
            step()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_filename not in TRACED_FILES:
            return None
        if event == "line":
            step()
        return trace

    sys.addaudithook(audit)
    sys.settrace(trace)


def survives(action: Callable[[Path], None], directory: Path, step: int) -> bool:
    """Run the action in a forked process that dies at the step; returns whether it ended before that."""
    child = os.fork()
    if not child:
        die_at(step)
        action(directory)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL), status
    return status == 0


if __name__ == "__main__":
    setattr(os, "fsync", lambda _: None)  # noqa: B010 - slow, and without effect on what a killed process leaves
    prepare, action = ACTIONS[sys.argv[1]]
    for step in itertools.count(1):
        directory = Path(sys.argv[2], str(step))
        directory.mkdir()
        prepare(directory)
        if survives(action, directory, step):
            print(step)
            break
