"""The private names of prometheus_client, all in this module. Tested with prometheus_client 0.26.0.

- `values.ValueClass` is replaced by one with files that are keyed by a worker's slot instead of its process id: a new
  worker continues with the counters of the one whose slot it takes, and files do not pile up. The files are not
  memory-mapped: service/monitoring/slot_files.py has the reason.
- `mmap_dict.mmap_key` makes the keys, and `MultiProcessCollector._accumulate_metrics` merges the samples of all files.
- `Histogram._upper_bounds`, `._buckets` and `._sum` are read, to add a batch of values with one increment a bucket.

tests/service/monitoring/test_prometheus_compat.py fails if an upgrade changes one of them.
"""

import json
import logging
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from prometheus_client import Counter, Gauge, Histogram, values
from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import mmap_key
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from service.monitoring import slot_files
from service.monitoring.slot_files import DamagedFile, Entry, SlotFiles

MAX_LOGGED_FILES = 100

_VALUE = struct.Struct("=d")
_logger = logging.getLogger(__name__)


def use_slot_files(directory: Path, slot: int) -> None:
    """Keep the metrics of this process in files of `directory`, keyed by `slot`.

    For a process that serves one application, before its `Metrics` are created. No two running processes may have the
    same slot. A file that cannot be written is logged; its values stay in memory.
    """
    values.ValueClass = _value_class(SlotFiles(directory, slot))


def used_slot_files() -> SlotFiles | None:
    """The files that `use_slot_files` opened; None if it was not called."""
    return getattr(values.ValueClass, "files", None)


def _value_class(slot: SlotFiles) -> type:
    lock, pack_into, unpack_from = slot.lock, _VALUE.pack_into, _VALUE.unpack_from

    class SlotValue:
        """A float in the file of a slot, with the interface of prometheus_client's values."""

        _multiprocess = True
        files = slot

        def __init__(  # noqa: PLR0913, PLR0917 - as prometheus_client calls it
            self,
            typ: str,
            metric_name: str,
            name: str,
            labelnames: Sequence[str],
            labelvalues: Sequence[str],
            help_text: str,
            multiprocess_mode: str = "",
            **_: Any,
        ) -> None:
            kind = f"{typ}_{multiprocess_mode}" if typ == "gauge" else typ
            key = mmap_key(metric_name, name, list(labelnames), list(labelvalues), help_text)
            self._file, self._position = slot.add(kind, key)
            self._buffer = self._file.buffer

        def inc(self, amount: float) -> None:
            with lock:
                (value,) = unpack_from(self._buffer, self._position)
                pack_into(self._buffer, self._position, value + amount)
                self._file.changed = True

        def set(self, value: float, timestamp: float | None = None) -> None:  # noqa: ARG002 - for another mode of gauges
            with lock:
                if value != unpack_from(self._buffer, self._position)[0]:
                    pack_into(self._buffer, self._position, value)
                    self._file.changed = True

        def get(self) -> float:
            with lock:
                (value,) = unpack_from(self._buffer, self._position)
                return float(value)

        def set_exemplar(self, exemplar: object) -> None:
            """Ignored: the files have no room for exemplars."""

        def get_exemplar(self) -> None:
            return None

    return SlotValue


class MetricSchema(NamedTuple):
    """What the entries of a metric look like: its type and the names of its labels."""

    type: str
    labels: frozenset[str]


class _Key(NamedTuple):
    metric: str
    sample: str
    labels: tuple[tuple[str, str], ...]
    help: str


class SlotFilesCollector(Collector):
    """The metrics of all slots. The values of this process come from memory: they need no file that can be read."""

    def __init__(self, directory: Path, schema: Mapping[str, MetricSchema], own: SlotFiles | None) -> None:
        """Collect from `directory`.

        Args:
            directory: the directory of the files; it may vanish.
            schema: the metrics of the service, by name. A file with other entries is skipped.
            own: the files of this process.
        """
        self._directory, self._schema, self._own = directory, schema, own
        self._logged: set[str] = set()

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of all files that can be read; each other file is logged once."""
        own = self._own.entries() if self._own else {}
        metrics: dict[str, Metric] = {}
        keys: dict[str, _Key] = {}
        for path in sorted({*self._directory.glob("*.db"), *own}):
            try:
                kind = slot_files.kind_of(path)
                if kind is None:
                    raise DamagedFile("its name is not that of a metric file")  # noqa: TRY301 - one place that skips
                if path in own:
                    parsed = self._parse_known(own[path], kind[0], keys)
                else:
                    parsed = [(self._key(entry, kind[0], keys), entry.value) for entry in slot_files.read(path)]
            except FileNotFoundError:
                continue
            except (OSError, DamagedFile) as error:
                self._log_once(path, error)
                continue
            _add_samples(metrics, *kind, parsed)
        yield from MultiProcessCollector._accumulate_metrics(metrics, accumulate=True)  # type: ignore[no-untyped-call]  # noqa: SLF001

    def _parse_known(self, entries: Sequence[Entry], kind: str, keys: dict[str, _Key]) -> list[tuple[_Key, float]]:
        """Parse the entries of this process, without foreign ones that its file had before."""
        parsed = []
        for entry in entries:
            with suppress(DamagedFile):
                parsed.append((self._key(entry, kind, keys), entry.value))
        return parsed

    def _key(self, entry: Entry, kind: str, keys: dict[str, _Key]) -> _Key:
        key = keys.get(entry.key)
        if key is None:
            key = keys[entry.key] = self._parse_key(entry.key, kind.partition("_")[0])
        return key

    def _parse_key(self, text: str, metric_type: str) -> _Key:
        """Parse a key.

        Raises:
            DamagedFile: it is not that of a metric of the service.
        """
        try:
            metric, sample, labels, description = json.loads(text)
            schema = self._schema[metric]
            extra = labels.keys() - schema.labels
            if "le" in extra:
                float(labels["le"])
            valid = (
                schema.type == metric_type
                and sample.startswith(metric)
                and schema.labels <= labels.keys()
                and extra <= ({"le"} if metric_type == "histogram" else set())
                and all(type(value) is str for value in (description, *labels.values()))
            )
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            valid = False
        if not valid:
            raise DamagedFile(f"it has the key {text[:80]!r}, which is not that of a metric of the service")
        return _Key(metric, sample, tuple(sorted(labels.items())), description)

    def _log_once(self, path: Path, error: Exception) -> None:
        if path.name not in self._logged and len(self._logged) < MAX_LOGGED_FILES:
            self._logged.add(path.name)
            _logger.warning("/metrics skips %s: %s", path, getattr(error, "strerror", None) or error)


def _add_samples(metrics: dict[str, Metric], kind: str, slot: int, parsed: Sequence[tuple[_Key, float]]) -> None:
    metric_type, _, mode = kind.partition("_")
    for (name, sample, labels, description), value in parsed:
        metric = metrics.get(name)
        if metric is None:
            metric = metrics[name] = Metric(name, description, metric_type)
            metric._multiprocess_mode = mode  # type: ignore[attr-defined]  # noqa: SLF001
        pid = (("pid", str(slot)),) if mode else ()
        metric.add_sample(sample, labels + pid, value)  # type: ignore[arg-type]


class BatchHistogram(Histogram):
    """A histogram that adds a batch of values with one increment a bucket, where `observe` makes one a value."""

    def add(self, amounts: npt.ArrayLike) -> None:
        """Observe each of the amounts, float [N]; NaN and infinity are ignored, as a sum would keep them for good."""
        finite = np.asarray(amounts, np.float64)
        total = float(finite.sum())
        if not math.isfinite(total):
            finite = finite[np.isfinite(finite)]
            total = float(finite.sum())
        counts = np.bincount(np.searchsorted(self._upper_bounds, finite))
        for bucket, count in zip(self._buckets, counts.tolist(), strict=False):
            if count:
                bucket.inc(count)
        self._sum.inc(total)


class BatchCounter(Counter):
    """A counter with the interface of `BatchHistogram`."""

    def add(self, amounts: Sequence[float]) -> None:
        """Increment by the sum of the amounts."""
        self.inc(sum(amounts))


class FiniteGauge(Gauge):
    """A gauge that keeps its value when it is set to NaN or infinity."""

    def set(self, value: float) -> None:
        """Set the gauge to a finite value."""
        if math.isfinite(value):
            super().set(value)
