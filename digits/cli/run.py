"""The pictures of one run of `digits predict`, over several connections."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from digits.calls import Normalise, Reading
from digits.cli.files import group_files, read_picture
from digits.client import Client
from digits.errors import DigitsError
from digits.pictures import Picture

Results = list[tuple[str, Reading | str]]
"""For each file its reading, or why it has none."""


@dataclass(slots=True)
class Summary:
    """What became of the files."""

    failed: dict[str, str] = field(default_factory=dict)
    """Why, by the name of the file."""
    predicted: int = 0
    error: DigitsError | None = None
    """What ended the run before all files were sent."""


def predict_files(
    client: Client, names: Sequence[str], *, split: bool = False, normalise: Normalise | None = None
) -> Results:
    """Read files and predict them in one request; files that cannot be read, or are rejected, get a sentence.

    Raises:
        DigitsError: the request has failed for another reason than a picture.
    """
    found: dict[str, Reading | str] = {}
    pictures: dict[str, Picture] = {}
    for name in names:
        try:
            pictures[name] = read_picture(name)
        except (OSError, ValueError) as error:
            found[name] = getattr(error, "strerror", None) or str(error)
    if pictures:
        readings = client.predict_batch(list(pictures.values()), split=split, normalise=normalise)
        for name, reading in zip(pictures, readings, strict=True):
            found[name] = reading.sentence if isinstance(reading, DigitsError) else reading
    return [(name, found[name]) for name in names]


def run(
    predict: Callable[[Sequence[str]], Results],
    names: Sequence[str],
    connections: int,
    on_results: Callable[[Results], None],
    *,
    in_order: bool,
) -> Summary:
    """Predict all files; report the results of each request as it completes, or in order.

    A DigitsError of `predict` ends the run: no more requests are sent, and the results of those in flight are reported.
    """
    summary = Summary()
    pool = ThreadPoolExecutor(connections)
    try:
        for done in _complete(pool, predict, names, 2 * connections, summary, in_order=in_order):
            results = done.result()
            summary.failed |= {name: reading for name, reading in results if isinstance(reading, str)}
            summary.predicted += sum(not isinstance(reading, str) for _, reading in results)
            on_results(results)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # after Ctrl-C a request may still wait for a busy service
    return summary


def _complete(  # noqa: PLR0913 - a part of `run`
    pool: ThreadPoolExecutor,
    predict: Callable[[Sequence[str]], Results],
    names: Sequence[str],
    window: int,
    summary: Summary,
    *,
    in_order: bool,
) -> Iterator[Future[Results]]:
    """Submit requests, at most `window` at a time, and yield those that succeed."""
    groups = group_files(names)
    pending: list[Future[Results]] = []
    while True:
        while len(pending) < window and summary.error is None and (batch := next(groups, None)) is not None:
            pending.append(pool.submit(predict, batch))
        if not pending:
            return
        if in_order:
            wait(pending[:1])
        else:
            wait(pending, return_when=FIRST_COMPLETED)
        ready = pending[:1] if in_order else [future for future in pending if future.done()]
        pending = [future for future in pending if future not in ready]
        for future in ready:
            error = future.exception()
            if isinstance(error, DigitsError):
                summary.error = summary.error or error
            else:
                yield future
