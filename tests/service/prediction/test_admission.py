"""Tests admission: the order of key and size, exact limits, the limiter's setting, and the count of rejections."""

import json
from dataclasses import replace

import pytest

from service.errors import ModelNotReady, PayloadTooLarge, TooManyRequests, Unauthorised
from service.monitoring.metrics import Metrics
from service.prediction.admission import Admission
from service.settings import Settings

SETTINGS = Settings(api_key="secret", max_body_bytes=100, max_in_flight=2)
KEY = b"Bearer secret"


def test_accepts_the_key_and_a_body_of_the_maximum_size() -> None:
    admission = Admission(SETTINGS, Metrics())
    for length in (0, 1, 100):
        admission.check(KEY, length)


def test_rejects_one_byte_more() -> None:
    with pytest.raises(PayloadTooLarge, match=r"^the body has 101 bytes; 100 are allowed$"):
        Admission(SETTINGS, Metrics()).check(KEY, 101)


def test_the_key_is_checked_before_the_size() -> None:
    with pytest.raises(Unauthorised):
        Admission(SETTINGS, Metrics()).check(b"", 101)


def test_without_a_key_only_the_size_is_checked() -> None:
    admission = Admission(replace(SETTINGS, api_key=""), Metrics())
    admission.check(b"", 100)
    with pytest.raises(PayloadTooLarge):
        admission.check(b"", 101)


def test_a_memory_error_is_counted_as_a_fault_of_the_service(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()
    response = Admission(SETTINGS, metrics).reject(MemoryError("3 GiB"))
    assert (response.status, response.headers) == (503, (("Retry-After", "1"),))
    assert json.loads(response.body) == {"error": "the service has no memory left for this request; send it again"}
    assert 'digits_rejected_total{reason="out_of_memory"} 1.0' in metrics.exposition().decode()
    assert [(record.getMessage(), record.exc_info) for record in caplog.records] == [
        ("out of memory in a predict request: 3 GiB", None)
    ]


def test_its_api_key_is_that_of_the_settings() -> None:
    api_key = Admission(SETTINGS, Metrics()).api_key
    api_key.check(KEY)
    with pytest.raises(Unauthorised):
        api_key.check(b"Bearer other")


def test_the_limiter_accepts_max_in_flight_requests() -> None:
    limiter = Admission(SETTINGS, Metrics()).limiter
    assert limiter.available == 2
    with limiter, limiter, pytest.raises(TooManyRequests):
        limiter.acquire()


def test_a_rejection_is_counted_and_returned_as_a_response() -> None:
    metrics = Metrics()
    admission = Admission(SETTINGS, metrics)
    responses = [admission.reject(error("why")) for error in (TooManyRequests, ModelNotReady, ModelNotReady)]
    assert [response.status for response in responses] == [429, 503, 503]
    assert responses[0].headers == (("Retry-After", "1"),)
    assert [json.loads(response.body) for response in responses] == [{"error": "why"}] * 3
    counts = [line for line in metrics.exposition().decode().splitlines() if line.startswith("digits_rejected_total{")]
    assert counts == [
        'digits_rejected_total{reason="too_many_requests"} 1.0',
        'digits_rejected_total{reason="model_not_ready"} 2.0',
    ]
