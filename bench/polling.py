"""CPU time that an idle worker takes to look for new versions, with 1, 100 and 1,000 versions in the model directory.

    python -m bench.polling [--seconds 20]

The versions are copies of the newest committed one: all of them good, or all but the lowest rejected. Prints the CPU
time of the worker as a share of one core, and a row for a poll of once an hour: what the worker takes without polling.
"""

import argparse
import json
import os
import shutil
import tempfile
import time
from pathlib import Path

from bench.server_process import ServerProcess, start_server
from service.inference.version_list import list_versions

MODELS = Path("models/digits")
CASES = ((1, "good", 3600.0), (1, "good", 1.0), (100, "good", 1.0), (1000, "good", 1.0), (1000, "rejected", 1.0))
"""Number of versions, what those above the lowest are, seconds between two scans."""
SETTLE_SECONDS = 3
"""The first scan has ended by then."""


def main() -> None:
    """Measure every case, and print a table."""
    parser = argparse.ArgumentParser(description="CPU time of an idle worker that polls for versions")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each case is measured (20)")
    seconds = parser.parse_args().seconds
    print("| versions | those above the lowest | poll | of one core |\n|---|---|---|---|")
    for count, state, poll in CASES:
        with tempfile.TemporaryDirectory() as directory:
            make_versions(Path(directory), count, valid=state == "good")
            share = measure(Path(directory), poll, seconds)
        print(f"| {count:,} | {state if count > 1 else '-'} | {poll:g} s | {share:.2%} |", flush=True)


def make_versions(models: Path, count: int, *, valid: bool) -> None:
    """Fill a model directory with versions 1 to `count`; unless `valid`, all but version 1 state a wrong number."""
    source = list_versions(MODELS)[0]
    manifest = json.loads((source / "manifest.json").read_text())
    for number in range(1, count + 1):
        target = models / str(number)
        shutil.copytree(source, target)
        (target / "manifest.json").unlink()
        stated = number if valid or number == 1 else 0
        (target / "manifest.json").write_text(json.dumps(manifest | {"version": stated}))


def measure(models: Path, poll: float, seconds: float) -> float:
    """CPU time of a worker within `seconds`, as a share of one core."""
    settings = {"DIGITS_MODEL_DIR": str(models), "DIGITS_MODEL_POLL_SECONDS": str(poll), "DIGITS_WORKERS": "1"}
    with start_server(environment=os.environ | settings) as server:
        time.sleep(SETTLE_SECONDS)
        before, started = _worker_seconds(server), time.perf_counter()
        time.sleep(seconds)
        return (_worker_seconds(server) - before) / (time.perf_counter() - started)


def _worker_seconds(server: ServerProcess) -> float:
    (pid,) = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    # schedstat counts nanoseconds; stat counts hundredths of a second.
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


if __name__ == "__main__":
    main()
