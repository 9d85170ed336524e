"""Every Prometheus metric, in one place, all named digits_*.

What happens in a request is noted with one append a number, and added to the metrics ten times a second, before
each exposition and at the end: a note costs a tenth of a microsecond, an increment of a shared metric two.

Under gunicorn the workers share their metrics through memory-mapped files, as prometheus_client's multiprocess
mode does, but keyed by the worker's slot instead of its process id: a new worker goes on in the file of
the one whose slot it takes, so counters survive a crash and the files do not pile up.
"""

import os
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from service.monitoring.drift_reference import ReferenceDistribution

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
FLUSH_SECONDS = 0.1

REQUEST_DURATION_BUCKETS = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
STAGE_DURATION_BUCKETS = (0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.01, 0.1, 1.0)
BATCH_SIZE_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384)
PER_VERSION_METRICS = frozenset({"digits_model_info", "digits_reference_class_share", "digits_reference_confidence"})
CONFIDENCE_BUCKETS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 1.0)


def use_slot_files(directory: Path, slot: int) -> None:
    """Put this process's metrics into files of `directory`, keyed by `slot`.

    For a process that serves one application, before that is created. No two running processes may have
    the same slot.
    """
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
    values.ValueClass = values.MultiProcessValue(lambda: slot)  # type: ignore[no-untyped-call]


class BatchHistogram(Histogram):
    """A histogram that takes a batch at once: one increment a bucket, where `observe` makes one a value."""

    def add(self, amounts: npt.ArrayLike) -> None:
        """As `observe` for each of the amounts [N]."""
        amounts = np.asarray(amounts, np.float64)
        counts = np.bincount(np.searchsorted(self._upper_bounds, amounts))
        for bucket, count in zip(self._buckets, counts.tolist(), strict=False):
            if count:
                bucket.inc(count)
        self._sum.inc(float(amounts.sum()))


class BatchCounter(Counter):
    """A counter that takes many increments at once."""

    def add(self, amounts: Sequence[float]) -> None:
        """As `inc` for each of the amounts."""
        self.inc(sum(amounts))


class _LabelCache(dict[Any, Any]):
    """A metric's children by their labels, each looked up once."""

    def __init__(self, metric: BatchCounter | BatchHistogram) -> None:
        super().__init__()
        self._metric = metric

    def __missing__(self, labels: Any) -> Any:
        child = self._metric.labels(*(labels if isinstance(labels, tuple) else (labels,)))
        self[labels] = child
        return child


class Metrics:
    """The metrics of one application. Every method may be called from several threads at once."""

    def __init__(self, directory: Path | None = None) -> None:
        """Make them; `shared` is the directory given to `share_between_workers`, if it was called."""
        self._directory = directory
        self._registry = registry = CollectorRegistry()
        self._buffer: deque[tuple[Any, float]] = deque()
        self._flush_lock = threading.Lock()
        self._in_flight_lock = threading.Lock()
        self._in_flight_now = 0
        self._stop = threading.Event()
        self._flusher: threading.Thread | None = None

        def counter(name: str, meaning: str, *labels: str) -> BatchCounter:
            return BatchCounter(f"digits_{name}", meaning, labels, registry=registry)

        def histogram(name: str, meaning: str, buckets: Sequence[float], *labels: str) -> BatchHistogram:
            return BatchHistogram(f"digits_{name}", meaning, labels, buckets=buckets, registry=registry)

        def gauge(name: str, meaning: str, mode: Any, *labels: str) -> Gauge:
            return Gauge(f"digits_{name}", meaning, labels, multiprocess_mode=mode, registry=registry)

        self._requests = _LabelCache(counter("http_requests", "Requests answered.", "route", "method", "status"))
        self._seconds = _LabelCache(
            histogram(
                "http_request_duration_seconds",
                "Time from the whole request head to the answer.",
                REQUEST_DURATION_BUCKETS,
                "route",
            )
        )
        self._in_flight = gauge("in_flight_requests", "Requests being answered.", "livesum")
        self._in_flight_limit = gauge("in_flight_limit", "Predictions that are answered at once.", "livesum")
        stages = "Time in each stage of a prediction: decode, infer, encode."
        self._stages = _LabelCache(histogram("stage_duration_seconds", stages, STAGE_DURATION_BUCKETS, "stage"))
        self._pictures_per_request = histogram(
            "pictures_per_request", "Images in a request to predict.", BATCH_SIZE_BUCKETS
        )
        self._inference_batch_size = histogram(
            "inference_batch_size", "Images in a call of the model.", BATCH_SIZE_BUCKETS
        )
        self._predictions = _LabelCache(counter("predictions", "Digits answered.", "digit"))
        self._confidence = histogram("prediction_confidence", "Confidence of the answers.", CONFIDENCE_BUCKETS)
        self._uncertain = counter("uncertain_predictions", "Answers under the version's confidence threshold.")
        self._rejected = _LabelCache(counter("rejected", "Requests to predict that were refused.", "reason"))
        in_use = "1 for the version and the runtime in use."
        self._model_info = gauge("model_info", in_use, "livemax", "version", "runtime")
        self._model_loaded = gauge(
            "model_loaded_timestamp_seconds", "When the version in use was loaded, in Unix time.", "livemax"
        )
        self._load_failures = counter("model_load_failures", "Versions refused.", "reason")
        self._feedback = counter("feedback", "Feedback kept, by the right digit.", "digit")
        shares = "Share of each digit in the answers to the test set, of the version in use."
        self._class_shares = gauge("reference_class_share", shares, "livemax", "digit")
        at_most = "Share of answers to the test set that are at most so sure, of the version in use."
        self._confidence_at_most = gauge("reference_confidence", at_most, "livemax", "le")

    def request_started(self) -> None:
        """A request is being answered from now on."""
        with self._in_flight_lock:
            self._in_flight_now += 1

    def request_finished(self) -> None:
        """It no longer is."""
        with self._in_flight_lock:
            self._in_flight_now -= 1

    def request_completed(self, route: str, method: str, status: int, seconds: float) -> None:
        """A request was answered. `route` is a pattern: what a client types never becomes a label."""
        method = method if method in METHODS else "OTHER"
        self._buffer.append((self._requests[route, method, status], 1))
        self._buffer.append((self._seconds[route], seconds))

    def prediction_rejected(self, reason: str) -> None:
        """A request to predict was refused."""
        self._buffer.append((self._rejected[reason], 1))

    def predictions_made(self, digits: Sequence[int], confidence: npt.NDArray[np.float32], uncertain: int) -> None:
        """A batch was answered: digits and confidence [N], and how many were uncertain."""
        self._buffer.append((self._pictures_per_request, len(digits)))
        if len(digits) == 1:
            self._buffer.append((self._predictions[digits[0]], 1))
            self._buffer.append((self._confidence, confidence[0]))
        else:
            for digit, times in enumerate(np.bincount(digits, minlength=10).tolist()):
                if times:
                    self._buffer.append((self._predictions[digit], times))
            self._confidence.add(confidence)
        if uncertain:
            self._buffer.append((self._uncertain, uncertain))

    def stage_completed(self, stage: str, seconds: float) -> None:
        """A stage of a prediction took so long."""
        self._buffer.append((self._stages[stage], seconds))

    def inference_completed(self, images: int, seconds: float) -> None:
        """The model was called once, with a batch of `images`."""
        self._buffer.append((self._inference_batch_size, images))
        self.stage_completed("infer", seconds)

    @contextmanager
    def time_stage(self, name: str) -> Iterator[None]:
        """Time a stage of a prediction."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.stage_completed(name, time.perf_counter() - began)

    def set_in_flight_limit(self, in_flight: int) -> None:
        """This process answers so many predictions at once."""
        self._in_flight_limit.set(in_flight)

    def model_changed(
        self, version: str, runtime: str, before: tuple[str, str] | None, reference: ReferenceDistribution | None = None
    ) -> None:
        """A version came into use, in place of `before` (version, runtime)."""
        if before:
            self._model_info.labels(*before).set(0)
        self._model_info.labels(version, runtime).set(1)
        self._model_loaded.set(time.time())
        shares, at_most = reference or ReferenceDistribution()
        for digit in range(10):
            self._class_shares.labels(digit).set(shares[digit] if shares else 0)
        for bound in CONFIDENCE_BUCKETS:
            self._confidence_at_most.labels(str(bound)).set(at_most.get(bound, 0))

    def model_load_failed(self, reason: str) -> None:
        """A version was refused."""
        self._load_failures.labels(reason).inc()

    def feedback_received(self, digit: int) -> None:
        """Somebody said that a picture shows this digit."""
        self._feedback.labels(digit).inc()

    def flush(self) -> None:
        """Add what was noted to the metrics."""
        with self._flush_lock:
            noted = defaultdict(list)
            for _ in range(len(self._buffer)):
                metric, amount = self._buffer.popleft()
                noted[metric].append(amount)
            for metric, amounts in noted.items():
                metric.add(amounts)
            self._in_flight.set(self._in_flight_now)

    def start(self) -> None:
        """Flush ten times a second, in a thread, until `close`."""
        self._flusher = threading.Thread(target=self._flush_periodically, name="metrics", daemon=True)
        self._flusher.start()

    def close(self) -> None:
        """Flush a last time."""
        self._stop.set()
        if self._flusher:
            self._flusher.join()
        self.flush()

    def _flush_periodically(self) -> None:
        while not self._stop.wait(FLUSH_SECONDS):
            self.flush()

    def exposition(self) -> bytes:
        """All metrics of all workers in Prometheus's text format 0.0.4; other workers' up to their last flush."""
        self.flush()
        source: Collector = self._registry
        if self._directory is not None:
            source = MultiProcessCollector(None, str(self._directory))  # type: ignore[no-untyped-call]
        shown = CollectorRegistry()
        shown.register(_DropZeroSamples(source))
        return generate_latest(shown)


class _DropZeroSamples(Collector):
    """Leaves out what is not of a version in use, or not known of it: its value is 0."""

    def __init__(self, source: Collector) -> None:
        self._source = source

    def collect(self) -> Iterator[Metric]:
        """The metrics, as a registry asks for them."""
        for metric in self._source.collect():
            if metric.name in PER_VERSION_METRICS:
                metric.samples = [sample for sample in metric.samples if sample.value]
            yield metric
