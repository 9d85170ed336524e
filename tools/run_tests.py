"""Run the tests in two phases, and print one summary of both: `make test`; `--fast` for `make test-fast`.

First, all tests that do not disturb each other run side by side, in two processes with one thread each; then the tests
marked `alone`, one after another. The fast tests are those of the first phase that are neither slow nor system tests.
"""

import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from training.data import mnist
from training.errors import DataError

REPOSITORY = Path(__file__).parent.parent
SIDE_BY_SIDE = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")
PHASES = {"not alone": SIDE_BY_SIDE, "alone": ()}
FAST = {"not (alone or slow or system or docker)": SIDE_BY_SIDE}
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")
NOTHING_SELECTED = 5


@dataclass
class Summary:
    """What the reports of all phases say."""

    outcomes: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    def read(self, report: Path) -> None:
        """Add the tests of a report in JUnit's format."""
        for case in ET.parse(report).iter("testcase"):  # noqa: S314 - the file was written by pytest just now
            name = f"{case.get('file')}::{case.get('name')}"
            found = {child.tag: child.get("message", "") for child in case}
            outcome = next((kind for kind in ("failure", "error", "skipped") if kind in found), "passed")
            self.outcomes[outcome] += 1
            if outcome == "skipped":
                self.skipped[found[outcome]] += 1
            elif outcome != "passed":
                self.problems.append(f"{'FAILED' if outcome == 'failure' else 'ERROR'} {name}")

    def lines(self, seconds: float) -> list[str]:
        """Return the lines of the summary; the last one has the form of pytest's."""
        words = {"failure": "failed", "passed": "passed", "skipped": "skipped", "error": "errors"}
        counts = [f"{self.outcomes[key]} {word}" for key, word in words.items() if self.outcomes[key]]
        return [
            *[f"SKIPPED [{count}] {reason}" for reason, count in self.skipped.most_common()],
            *self.problems,
            f"{', '.join(counts) or 'no tests ran'} in {seconds:.2f}s ({seconds // 60:.0f}:{seconds % 60:02.0f})",
        ]


def run(phases: Mapping[str, Sequence[str]], arguments: Sequence[str]) -> int:
    """Run each phase, print the summary, and return the exit status: 1 if any phase failed."""
    began = time.monotonic()
    summary = Summary()
    failed = False
    with tempfile.TemporaryDirectory() as directory:
        for number, (markers, options) in enumerate(phases.items()):
            report = Path(directory) / f"{number}.xml"
            print(f"tests marked {markers}:", flush=True)
            status = subprocess.run(
                [
                    *(sys.executable, "-m", "pytest", "-m", markers, *options, *arguments),
                    *("-o", "junit_family=xunit1", f"--junitxml={report}"),
                ],
                cwd=REPOSITORY,
                env=os.environ | (ONE_THREAD if options else {}),
                check=False,
            ).returncode
            if status not in (0, NOTHING_SELECTED):
                failed = True
            if report.exists():
                summary.read(report)
            elif status != NOTHING_SELECTED:
                summary.problems.append(f"ERROR pytest ended with exit status {status}; tests marked {markers}")
    title = " summary of all phases "
    print(f"\n{title:=^80}", *summary.lines(time.monotonic() - began), sep="\n", flush=True)
    return int(failed)


def fetch_mnist() -> None:
    """Fetch MNIST where it is missing, before two processes do so at the same time."""
    try:
        mnist.load(Path(os.environ.get("DIGITS_DATA", REPOSITORY / "data" / "mnist")))
    except DataError as error:
        print(error, file=sys.stderr)  # the tests that need it fail with the same sentence


def main(arguments: Sequence[str]) -> int:
    """Run all tests, or the fast ones; further arguments are pytest's."""
    if arguments[:1] == ["--fast"]:
        return run(FAST, arguments[1:])
    fetch_mnist()
    return run(PHASES, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
