"""The exposition, compared with what a person would write; and several processes that share it."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.multiprocess import mark_process_dead

from service.monitoring.metrics import CONFIDENCE_BUCKETS, BatchHistogram, Metrics
from tests.conftest import REPOSITORY

WORKER = """
import sys
from pathlib import Path
import numpy as np
from service.monitoring.metrics import Metrics, use_slot_files
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
print("counted", flush=True)
sys.stdin.read()
"""


def samples(metrics: Metrics, *names: str) -> list[str]:
    """The samples of these metrics, without the times of their creation."""
    lines = metrics.exposition().decode().splitlines()
    return [line for line in lines if line.startswith(names) and "_created" not in line]


def test_the_exposition_of_two_batches() -> None:
    metrics = Metrics()
    metrics.predictions_made([7, 7, 1], np.array([0.5, 0.25, 1.0], np.float32), 2)
    metrics.predictions_made([7], np.array([0.998], np.float32), 0)
    text = metrics.exposition().decode()
    predictions = text[text.index("# HELP digits_predictions_total") : text.index("# HELP digits_predictions_created")]
    assert predictions == (
        "# HELP digits_predictions_total Digits answered.\n"
        "# TYPE digits_predictions_total counter\n"
        'digits_predictions_total{digit="1"} 1.0\n'
        'digits_predictions_total{digit="7"} 3.0\n'
    )
    assert samples(metrics, "digits_uncertain_predictions_total") == ["digits_uncertain_predictions_total 2.0"]
    below = {0.2: 0, 0.3: 1, 0.4: 1, 0.5: 2, 0.6: 2, 0.7: 2, 0.8: 2, 0.9: 2, 0.95: 2, 0.99: 2, 0.999: 3, 1.0: 4}
    assert samples(metrics, "digits_prediction_confidence_bucket", "digits_prediction_confidence_count") == [
        *(f'digits_prediction_confidence_bucket{{le="{bound}"}} {below[bound]}.0' for bound in CONFIDENCE_BUCKETS),
        'digits_prediction_confidence_bucket{le="+Inf"} 4.0',
        "digits_prediction_confidence_count 4.0",
    ]
    assert samples(metrics, "digits_pictures_per_request_bucket")[:3] == [
        'digits_pictures_per_request_bucket{le="1.0"} 1.0',
        'digits_pictures_per_request_bucket{le="2.0"} 1.0',
        'digits_pictures_per_request_bucket{le="4.0"} 2.0',
    ]


def test_every_metric_of_the_contract_is_there_and_no_other() -> None:
    declared = re.findall(r"^# TYPE (\S+) (\S+)$", Metrics().exposition().decode(), re.MULTILINE)
    assert sorted(line for line in declared if not line[0].endswith("_created")) == [
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


def test_a_stage_that_fails_is_timed_too() -> None:
    metrics = Metrics()
    with pytest.raises(ValueError, match="broken"), metrics.time_stage("decode"):
        raise ValueError("broken")
    assert samples(metrics, "digits_stage_duration_seconds_count") == [
        'digits_stage_duration_seconds_count{stage="decode"} 1.0'
    ]


@contextmanager
def worker(directory: Path, slot: int, *, requests: int, version: int = 1) -> Iterator[None]:
    """A process that has counted so many requests, one of them still in flight; killed at the end."""
    command = [sys.executable, "-c", WORKER, str(directory), str(slot), str(requests), str(version)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "counted\n"
            yield
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
            mark_process_dead(slot, str(directory))  # type: ignore[no-untyped-call]


def shared(directory: Path) -> list[str]:
    names = (
        "digits_http_requests_total",
        "digits_in_flight_requests",
        "digits_model_info",
        "digits_pictures_per_request_sum",
    )
    return sorted(samples(Metrics(directory), *names))


def test_counts_add_up_over_workers_and_outlive_them(tmp_path: Path) -> None:
    counted = 'digits_http_requests_total{method="POST",route="/predict",status="200"}'
    in_use = 'digits_model_info{runtime="litert",version="%d"} 1.0'
    with worker(tmp_path, 0, requests=3):
        with worker(tmp_path, 1, requests=4):
            assert shared(tmp_path) == [
                f"{counted} 7.0",
                "digits_in_flight_requests 2.0",
                in_use % 1,
                "digits_pictures_per_request_sum 14.0",
            ]
            files = {file.name for file in tmp_path.iterdir()}
        assert shared(tmp_path) == [
            f"{counted} 7.0",
            "digits_in_flight_requests 1.0",
            in_use % 1,
            "digits_pictures_per_request_sum 14.0",
        ]
        for restart in range(1, 4):
            with worker(tmp_path, 1, requests=10, version=2):
                assert shared(tmp_path) == [
                    f"{counted} {7 + 10 * restart}.0",
                    "digits_in_flight_requests 2.0",
                    in_use % 1,
                    in_use % 2,
                    f"digits_pictures_per_request_sum {14 + 20 * restart}.0",
                ]
                assert {file.name for file in tmp_path.iterdir()} == files
    assert shared(tmp_path) == [f"{counted} 37.0", "digits_pictures_per_request_sum 74.0"]


def test_a_batch_counts_as_its_values_one_by_one() -> None:
    amounts = np.concatenate([np.random.default_rng(0).random(500), CONFIDENCE_BUCKETS, [0.0]]).astype(np.float32)
    registries = CollectorRegistry(), CollectorRegistry()
    whole = BatchHistogram("x", "x", buckets=CONFIDENCE_BUCKETS, registry=registries[0])
    single = Histogram("x", "x", buckets=CONFIDENCE_BUCKETS, registry=registries[1])
    whole.add(amounts)
    for amount in amounts.tolist():
        single.observe(amount)
    batch, one_by_one = (
        {
            (sample.name, *sample.labels.values()): sample.value
            for family in registry.collect()
            for sample in family.samples
        }
        for registry in registries
    )
    assert batch.pop(("x_created",))
    assert one_by_one.pop(("x_created",))
    assert batch == pytest.approx(one_by_one, rel=1e-12)
