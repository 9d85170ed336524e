"""The exposition, compared with literal text, and metrics that several worker processes share."""

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from service.monitoring.metrics import CONFIDENCE_BUCKETS, Metrics
from service.monitoring.slot_files import clear_live_gauges
from tests import exposition
from tests.conftest import REPOSITORY

WORKER = """
import sys
from pathlib import Path
import numpy as np
from service.monitoring.metrics import Metrics
from service.monitoring.prometheus_compat import use_slot_files
directory, slot, requests, version = Path(sys.argv[1]), *map(int, sys.argv[2:])
use_slot_files(directory, slot)
metrics = Metrics(directory)
metrics.model_changed("0", "litert", None)
metrics.model_changed(str(version), "litert", ("0", "litert"))
metrics.request_started()
for _ in range(requests):
    metrics.request_completed("/predict", "POST", 200, 0.001)
    metrics.predictions_made([7, 7], np.ones(2, np.float32), 0)
metrics.flush()
print("recorded", flush=True)
sys.stdin.read()
"""


def samples(metrics: Metrics, *names: str) -> list[str]:
    """The lines of the exposition that begin with one of these names, without creation times."""
    return exposition.samples(metrics.exposition().decode(), *names)


def test_exposition_of_two_requests() -> None:
    metrics = Metrics()
    metrics.predictions_made([7, 7, 1], np.array([0.5, 0.25, 1.0], np.float32), 2)
    metrics.predictions_made([7], np.array([0.998], np.float32), 0)
    text = metrics.exposition().decode()
    predictions = text[text.index("# HELP digits_predictions_total") : text.index("# HELP digits_predictions_created")]
    assert predictions == (
        "# HELP digits_predictions_total Predictions by digit.\n"
        "# TYPE digits_predictions_total counter\n"
        'digits_predictions_total{digit="1"} 1.0\n'
        'digits_predictions_total{digit="7"} 3.0\n'
    )
    assert samples(metrics, "digits_uncertain_predictions_total") == ["digits_uncertain_predictions_total 2.0"]
    at_most = {0.2: 0, 0.3: 1, 0.4: 1, 0.5: 2, 0.6: 2, 0.7: 2, 0.8: 2, 0.9: 2, 0.95: 2, 0.99: 2, 0.999: 3, 1.0: 4}
    assert samples(metrics, "digits_prediction_confidence_bucket", "digits_prediction_confidence_count") == [
        *(f'digits_prediction_confidence_bucket{{le="{bound}"}} {at_most[bound]}.0' for bound in CONFIDENCE_BUCKETS),
        'digits_prediction_confidence_bucket{le="+Inf"} 4.0',
        "digits_prediction_confidence_count 4.0",
    ]
    assert samples(metrics, "digits_pictures_per_request_bucket")[:3] == [
        'digits_pictures_per_request_bucket{le="1.0"} 1.0',
        'digits_pictures_per_request_bucket{le="2.0"} 1.0',
        'digits_pictures_per_request_bucket{le="4.0"} 2.0',
    ]


def test_exposition_declares_exactly_the_metrics_of_the_contract() -> None:
    declared = re.findall(r"^# TYPE (\S+) (\S+)$", Metrics().exposition().decode(), re.MULTILINE)
    assert sorted(line for line in declared if not line[0].endswith("_created")) == [
        ("digits_aborted_responses_total", "counter"),
        ("digits_feedback_total", "counter"),
        ("digits_http_request_duration_seconds", "histogram"),
        ("digits_http_requests_total", "counter"),
        ("digits_in_flight_limit", "gauge"),
        ("digits_in_flight_requests", "gauge"),
        ("digits_inference_batch_size", "histogram"),
        ("digits_model_info", "gauge"),
        ("digits_model_load_failures_total", "counter"),
        ("digits_model_loaded_timestamp_seconds", "gauge"),
        ("digits_pictures_per_request", "histogram"),
        ("digits_prediction_confidence", "histogram"),
        ("digits_predictions_total", "counter"),
        ("digits_reference_class_share", "gauge"),
        ("digits_reference_confidence", "gauge"),
        ("digits_rejected_total", "counter"),
        ("digits_stage_duration_seconds", "histogram"),
        ("digits_uncertain_predictions_total", "counter"),
    ]


def test_stage_that_raises_is_timed() -> None:
    metrics = Metrics()
    with pytest.raises(ValueError, match="broken"), metrics.time_stage("decode"):
        raise ValueError("broken")
    assert samples(metrics, "digits_stage_duration_seconds_count") == [
        'digits_stage_duration_seconds_count{stage="decode"} 1.0'
    ]


def test_each_event_is_in_its_metric() -> None:
    metrics = Metrics()
    metrics.request_completed("/predict", "POST", 200, 0.5)
    metrics.inference_completed(3, 0.25)
    metrics.stage_completed("encode", 0.125)
    metrics.feedback_received(7)
    metrics.model_load_failed("checksum")
    metrics.prediction_rejected("no_digit")
    metrics.set_in_flight_limit(40)
    assert samples(
        metrics,
        "digits_feedback_total",
        "digits_http_request_duration_seconds_sum",
        "digits_http_requests_total",
        "digits_in_flight_limit",
        "digits_inference_batch_size_sum",
        "digits_model_load_failures_total",
        "digits_rejected_total",
        "digits_stage_duration_seconds_sum",
    ) == [
        'digits_http_requests_total{method="POST",route="/predict",status="200"} 1.0',
        'digits_http_request_duration_seconds_sum{route="/predict"} 0.5',
        "digits_in_flight_limit 40.0",
        'digits_stage_duration_seconds_sum{stage="infer"} 0.25',
        'digits_stage_duration_seconds_sum{stage="encode"} 0.125',
        "digits_inference_batch_size_sum 3.0",
        'digits_rejected_total{reason="no_digit"} 1.0',
        'digits_model_load_failures_total{reason="checksum"} 1.0',
        'digits_feedback_total{digit="7"} 1.0',
    ]


@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        (
            "digits_http_request_duration_seconds",
            "0.00025 0.0005 0.001 0.0025 0.005 0.01 0.025 0.05 0.1 0.25 0.5 1.0 2.5 5.0 +Inf",
        ),
        ("digits_stage_duration_seconds", "1e-05 2.5e-05 5e-05 0.0001 0.00025 0.0005 0.001 0.0025 0.01 0.1 1.0 +Inf"),
        (
            "digits_inference_batch_size",
            "1.0 2.0 4.0 8.0 16.0 32.0 64.0 128.0 256.0 512.0 1024.0 4096.0 16384.0 +Inf",
        ),
    ],
)
def test_bucket_bounds(name: str, bounds: str) -> None:
    metrics = Metrics()
    metrics.request_completed("/predict", "POST", 200, 0.5)
    metrics.inference_completed(3, 0.25)
    found = [re.search(r'le="([^"]+)"', line) for line in samples(metrics, f"{name}_bucket")]
    assert [match[1] for match in found if match] == bounds.split()


def test_loading_time_is_the_current_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.monitoring.metrics.time.time", lambda: 1_700_000_000.5)
    metrics = Metrics()
    metrics.model_changed("1", "litert", None)
    assert samples(metrics, "digits_model_loaded_timestamp_seconds") == [
        "digits_model_loaded_timestamp_seconds 1.7000000005e+09"
    ]


def test_unknown_method_is_counted_as_other() -> None:
    metrics = Metrics()
    metrics.request_completed("/predict", "BREW", 405, 0.001)
    assert samples(metrics, "digits_http_requests_total") == [
        'digits_http_requests_total{method="OTHER",route="/predict",status="405"} 1.0'
    ]


def test_requests_in_flight_are_started_but_not_finished() -> None:
    metrics = Metrics()
    for _ in range(3):
        metrics.request_started()
    metrics.request_finished()
    assert samples(metrics, "digits_in_flight_requests") == ["digits_in_flight_requests 2.0"]


def test_model_info_has_the_version_in_use_only() -> None:
    metrics = Metrics()
    metrics.model_changed("1", "litert", None)
    metrics.model_changed("2", "tensorflow", ("1", "litert"))
    assert samples(metrics, "digits_model_info") == ['digits_model_info{runtime="tensorflow",version="2"} 1.0']


def test_thread_flushes_until_close_and_close_flushes(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = Metrics()
    flushed = threading.Event()
    monkeypatch.setattr(metrics, "flush", flushed.set)
    metrics.start()
    assert flushed.wait(60)
    flushed.clear()
    assert flushed.wait(60), "flushed only once"
    metrics.close()
    assert metrics._flusher
    assert not metrics._flusher.is_alive()
    monkeypatch.undo()
    metrics.prediction_rejected("no_digit")
    metrics.close()
    assert metrics._registry.get_sample_value("digits_rejected_total", {"reason": "no_digit"}) == 1


@contextmanager
def worker(directory: Path, slot: int, *, requests: int, version: int = 1) -> Iterator[None]:
    """A process that has recorded this many requests, and one more in flight; killed with SIGKILL at the end."""
    command = [sys.executable, "-c", WORKER, str(directory), str(slot), str(requests), str(version)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "recorded\n"
            yield
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
            clear_live_gauges(directory, slot)


def shared_samples(directory: Path) -> list[str]:
    """Samples of all workers, as a process that records nothing itself exposes them."""
    names = (
        "digits_http_requests_total",
        "digits_in_flight_requests",
        "digits_model_info",
        "digits_pictures_per_request_sum",
    )
    return sorted(samples(Metrics(directory), *names))


def test_counters_are_summed_over_workers_and_outlive_them(tmp_path: Path) -> None:
    requests_total = 'digits_http_requests_total{method="POST",route="/predict",status="200"}'
    in_use = 'digits_model_info{runtime="litert",version="%d"} 1.0'
    with worker(tmp_path, 0, requests=3):
        with worker(tmp_path, 1, requests=4):
            assert shared_samples(tmp_path) == [
                f"{requests_total} 7.0",
                "digits_in_flight_requests 2.0",
                in_use % 1,
                "digits_pictures_per_request_sum 14.0",
            ]
            files = {file.name for file in tmp_path.iterdir()}
        assert shared_samples(tmp_path) == [
            f"{requests_total} 7.0",
            "digits_in_flight_requests 1.0",
            in_use % 1,
            "digits_pictures_per_request_sum 14.0",
        ]
        for restart in range(1, 4):
            with worker(tmp_path, 1, requests=10, version=2):
                assert shared_samples(tmp_path) == [
                    f"{requests_total} {7 + 10 * restart}.0",
                    "digits_in_flight_requests 2.0",
                    in_use % 1,
                    in_use % 2,
                    f"digits_pictures_per_request_sum {14 + 20 * restart}.0",
                ]
                assert {file.name for file in tmp_path.iterdir()} == files
    assert shared_samples(tmp_path) == [f"{requests_total} 37.0", "digits_pictures_per_request_sum 74.0"]
