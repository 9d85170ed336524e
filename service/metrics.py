"""Every Prometheus metric, in one place, all named digits_*.

Under gunicorn the workers share them through memory-mapped files, as prometheus_client's multiprocess
mode does, but keyed by the worker's slot instead of its process id: a new worker goes on in the file of
the one whose slot it takes, so counters survive a crash and the files do not pile up.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

REQUEST_SECONDS = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
STAGE_SECONDS = (0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.01, 0.1, 1.0)
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384)
CONFIDENCES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 1.0)


def share_between_workers(directory: Path, slot: int) -> None:
    """Put this process's metrics into files of `directory`, keyed by `slot`.

    For a process that serves one application, before that is created. No two running processes may have
    the same slot.
    """
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
    values.ValueClass = values.MultiProcessValue(lambda: slot)  # type: ignore[no-untyped-call]


class BatchHistogram(Histogram):
    """A histogram that takes a batch at once: one increment a bucket, where `observe` makes one a value."""

    def observe_all(self, amounts: npt.NDArray[np.floating[Any]]) -> None:
        """As `observe` for each of the amounts [N]."""
        amounts = amounts.astype(np.float64)
        counts = np.bincount(np.searchsorted(self._upper_bounds, amounts))
        for bucket, count in zip(self._buckets, counts.tolist(), strict=False):
            if count:
                bucket.inc(count)
        self._sum.inc(float(amounts.sum()))


class Metrics:
    """The metrics of one application."""

    def __init__(self, shared: Path | None = None) -> None:
        """Make them; `shared` is the directory given to `share_between_workers`, if it was called."""
        self._shared = shared
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "digits_http_requests", "Requests answered.", ["route", "method", "status"], registry=registry
        )
        self.request_seconds = Histogram(
            "digits_http_request_duration_seconds",
            "Time from the whole request head to the answer.",
            ["route"],
            buckets=REQUEST_SECONDS,
            registry=registry,
        )
        self.in_flight = Gauge(
            "digits_in_flight_requests", "Requests being answered.", multiprocess_mode="livesum", registry=registry
        )
        self.stage_seconds = Histogram(
            "digits_stage_seconds",
            "Time in each stage of a prediction: decode, infer, encode.",
            ["stage"],
            buckets=STAGE_SECONDS,
            registry=registry,
        )
        self.batch_size = Histogram(
            "digits_batch_size", "Pictures in a request.", buckets=BATCH_SIZES, registry=registry
        )
        self.predictions = Counter("digits_predictions", "Digits answered.", ["digit"], registry=registry)
        self.confidence = BatchHistogram(
            "digits_prediction_confidence", "Confidence of the answers.", buckets=CONFIDENCES, registry=registry
        )
        self.uncertain = Counter(
            "digits_uncertain_predictions", "Answers under the version's confidence threshold.", registry=registry
        )
        self.rejected = Counter(
            "digits_rejected", "Requests to predict that were refused.", ["reason"], registry=registry
        )
        self.model_info = Gauge(
            "digits_model_info",
            "1 for the version and the runtime in use.",
            ["version", "runtime"],
            multiprocess_mode="livemax",
            registry=registry,
        )
        self.model_loaded = Gauge(
            "digits_model_loaded_timestamp_seconds",
            "When the version in use was loaded, in Unix time.",
            multiprocess_mode="livemax",
            registry=registry,
        )
        self.load_failures = Counter("digits_model_load_failures", "Versions refused.", ["reason"], registry=registry)

    def model_changed(self, version: str, runtime: str, before: tuple[str, str] | None) -> None:
        """A version came into use, in place of `before` (version, runtime)."""
        if before:
            self.model_info.labels(*before).set(0)
        self.model_info.labels(version, runtime).set(1)
        self.model_loaded.set(time.time())

    def predicted(self, digits: npt.NDArray[np.intp], confidence: npt.NDArray[np.float32], uncertain: int) -> None:
        """Count the answers to a batch: digits and confidence [N], and how many were uncertain."""
        self.batch_size.observe(len(digits))
        for digit, count in enumerate(np.bincount(digits, minlength=10).tolist()):
            if count:
                self.predictions.labels(str(digit)).inc(count)
        self.confidence.observe_all(confidence)
        if uncertain:
            self.uncertain.inc(uncertain)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage of a prediction."""
        with self.stage_seconds.labels(name).time():
            yield

    def exposition(self) -> bytes:
        """All metrics of all workers in Prometheus's text format 0.0.4."""
        source: Collector = self._registry
        if self._shared is not None:
            source = MultiProcessCollector(None, str(self._shared))  # type: ignore[no-untyped-call]
        shown = CollectorRegistry()
        shown.register(_InUse(source))
        return generate_latest(shown)


class _InUse(Collector):
    """Leaves out `digits_model_info` of versions that are no longer in use: their value is 0."""

    def __init__(self, source: Collector) -> None:
        self._source = source

    def collect(self) -> Iterator[Metric]:
        """The metrics, as a registry asks for them."""
        for metric in self._source.collect():
            if metric.name == "digits_model_info":
                metric.samples = [sample for sample in metric.samples if sample.value]
            yield metric
