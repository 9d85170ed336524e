"""The state of an application: what it loads, reports and leaves behind."""

from pathlib import Path

import pytest

from service.context import ServiceContext
from service.errors import ModelNotReady
from service.settings import Settings
from tests.conftest import Versions


def exposition(context: ServiceContext) -> str:
    return context.metrics.exposition().decode()


def test_nothing_is_loaded_before_start_and_watching_ends_with_close(versions: Versions, models: Path) -> None:
    versions.put(models, 1, digit=3)
    context = ServiceContext(Settings(model_dir=models, model_poll_seconds=0.05, max_in_flight=7))
    with pytest.raises(ModelNotReady):
        context.store.require_current()
    context.start()
    try:
        assert context.store.require_current().version == "1"
        assert "digits_in_flight_limit 7.0" in exposition(context)
    finally:
        context.close()


def test_a_new_version_replaces_the_old_one_in_the_metrics(versions: Versions, models: Path) -> None:
    shares = [0.05, 0.15, *[0.1] * 8]
    reference = {"class_shares": shares, "confidence_edges": [0.0, 0.5, 1.0], "confidence_histogram": [0.25, 0.75]}
    versions.put(models, 1, digit=3)
    context = ServiceContext(Settings(model_dir=models, model_poll_seconds=3600))
    context.start()
    try:
        assert 'digits_model_info{runtime="litert",version="1"} 1.0' in exposition(context)
        versions.put(models, 2, digit=4, reference=reference)
        context.store.refresh()
        text = exposition(context)
        assert 'digits_model_info{runtime="litert",version="2"} 1.0' in text
        assert 'version="1"' not in text
        assert 'digits_reference_class_share{digit="1"} 0.15' in text
        assert 'digits_reference_confidence{le="0.5"} 0.25' in text
    finally:
        context.close()


def test_a_rejected_version_is_counted_by_its_reason(versions: Versions, models: Path) -> None:
    path = versions.put(models, 1, digit=3)
    (path / "model.tflite").write_bytes(b"damaged")
    context = ServiceContext(Settings(model_dir=models, model_poll_seconds=3600))
    context.start()
    context.close()
    assert 'digits_model_load_failures_total{reason="checksum"} 1.0' in exposition(context)


def test_drain_reports_stopping_and_changes_nothing_else(one_version: Path) -> None:
    context = ServiceContext(Settings(model_dir=one_version, model_poll_seconds=3600))
    context.start()
    try:
        assert not context.stopping
        context.drain()
        assert context.stopping
        assert context.store.require_current().version == "1"
    finally:
        context.close()
