"""What failed: a list of sentences; an experiment without one has passed.

A lost request is excused only if its connection belonged to a worker that was killed on purpose: bench/process_tree.py
reads the connections of the stopped worker right before the kill.
"""

import re
from collections.abc import Iterable, Iterator

from bench.chaos.experiment import CALM, EVERYTHING, Result
from bench.chaos.good_client import KINDS, Lost
from bench.process_tree import Kill

MAX_GROWTH = 1.25
"""Memory after the chaos, relative to the memory before it."""
WORKER_END = re.compile(r"Worker \(pid:(\d+)\) (was sent SIG(?!TERM)\w+|exited with code [1-9]\d*)")
COMPLAINTS = ("Traceback", "WORKER TIMEOUT", "Unhandled exception", "Fatal Python error", "Forcing close")


def failures(result: Result) -> list[str]:
    """Everything that must not happen, one sentence each."""
    return [*_good_client(result), *_misbehaviours(result), *_service(result), *_memory(result)]


def is_excused(lost: Lost, kills: Iterable[Kill], stopped_at: float) -> bool:
    """Whether a request was lost with its killed worker, or its connection was refused after the stop."""
    if lost.is_refused_connection:
        return 0 < stopped_at < lost.at
    return any(lost.port in kill.ports and lost.opened <= kill.at <= lost.at for kill in kills)


def split_lost(result: Result) -> tuple[list[Lost], list[Lost]]:
    """The requests lost with a killed worker, and those lost without an excuse; no connections that a stop refused."""
    lost = [item for item in result.good.lost if not _is_refused_by_stop(item, result)]
    excused = [item for item in lost if is_excused(item, result.kills, result.stopped_at)]
    return excused, [item for item in lost if item not in excused]


def _is_refused_by_stop(lost: Lost, result: Result) -> bool:
    return lost.is_refused_connection and 0 < result.stopped_at < lost.at


def _good_client(result: Result) -> Iterator[str]:
    for lost in split_lost(result)[1]:
        yield f"the good client lost a request ({lost.kind}, in {lost.phase}): {lost.how}, port {lost.port}"
    for phase, kinds in result.good.counts.items():
        for kind, counts in kinds.items():
            if counts.wrong:
                yield f"{counts.wrong} wrong responses to the good client ({kind}, in {phase}): {counts.first_wrong}"
    for phase in (CALM, EVERYTHING):
        for kind in KINDS:
            counts_of_kind = result.good.counts.get(phase, {}).get(kind)
            if not counts_of_kind or not counts_of_kind.right:
                yield f"the good client got no right response ({kind}, in {phase})"


def _misbehaviours(result: Result) -> Iterator[str]:
    for name, counts in result.ends.items():
        wrong = {end: count for end, count in counts.items() if not result.kinds[name].allows(end)}
        if wrong:
            listed = ", ".join(f"{end} ({count} times)" for end, count in wrong.items())
            yield f"{name}: {listed}; expected: {', '.join(sorted(result.kinds[name].expected))}"


def _service(result: Result) -> Iterator[str]:
    if unknown := set(result.good.versions) - result.served:
        yield f"versions that must not be served were: {', '.join(sorted(unknown))}"
    if not result.newest_in_use:
        yield "not all workers took the newest version after the chaos"
    for complaint in COMPLAINTS:
        if count := result.log.count(complaint):
            yield f"{complaint!r} stands {count} times in the log: {_describe_traceback(result.log, complaint)}"
    killed = {kill.pid for kill in result.kills}
    for pid, how in WORKER_END.findall(result.log):
        if int(pid) not in killed:
            yield f"worker {pid} ended by itself: {how}"
    if result.exit_code != 0:
        yield f"the stop ended with the exit code {result.exit_code}"


def _describe_traceback(log: str, complaint: str) -> str:
    """The place and the exception at the end of the first traceback, or the rest of the line."""
    lines = log.partition(complaint)[2].strip().splitlines()
    place = ""
    for line in lines:
        if line.startswith('  File "'):
            place = line.strip()
        elif re.match(r"\w[\w.]*(Error|Exception|Exit|Interrupt)\b", line):
            return f"{place}: {line[:200]}"
    return lines[0][:200] if lines else ""


def _memory(result: Result) -> Iterator[str]:
    memory = result.memory
    if memory.after_mb > MAX_GROWTH * memory.before_mb:
        yield (
            f"the service has {memory.after_mb:.0f} MB after the chaos, and had {memory.before_mb:.0f} MB before;"
            f" allowed: {MAX_GROWTH} times as much"
        )
    if memory.processes_after > memory.processes_before:
        yield f"there are {memory.processes_after} processes after the chaos, and were {memory.processes_before}"
    if memory.processes_left:
        yield f"{memory.processes_left} processes still run after the stop"
