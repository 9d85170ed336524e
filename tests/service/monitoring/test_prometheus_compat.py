"""prometheus_client still has the private names that the service uses, with the behaviour it relies on."""

import inspect
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, Histogram, values
from prometheus_client.metrics import Gauge

from service.monitoring import prometheus_compat
from service.monitoring.metrics import CONFIDENCE_BUCKETS
from service.monitoring.prometheus_compat import BatchCounter, BatchHistogram, remove_live_gauges, use_slot_files

UPGRADE = f"prometheus_client {version('prometheus_client')}: port service/monitoring/prometheus_compat.py"


@pytest.fixture
def slot_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with the metrics of slot 3, which this process has for one test."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    use_slot_files(tmp_path, 3)
    registry = CollectorRegistry()
    BatchCounter("a", "a", registry=registry).add([2, 3])
    BatchHistogram("b", "b", registry=registry).add([1.0])
    for mode in ("livesum", "livemax"):
        Gauge(f"c_{mode}", "c", multiprocess_mode=mode, registry=registry).set(1)
    return tmp_path


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_documented_version_is_the_installed_one() -> None:
    assert f"Tested with prometheus_client {version('prometheus_client')}." in (prometheus_compat.__doc__ or ""), (
        UPGRADE
    )


def test_private_names_exist() -> None:
    assert inspect.isclass(values.ValueClass), UPGRADE
    assert list(inspect.signature(values.MultiProcessValue).parameters) == ["process_identifier"], UPGRADE
    histogram = Histogram("x", "x", buckets=(1.0, 2.0), registry=None)
    assert histogram._upper_bounds == [1.0, 2.0, float("inf")], UPGRADE
    assert len(histogram._buckets) == 3, UPGRADE
    assert {type(value) for value in (*histogram._buckets, histogram._sum)} == {values.ValueClass}, UPGRADE


def test_files_are_named_by_the_slot(slot_files: Path) -> None:
    expected = {"counter_3.db", "histogram_3.db", "gauge_livesum_3.db", "gauge_livemax_3.db"}
    assert names(slot_files) == expected, UPGRADE


def test_live_gauges_of_a_slot_are_removed_and_nothing_else(slot_files: Path) -> None:
    (slot_files / "gauge_livesum_4.db").touch()
    remove_live_gauges(slot_files, 3)
    assert names(slot_files) == {"counter_3.db", "histogram_3.db", "gauge_livesum_4.db"}, UPGRADE


def test_a_batch_has_the_effect_of_its_values_one_by_one() -> None:
    amounts = np.concatenate([np.random.default_rng(0).random(500), CONFIDENCE_BUCKETS, [0.0]]).astype(np.float32)
    registries = CollectorRegistry(), CollectorRegistry()
    batch = BatchHistogram("x", "x", buckets=CONFIDENCE_BUCKETS, registry=registries[0])
    single = Histogram("x", "x", buckets=CONFIDENCE_BUCKETS, registry=registries[1])
    batch.add(amounts)
    for amount in amounts.tolist():
        single.observe(amount)
    samples_of_batch, samples_of_single = (
        {
            (sample.name, *sample.labels.values()): sample.value
            for family in registry.collect()
            for sample in family.samples
            if sample.name != "x_created"
        }
        for registry in registries
    )
    assert samples_of_batch == pytest.approx(samples_of_single, rel=1e-12)


def test_a_value_above_all_bounds_is_in_the_last_bucket_only() -> None:
    registry = CollectorRegistry()
    BatchHistogram("x", "x", buckets=(1.0, 2.0), registry=registry).add([2.0, 2.5])
    counts = [registry.get_sample_value("x_bucket", {"le": bound}) for bound in ("1.0", "2.0", "+Inf")]
    assert counts == [0, 1, 2]
    assert registry.get_sample_value("x_sum") == 4.5
