"""The private names of prometheus_client, all in this module. Tested with prometheus_client 0.26.0.

- `values.ValueClass` is replaced, so that the files of the multiprocess mode are keyed by a worker's slot instead of
  its process id: a new worker continues with the counters of the one whose slot it takes, and files do not pile up.
- `multiprocess.mark_process_dead`, which is public, takes a slot for the same reason where it documents a process id.
- `Histogram._upper_bounds`, `._buckets` and `._sum` are read, to add a batch of values with one increment a bucket.

tests/service/monitoring/test_prometheus_compat.py fails if an upgrade changes one of them.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from prometheus_client import Counter, Histogram, values
from prometheus_client.multiprocess import mark_process_dead


def use_slot_files(directory: Path, slot: int) -> None:
    """Keep the metrics of this process in files of `directory`, keyed by `slot`.

    For a process that serves one application, before its `Metrics` are created. No two running processes may have the
    same slot.
    """
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
    values.ValueClass = values.MultiProcessValue(lambda: slot)  # type: ignore[no-untyped-call]


def remove_live_gauges(directory: Path, slot: int) -> None:
    """Delete the gauges of a slot whose process has ended; its counters and histograms stay, for the next process."""
    mark_process_dead(slot, str(directory))  # type: ignore[no-untyped-call]


class BatchHistogram(Histogram):
    """A histogram that adds a batch of values with one increment a bucket, where `observe` makes one a value."""

    def add(self, amounts: npt.ArrayLike) -> None:
        """Observe each of the amounts, float [N]."""
        amounts = np.asarray(amounts, np.float64)
        counts = np.bincount(np.searchsorted(self._upper_bounds, amounts))
        for bucket, count in zip(self._buckets, counts.tolist(), strict=False):
            if count:
                bucket.inc(count)
        self._sum.inc(float(amounts.sum()))


class BatchCounter(Counter):
    """A counter with the interface of `BatchHistogram`."""

    def add(self, amounts: Sequence[float]) -> None:
        """Increment by the sum of the amounts."""
        self.inc(sum(amounts))
