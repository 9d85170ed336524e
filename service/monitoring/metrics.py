"""The Prometheus metrics of the service, all named digits_*.

Events of a request are appended to a buffer, and added to the metrics ten times a second, before each exposition and
at the end: an append takes 0.1 microseconds, an increment of a metric that workers share 2.

The workers of gunicorn share their metrics through files, as in prometheus_client's multiprocess mode, but keyed by the
worker's slot: see service/monitoring/slot_files.py.
"""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from service.monitoring.drift_reference import ReferenceDistribution
from service.monitoring.prometheus_compat import (
    BatchCounter,
    BatchHistogram,
    FiniteGauge,
    MetricSchema,
    SlotFilesCollector,
    used_slot_files,
)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
FLUSH_SECONDS = 0.1

REQUEST_DURATION_BUCKETS = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
STAGE_DURATION_BUCKETS = (0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.01, 0.1, 1.0)
BATCH_SIZE_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384)
CONFIDENCE_BUCKETS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 1.0)

PER_VERSION_METRICS = frozenset({"digits_model_info", "digits_reference_class_share", "digits_reference_confidence"})
"""Gauges of which a value of 0 means: not of the version in use, or not known of it."""


class _LabelCache(dict[Any, Any]):
    """The children of a metric by their label values, a tuple or a single value; each is looked up once."""

    def __init__(self, metric: BatchCounter | BatchHistogram) -> None:
        super().__init__()
        self._metric = metric

    def __missing__(self, labels: Any) -> Any:
        child = self[labels] = self._metric.labels(*(labels if isinstance(labels, tuple) else (labels,)))
        return child


class Metrics:
    """The metrics of one application. Every method may be called from several threads at once."""

    def __init__(self, directory: Path | None = None) -> None:
        """Create the metrics; `directory` is the one given to `use_slot_files`, if that was called."""
        self._registry = registry = CollectorRegistry()
        self._schema: dict[str, MetricSchema] = {}
        self._files = used_slot_files() if directory else None
        self._source: Collector = registry
        if directory:
            self._source = SlotFilesCollector(directory, self._schema, self._files)
        self._buffer: deque[tuple[Any, float]] = deque()
        self._flush_lock = threading.Lock()
        self._in_flight_lock = threading.Lock()
        self._in_flight_now = 0
        self._stop = threading.Event()
        self._flusher: threading.Thread | None = None

        def declare(kind: str, name: str, labels: Sequence[str]) -> str:
            self._schema[f"digits_{name}"] = MetricSchema(kind, frozenset(labels))
            return f"digits_{name}"

        def counter(name: str, description: str, *labels: str) -> BatchCounter:
            return BatchCounter(declare("counter", name, labels), description, labels, registry=registry)

        def histogram(name: str, description: str, buckets: Sequence[float], *labels: str) -> BatchHistogram:
            declared = declare("histogram", name, labels)
            return BatchHistogram(declared, description, labels, buckets=buckets, registry=registry)

        def gauge(name: str, description: str, mode: Any, *labels: str) -> FiniteGauge:
            declared = declare("gauge", name, labels)
            return FiniteGauge(declared, description, labels, multiprocess_mode=mode, registry=registry)

        self._requests = _LabelCache(counter("http_requests", "HTTP requests completed.", "route", "method", "status"))
        self._request_duration = _LabelCache(
            histogram(
                "http_request_duration_seconds",
                "Duration from the complete request head to the response.",
                REQUEST_DURATION_BUCKETS,
                "route",
            )
        )
        self._in_flight = gauge("in_flight_requests", "Requests in flight.", "livesum")
        self._in_flight_limit = gauge("in_flight_limit", "Predictions that may be in flight at once.", "livesum")
        self._stage_duration = _LabelCache(
            histogram(
                "stage_duration_seconds",
                "Duration of each stage of a predict request: decode, infer, encode.",
                STAGE_DURATION_BUCKETS,
                "stage",
            )
        )
        self._pictures_per_request = histogram(
            "pictures_per_request", "Images classified for one predict request.", BATCH_SIZE_BUCKETS
        )
        self._inference_batch_size = histogram(
            "inference_batch_size", "Images in one call of the model.", BATCH_SIZE_BUCKETS
        )
        self._predictions = _LabelCache(counter("predictions", "Predictions by digit.", "digit"))
        self._confidence = histogram(
            "prediction_confidence", "Confidence of the predictions, 0 to 1.", CONFIDENCE_BUCKETS
        )
        self._uncertain = counter("uncertain_predictions", "Predictions below the version's confidence threshold.")
        self._rejected = _LabelCache(counter("rejected", "Predict requests rejected, by reason.", "reason"))
        self._aborted = _LabelCache(
            counter(
                "aborted_responses", "Responses discarded because the client did not read them, by reason.", "reason"
            )
        )
        self._model_info = gauge(
            "model_info", "1 for the version and the runtime in use.", "livemax", "version", "runtime"
        )
        self._model_loaded = gauge(
            "model_loaded_timestamp_seconds", "Unix time at which the version in use was loaded.", "livemax"
        )
        self._load_failures = counter("model_load_failures", "Versions rejected when loaded, by reason.", "reason")
        self._feedback = counter("feedback", "Feedback received, by the correct digit.", "digit")
        self._reference_class_share = gauge(
            "reference_class_share",
            "Share of each digit in the predictions on the test set, of the version in use.",
            "livemax",
            "digit",
        )
        self._reference_confidence = gauge(
            "reference_confidence",
            "Share of the predictions on the test set with a confidence of at most le, of the version in use.",
            "livemax",
            "le",
        )

    def request_started(self) -> None:
        """Count a request as in flight, until `request_finished`."""
        with self._in_flight_lock:
            self._in_flight_now += 1

    def request_finished(self) -> None:
        """Count a request as no longer in flight; call it once for each `request_started`."""
        with self._in_flight_lock:
            self._in_flight_now -= 1

    def request_completed(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a response and its duration in seconds.

        `route` is the pattern of the route, so that no path that a client sends becomes a label; unusual methods are
        counted as OTHER for the same reason.
        """
        method = method if method in METHODS else "OTHER"
        self._buffer.append((self._requests[route, method, status], 1))
        self._buffer.append((self._request_duration[route], seconds))

    def prediction_rejected(self, reason: str) -> None:
        """Count a rejected predict request by its reason, `RequestError.reason`."""
        self._buffer.append((self._rejected[reason], 1))

    def response_aborted(self, reason: str) -> None:
        """Count a response that was discarded because the client did not read it: `timeout` or `memory`."""
        self._buffer.append((self._aborted[reason], 1))

    def predictions_made(self, digits: Sequence[int], confidence: npt.NDArray[np.float32], uncertain: int) -> None:
        """Count the predictions of one request: digits int [N], confidence float32 [N], and how many are uncertain."""
        self._buffer.append((self._pictures_per_request, len(digits)))
        if len(digits) == 1:
            self._buffer.append((self._predictions[digits[0]], 1))
            self._buffer.append((self._confidence, confidence[0]))
        else:
            for digit, count in enumerate(np.bincount(digits).tolist()):
                if count:
                    self._buffer.append((self._predictions[digit], count))
            self._confidence.add(confidence)
        if uncertain:
            self._buffer.append((self._uncertain, uncertain))

    def stage_completed(self, stage: str, seconds: float) -> None:
        """Record the duration in seconds of a stage of a predict request: decode, infer or encode."""
        self._buffer.append((self._stage_duration[stage], seconds))

    def inference_completed(self, images: int, seconds: float) -> None:
        """Record one call of the model: the number of images in its batch, and its duration in seconds."""
        self._buffer.append((self._inference_batch_size, images))
        self.stage_completed("infer", seconds)

    @contextmanager
    def time_stage(self, stage: str) -> Iterator[None]:
        """Record the duration of the `with` block as that of a stage, even if it raises."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.stage_completed(stage, time.perf_counter() - started)

    def set_in_flight_limit(self, limit: int) -> None:
        """Set the number of predictions that this process accepts at once."""
        self._in_flight_limit.set(limit)

    def model_changed(
        self,
        version: str,
        runtime: str,
        previous: tuple[str, str] | None,
        reference: ReferenceDistribution | None = None,
    ) -> None:
        """Set the version and the runtime in use, and the version's reference distribution.

        Args:
            version: the number of the version, in decimal.
            runtime: the name of the runtime, such as "litert".
            previous: version and runtime that were in use before, None for the first model.
            reference: the predictions on the version's test set; None if the version has no such statistics.
        """
        if previous:
            self._model_info.labels(*previous).set(0)
        self._model_info.labels(version, runtime).set(1)
        self._model_loaded.set(time.time())
        shares, cdf = reference or ReferenceDistribution()
        for digit in range(10):
            self._reference_class_share.labels(digit).set(shares[digit] if shares else 0)
        for bound in CONFIDENCE_BUCKETS:
            self._reference_confidence.labels(str(bound)).set(cdf.get(bound, 0))

    def model_load_failed(self, reason: str) -> None:
        """Count a version that was rejected when loaded, by reason."""
        self._load_failures.labels(reason).inc()

    def feedback_received(self, digit: int) -> None:
        """Count feedback by the digit that the picture shows, according to the client."""
        self._feedback.labels(digit).inc()

    def flush(self) -> None:
        """Add the buffered events to the metrics, and write these to the files of the slot if there are any."""
        with self._flush_lock:
            buffered = defaultdict(list)
            for _ in range(len(self._buffer)):
                metric, amount = self._buffer.popleft()
                buffered[metric].append(amount)
            for metric, amounts in buffered.items():
                metric.add(amounts)
            self._in_flight.set(self._in_flight_now)
            if self._files:
                self._files.write()

    def start(self) -> None:
        """Start a thread that flushes ten times a second, until `close`."""
        self._flusher = threading.Thread(target=self._flush_periodically, name="metrics", daemon=True)
        self._flusher.start()

    def close(self) -> None:
        """Stop the thread, and flush a last time."""
        self._stop.set()
        if self._flusher:
            self._flusher.join()
        self.flush()

    def _flush_periodically(self) -> None:
        while not self._stop.wait(FLUSH_SECONDS):
            self.flush()

    def predict_totals(self) -> "PredictTotals":
        """The totals of predict requests of all workers, of other workers as of their last flush."""
        self.flush()
        totals = PredictTotals()
        for metric in self._source.collect():
            for sample in metric.samples:
                totals = totals.with_sample(sample.name, sample.labels, sample.value)
        return totals

    def exposition(self) -> bytes:
        """The metrics of all workers in Prometheus's text format 0.0.4, of other workers as of their last flush."""
        self.flush()
        filtered = CollectorRegistry()
        filtered.register(_DropZeroSamples(self._source))
        return generate_latest(filtered)


@dataclass(frozen=True)
class PredictTotals:
    """Totals since the start of the service.

    images: that were predicted. model_calls: of any number of images. succeeded, failed: predict requests.
    stages: count and seconds of decode, infer and encode.
    """

    images: int = 0
    model_calls: int = 0
    succeeded: int = 0
    failed: int = 0
    stages: Mapping[str, tuple[int, float]] = field(default_factory=dict)

    def with_sample(self, name: str, labels: Mapping[str, str], value: float) -> "PredictTotals":
        """These totals and one sample of the metrics; other samples change nothing."""
        match name:
            case "digits_predictions_total":
                return replace(self, images=self.images + int(value))
            case "digits_inference_batch_size_count":
                return replace(self, model_calls=self.model_calls + int(value))
            case "digits_pictures_per_request_count":
                return replace(self, succeeded=self.succeeded + int(value))
            case "digits_rejected_total":
                return replace(self, failed=self.failed + int(value))
            case "digits_stage_duration_seconds_count" | "digits_stage_duration_seconds_sum":
                count, seconds = self.stages.get(labels["stage"], (0, 0.0))
                changed = (int(value), seconds) if name.endswith("count") else (count, value)
                return replace(self, stages={**self.stages, labels["stage"]: changed})
            case _:
                return self


class _DropZeroSamples(Collector):
    """Leaves out the samples of PER_VERSION_METRICS that are 0: a label of a shared gauge cannot be removed."""

    def __init__(self, source: Collector) -> None:
        self._source = source

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of the source, filtered."""
        for metric in self._source.collect():
            if metric.name in PER_VERSION_METRICS:
                metric.samples = [sample for sample in metric.samples if sample.value]
            yield metric
