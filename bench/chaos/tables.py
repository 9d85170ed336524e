"""The result as Markdown tables."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from bench.chaos.experiment import CALM, EVERYTHING, HOSTILE, Result
from bench.chaos.good_client import Counts
from bench.chaos.verdict import split_lost

TITLES = {
    "clients": "Clients",
    "requests": "Malformed requests",
    "bodies": "Hostile bodies",
    "versions": "Versions",
    "processes": "Processes",
}


SUMMED = ("sent", "right", "refused", "wrong")
MARKER = "<!-- the output of make chaos, to the end of the page -->\n"


def markdown(result: Result, machine: str) -> str:
    """Headlines, the good client, the service, and each group of misbehaviours."""
    sections = (_good_client(result), _service(result), _summary(result), _details(result))
    return "\n".join([*_headlines(result), f"\n{machine}.", *(line for section in sections for line in section)])


def replace_figures(page: Path, tables: str) -> None:
    """Replace everything after the MARKER of a page."""
    intro, marker, _ = page.read_text().partition(MARKER)
    page.write_text(f"{intro}{marker}\n{tables}\n")


def _headlines(result: Result) -> Iterator[str]:
    excused, lost = split_lost(result)
    plain = {phase: kinds["plain"] for phase, kinds in result.good.counts.items() if "plain" in kinds}
    yield "| headline | value |\n|---|---|"
    yield f"| requests of the good client | {sum(counts.sent for counts in _counts(result)):,} |"
    yield f"| lost, on connections of workers that were killed | {len(excused):,} |"
    yield f"| lost otherwise | {len(lost):,} |"
    yield f"| wrong responses | {sum(counts.wrong for counts in _counts(result)):,} |"
    for phase in (CALM, HOSTILE, EVERYTHING):
        if phase in plain:
            yield f"| p99 of a plain prediction, {phase} | {plain[phase].p99_ms:.1f} ms |"
    yield f"| memory before and after | {result.memory.before_mb:.0f} MB, {result.memory.after_mb:.0f} MB |"


def _counts(result: Result) -> list[Counts]:
    return [counts for kinds in result.good.counts.values() for counts in kinds.values()]


def _good_client(result: Result) -> Iterator[str]:
    excused, lost = split_lost(result)
    yield "\n## The good client\n"
    yield "`killed`: lost with a worker that was killed on purpose. Latencies are those of right responses.\n"
    yield "| phase | requests | sent | right | refused | wrong | killed | lost | p50 ms | p99 ms |"
    yield "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|"
    for phase, kinds in result.good.counts.items():
        for kind, counts in sorted(kinds.items()):
            of_kind = [sum((item.phase, item.kind) == (phase, kind) for item in items) for items in (excused, lost)]
            latencies = f"{counts.p50_ms:.1f} | {counts.p99_ms:.1f}"
            yield f"| {phase} | {kind} | {_cells(counts, *of_kind)} | {latencies} |"
    total = Counts(*(sum(getattr(counts, name) for counts in _counts(result)) for name in SUMMED))
    yield f"| all | all | {_cells(total, len(excused), len(lost))} | | |"
    if result.good.refusals:
        yield "\n| refused with | times |\n|---|---:|"
        for sentence, count in Counter(result.good.refusals).most_common():
            yield f"| {sentence} | {count:,} |"


def _cells(counts: Counts, killed: int, lost: int) -> str:
    numbers = (counts.sent, counts.right, counts.refused, counts.wrong, killed, lost)
    return " | ".join(f"{number:,}" for number in numbers)


def _service(result: Result) -> Iterator[str]:
    memory = result.memory
    yield "\n## The service\n\n| | |\n|---|---:|"
    yield f"| memory of all processes before | {memory.before_mb:.0f} MB |"
    yield f"| at its peak | {memory.peak_mb:.0f} MB |"
    yield f"| after | {memory.after_mb:.0f} MB |"
    yield f"| processes before, after, left after the stop | {_numbers(result)} |"
    yield f"| workers killed | {len(result.kills)} |"
    yield f"| versions that the good client met | {len(result.good.versions)} |"
    yield f"| duration of the stop under load | {result.stop_seconds:.1f} s |"


def _numbers(result: Result) -> str:
    memory = result.memory
    return f"{memory.processes_before}, {memory.processes_after}, {memory.processes_left}"


def _summary(result: Result) -> Iterator[str]:
    yield "\n## What was done to it\n\n| what | kinds | times | ends |\n|---|---:|---:|---|"
    for group, title in TITLES.items():
        names = [name for name in result.ends if result.kinds[name].group == group]
        total: Counter[str] = sum((result.ends[name] for name in names), Counter())
        if names:
            yield f"| {title} | {len(names)} | {total.total():,} | {_ends(total)} |"


def _details(result: Result) -> Iterator[str]:
    for group, title in TITLES.items():
        names = [name for name in result.ends if result.kinds[name].group == group]
        if names:
            yield f"\n### {title}\n\n| what | times | ends |\n|---|---:|---|"
            for name in names:
                yield f"| {name} | {result.ends[name].total():,} | {_ends(result.ends[name])} |"


def _ends(counts: Counter[str]) -> str:
    return ", ".join(f"{end}: {count:,}" for end, count in counts.most_common())
