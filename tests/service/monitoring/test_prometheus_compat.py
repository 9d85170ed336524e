"""prometheus_client still has the private names that the service uses, with the behaviour it relies on."""

import inspect
import math
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, Histogram, values
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector

from service.monitoring import prometheus_compat
from service.monitoring.metrics import CONFIDENCE_BUCKETS
from service.monitoring.prometheus_compat import (
    BatchCounter,
    BatchHistogram,
    FiniteGauge,
    MetricSchema,
    SlotFilesCollector,
    use_slot_files,
    used_slot_files,
)
from service.monitoring.slot_files import SlotFiles

UPGRADE = f"prometheus_client {version('prometheus_client')}: port service/monitoring/prometheus_compat.py"


@pytest.fixture
def slot_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlotFiles]:
    """The metric files of slot 3, which this process has for one test."""
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    use_slot_files(tmp_path, 3)
    files = used_slot_files()
    assert files is not None
    registry = CollectorRegistry()
    BatchCounter("a", "a", registry=registry).add([2, 3])
    BatchHistogram("b", "b", registry=registry).add([1.0])
    for mode in ("livesum", "livemax"):
        FiniteGauge(f"c_{mode}", "c", multiprocess_mode=mode, registry=registry).set(1)
    files.write()
    with files:
        yield files


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


def test_files_are_named_by_the_slot(slot_files: SlotFiles, tmp_path: Path) -> None:
    assert names(tmp_path) == {"counter_3.db", "histogram_3.db", "gauge_livesum_3.db", "gauge_livemax_3.db"}, UPGRADE
    assert {path.name for path in slot_files.entries()} == names(tmp_path)


def test_files_have_the_format_of_prometheus_client(slot_files: SlotFiles, tmp_path: Path) -> None:
    for path, entries in slot_files.entries().items():
        read = [(key, value) for key, value, *_ in MmapedDict.read_all_values_from_file(path)]  # type: ignore[no-untyped-call]
        assert read == entries, UPGRADE
    samples = {
        sample.name: sample.value
        for metric in MultiProcessCollector(None, str(tmp_path)).collect()  # type: ignore[no-untyped-call]
        for sample in metric.samples
    }
    assert (samples["a_total"], samples["b_sum"], samples["c_livesum"], samples["c_livemax"]) == (5, 1, 1, 1), UPGRADE


def test_a_key_has_the_form_that_the_collector_parses() -> None:
    key = mmap_key("a", "a_total", ["x", "b"], ["1", "2"], "help")
    assert key == '["a", "a_total", {"b": "2", "x": "1"}, "help"]', UPGRADE


def test_the_collector_merges_the_files_of_all_slots(slot_files: SlotFiles, tmp_path: Path) -> None:
    schema = {
        "a": MetricSchema("counter", frozenset()),
        "b": MetricSchema("histogram", frozenset()),
        **{f"c_{mode}": MetricSchema("gauge", frozenset()) for mode in ("livesum", "livemax")},
    }
    for path in list(slot_files.entries()):
        path.with_name(path.name.replace("3", "4")).write_bytes(path.read_bytes())
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for metric in SlotFilesCollector(tmp_path, schema, slot_files).collect()
        for sample in metric.samples
    }
    assert samples["a_total",] == 10, UPGRADE
    assert (samples["b_bucket", "1.0"], samples["b_bucket", "+Inf"], samples["b_count",]) == (2, 2, 2), UPGRADE
    assert (samples["c_livesum",], samples["c_livemax",]) == (2, 1), UPGRADE


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


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_histogram_ignores_what_is_not_finite(broken: float) -> None:
    registry = CollectorRegistry()
    histogram = BatchHistogram("x", "x", buckets=(1.0, 2.0), registry=registry)
    histogram.add([broken])
    histogram.add([1.5, broken, 0.5])
    counts = [registry.get_sample_value("x_bucket", {"le": bound}) for bound in ("1.0", "2.0", "+Inf")]
    assert counts == [1, 2, 2]
    assert registry.get_sample_value("x_sum") == 2


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_a_gauge_keeps_its_value_when_it_is_set_to_what_is_not_finite(broken: float) -> None:
    registry = CollectorRegistry()
    gauge = FiniteGauge("x", "x", registry=registry)
    gauge.set(0.5)
    gauge.set(broken)
    assert registry.get_sample_value("x") == 0.5
