"""Run the chaos experiment: `python -m bench.chaos`, about two minutes.

Prints Markdown tables: what the good client sent and got in each phase, the memory of the service, and what was done
to it with how it ended. Ends with 1 if a request was lost that was not on a killed worker's connection, a response was
wrong, an end was not one of the expected, a traceback was logged, or the memory does not come back.

    python -m bench.chaos --only TIFF --only "worker killed" --seconds 10

runs only the kinds whose name contains one of the words, or is in the group of this name; --list prints all of them.
"""

import argparse
import sys
from pathlib import Path

from bench.chaos import bad_versions, clients, faults, malformed_requests, tables, verdict  # noqa: F401 - they register
from bench.chaos.experiment import Plan, run
from bench.chaos.registry import REGISTRY
from bench.hostile_bodies import HOSTILE_BODIES
from bench.serving import describe_machine

NICENESS = 5


def main() -> None:
    """Run, print the tables and the failures, and end with 1 if there is any."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="duration of the chaos (default: %(default)s)")
    parser.add_argument("--calm", type=float, default=10, help="seconds of calm before it (default: %(default)s)")
    parser.add_argument(
        "--hostile", type=float, default=20, help="seconds of hostile bodies alone (default: %(default)s)"
    )
    parser.add_argument("--settle", type=float, default=15, help="seconds of calm after it (default: %(default)s)")
    parser.add_argument(
        "--only", action="append", default=[], metavar="WORD", help="only kinds with this word; may be repeated"
    )
    parser.add_argument("--list", action="store_true", help="print the kinds, and end")
    parser.add_argument("--log", action="store_true", help="print what the service has written")
    parser.add_argument("--page", type=Path, help="a page whose figures are replaced, such as docs/results/chaos.md")
    options = parser.parse_args()
    if options.list:
        print(*REGISTRY, *HOSTILE_BODIES, sep="\n")
        return
    durations = (options.calm, options.hostile, options.seconds, options.settle)
    result = run(Plan(*durations, niceness=NICENESS, words=options.only))
    figures = tables.markdown(result, describe_machine())
    print(f"{figures}\n")
    if options.page:
        tables.replace_figures(options.page, figures)
    if options.log:
        print(result.log)
    found = verdict.failures(result)
    print(*(f"FAILED: {sentence}" for sentence in found), sep="\n")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
