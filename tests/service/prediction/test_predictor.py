"""Tests the Predictor: results and their JSON with stub models, then through the Flask route with real ones."""

import json
import logging
import threading
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from PIL import Image
from werkzeug.test import TestResponse

from service.errors import BadRequest, ModelNotReady, NoDigitFound, NotFound
from service.imaging import reader
from service.imaging.reader import NormaliseOptions
from service.inference.manifest import Manifest, Thresholds
from service.inference.model import Model
from service.inference.model_store import ModelStore
from service.inference.predictions import Predictions
from service.inference.runtimes import LiteRT
from service.monitoring.metrics import Metrics
from service.prediction import predictor as predictor_module
from service.prediction.body_parser import ParsedBody
from service.prediction.inline_parser import InlineParser
from service.prediction.options import PredictOptions
from service.prediction.predictor import Predictor, build_result
from service.prediction.protocol import FastBody, PredictResult
from service.protocols import parse_body
from service.protocols.native import encode_json
from service.responses import HttpResponse
from service.settings import Settings
from service.types import Batch, Probabilities
from tests import exposition
from tests.conftest import Serve, Versions, service_of
from tests.service.payloads import FORM, encode, form, idx3, json_of, native_request, npy, stroke
from tests.service.prediction.invalid_bodies import INVALID_BODIES
from tests.service.protocols.test_native import IMAGES, LINES, PREDICTIONS
from training.data.mnist import Dataset

JSON = "application/json"
OCTETS = "application/octet-stream"
NPY = "application/x-npy"
ONE = stroke()


class InkRuntime:
    """A runtime whose prediction is the number of non-zero pixels modulo 10, with confidence 0.75."""

    name = "ink"

    def __init__(self) -> None:
        self.batches: list[Batch] = []

    def __call__(self, batch: Batch) -> Probabilities:
        self.batches.append(batch)
        probabilities = np.full((len(batch), 10), np.float32(0.25 / 9))
        probabilities[np.arange(len(batch)), np.count_nonzero(batch, axis=(1, 2)) % 10] = 0.75
        return probabilities


ONE_PREDICTED = int(np.count_nonzero(ONE)) % 10


class FakeClock:
    """Replaces `time`: every reading is a quarter of a second later."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        self.now += 0.25
        return self.now


@pytest.fixture
def runtime() -> InkRuntime:
    return InkRuntime()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def inline_parser(settings: Settings) -> InlineParser:
    return InlineParser(partial(parse_body, settings=settings))


@pytest.fixture
def predictor(runtime: InkRuntime, metrics: Metrics, tmp_path: Path) -> Predictor:
    """A predictor with version 5 of a stub model, whose confidence threshold is 0.8."""
    store = ModelStore(tmp_path, lambda _: model, on_loaded=lambda *_: None, on_rejected=lambda _: None)
    model = Model("5", Manifest(5, {}, Thresholds(0.8)), runtime)
    store.current = model
    settings = Settings(max_pictures=3)
    return Predictor(settings, store, metrics, inline_parser(settings))


def samples(metrics: Metrics, *names: str) -> list[str]:
    """The samples of these metrics that are not 0, without timestamps of creation."""
    lines = exposition.samples(metrics.exposition().decode(), *names)
    return [line for line in lines if not line.endswith(" 0.0")]


def test_predict_returns_options_version_predictions_and_body(predictor: Predictor, runtime: InkRuntime) -> None:
    images = np.stack([ONE, ONE * 0, 255 - ONE * 0])
    result = predictor.predict(native_request(OCTETS, b"fields=digit"), images.tobytes())
    assert (result.request.options, result.version) == (PredictOptions(["digit"]), "5")
    assert list(result.predictions.digits) == [ONE_PREDICTED, 0, 784 % 10]
    assert list(result.predictions.uncertain) == [True, True, True]
    assert result.body
    assert np.array_equal(result.body.images, images)
    assert result.body.sources is None
    assert [batch.tolist() for batch in runtime.batches] == [images.tolist()]


def test_predict_normalises_as_the_query_requires(predictor: Predictor, runtime: InkRuntime) -> None:
    predictor.predict(native_request("image/png", b""), encode(ONE))
    predictor.predict(native_request("image/png", b"normalise=always"), encode(ONE))
    assert np.array_equal(runtime.batches[0], [ONE])
    (normalised,) = reader.read_image(ONE, NormaliseOptions("always"))
    assert np.array_equal(runtime.batches[1], [normalised.image])
    with pytest.raises(NoDigitFound):
        predictor.predict(native_request("image/png", b"normalise=never"), encode(255 - ONE))


def test_predict_applies_the_limits_of_the_settings(predictor: Predictor) -> None:
    with pytest.raises(Exception, match="the body has 4 images; 3 are allowed"):
        predictor.predict(native_request(OCTETS, b""), bytes(4 * 784))


def test_predict_raises_what_is_wrong_with_the_query_before_the_body(predictor: Predictor) -> None:
    with pytest.raises(BadRequest, match="split is 'x'"):
        predictor.predict(native_request("", b"split=x"), b"")


def test_predict_without_a_model_raises_before_the_body_is_parsed(metrics: Metrics, tmp_path: Path) -> None:
    store = ModelStore(tmp_path, lambda _: None, on_loaded=lambda *_: None, on_rejected=lambda _: None)  # type: ignore[arg-type, return-value]
    with pytest.raises(ModelNotReady):
        Predictor(Settings(), store, metrics, inline_parser(Settings())).predict(native_request(), b"")


def test_respond_is_predict_and_encode(predictor: Predictor) -> None:
    response = predictor.respond(native_request("image/png", b"fields=digit,confidence,uncertain"), encode(ONE))
    assert response == HttpResponse(
        200,
        b'{"model":"digits","version":"5","predictions":[{"digit":%d,"confidence":0.75,"uncertain":true}]}\n'
        % ONE_PREDICTED,
    )


def test_a_request_is_counted_and_each_stage_timed(
    predictor: Predictor, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    monkeypatch.setattr(predictor_module, "time", clock)
    monkeypatch.setattr("service.monitoring.metrics.time", clock)
    predictor.respond(native_request(FORM), form(encode(ONE), encode(ONE)))
    assert samples(metrics, "digits_stage_duration_seconds_sum", "digits_stage_duration_seconds_count") == [
        f'digits_stage_duration_seconds_{kind}{{stage="{stage}"}} {value}'
        for stage in ("decode", "infer", "encode")
        for kind, value in (("count", 1.0), ("sum", 0.25))
    ]
    assert samples(metrics, "digits_predictions_total", "digits_uncertain") == [
        f'digits_predictions_total{{digit="{ONE_PREDICTED}"}} 2.0',
        "digits_uncertain_predictions_total 2.0",
    ]
    assert samples(metrics, "digits_inference_batch_size_sum") == ["digits_inference_batch_size_sum 2.0"]
    assert samples(metrics, "digits_pictures_per_request_sum") == ["digits_pictures_per_request_sum 2.0"]


def test_certain_predictions_are_not_counted_as_uncertain(predictor: Predictor, metrics: Metrics) -> None:
    confidence = np.array([0.5, 0.9, 0.5], np.float32)
    predictions = Predictions([1, 2, 3], confidence, [True, False, True], np.full((3, 10), 0.1, np.float32))
    predictor.record(PredictResult(native_request(), "5", predictions))
    assert samples(metrics, "digits_uncertain_predictions_total") == ["digits_uncertain_predictions_total 2.0"]


def test_read_fast_reads_eligible_bodies_and_times_them(
    predictor: Predictor, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictor_module, "time", FakeClock())
    assert predictor.read_fast(native_request("image/png"), encode(ONE)) == FastBody(ONE.tobytes())
    assert samples(metrics, "digits_stage_duration_seconds_sum", "digits_stage_duration_seconds_count") == [
        'digits_stage_duration_seconds_count{stage="decode"} 1.0',
        'digits_stage_duration_seconds_sum{stage="decode"} 0.25',
    ]


def test_read_fast_leaves_other_bodies_and_options_to_predict(predictor: Predictor, metrics: Metrics) -> None:
    assert predictor.read_fast(native_request("image/png"), encode(255 - ONE)) is None
    assert predictor.read_fast(native_request(OCTETS), bytes(4 * 784)) is None
    for query in (b"normalise=always", b"split=digits", b"show=image"):
        assert predictor.read_fast(native_request("image/png", query), encode(ONE)) is None
    assert samples(metrics, "digits_stage_duration_seconds") == []


def test_every_digit_of_a_line_that_may_have_lost_one_is_uncertain(predictor: Predictor, metrics: Metrics) -> None:
    """In the response and in the metric; the confidences stay."""
    sources = [source._replace(is_incomplete=source.line == 2) for source in LINES]
    request = native_request(query=b"split=digits&fields=confidence,uncertain")
    marked = build_result(request, "12", PREDICTIONS, ParsedBody(IMAGES, sources))
    rows = json.loads(encode_json(marked))["predictions"]
    assert [(row["confidence"], row["uncertain"]) for row in rows] == [(0.5, True), (0.75, True), (1.0, False)]
    predictor.record(marked)
    assert samples(metrics, "digits_uncertain_predictions_total") == ["digits_uncertain_predictions_total 2.0"]


@pytest.mark.parametrize("body", [ParsedBody(IMAGES), ParsedBody(IMAGES, LINES)])
def test_predictions_of_complete_lines_stay_as_they_are(body: ParsedBody) -> None:
    request = native_request(query=b"split=digits")
    assert build_result(request, "12", PREDICTIONS, body) == PredictResult(request, "12", PREDICTIONS, body)


def test_a_picture_of_several_digits_is_uncertain(predictor: Predictor, metrics: Metrics) -> None:
    sources = [source._replace(digit_count=4 if source.picture == 2 else 1) for source in LINES]
    marked = build_result(native_request(), "12", PREDICTIONS, ParsedBody(IMAGES, sources))
    assert list(marked.predictions.uncertain) == [True, False, True]
    predictor.record(marked)
    assert samples(metrics, "digits_uncertain_predictions_total") == ["digits_uncertain_predictions_total 2.0"]


def test_a_result_of_the_fast_path_has_its_envelope_and_no_body() -> None:
    marked = build_result(native_request(), "12", PREDICTIONS, FastBody(b"", {"id": "7"}))
    assert (marked.body, marked.envelope, marked.sources) == (None, {"id": "7"}, ())


def test_another_version_than_the_current_one_is_not_found(predictor: Predictor) -> None:
    request = replace(native_request("image/png"), version="4")
    with pytest.raises(NotFound, match="version 4 is not served; the version in use is 5"):
        predictor.predict(request, encode(ONE))


def post(client: FlaskClient, body: bytes, kind: str | None, fields: str = "") -> TestResponse:
    return client.post(f"/predict{fields}", input_stream=BytesIO(body), content_length=len(body), content_type=kind)


def assert_predicts(client: FlaskClient) -> None:
    response = post(client, encode(ONE), "image/png")
    assert response.status_code == 200
    assert len(response.get_json()["predictions"]) == 1


def test_the_response_has_the_predictions_of_the_model(
    serve: Serve, versions: Versions, models: Path, mnist: Dataset
) -> None:
    images = mnist.test.images[:50]
    path = versions.put(models, 1)
    expected = LiteRT((path / "model.tflite").read_bytes())(images)
    threshold = float(np.sort(expected.max(axis=1))[25])
    path.rename(models / ".retired-1")
    versions.put(models, 2, thresholds={"confidence": threshold})
    document = post(serve(models), idx3(images), OCTETS).get_json()
    assert (document.keys(), document["model"], document["version"]) == (
        {"model", "version", "predictions"},
        "digits",
        "2",
    )
    for prediction, row in zip(document["predictions"], expected, strict=True):
        assert np.array_equal(np.float32(prediction.pop("probabilities")), row)
        assert np.float32(prediction.pop("confidence")) == row.max()
        assert prediction == {"digit": row.argmax(), "uncertain": row.max() < threshold}
    assert 0 < sum(row.max() < threshold for row in expected) < 50


def test_every_format_gives_the_same_response_byte_for_byte(client: FlaskClient, mnist: Dataset) -> None:
    image = mnist.test.images[7]
    bodies = [
        ("image/png", encode(image)),
        (FORM, form(encode(image))),
        (JSON, json_of(image)),
        (JSON, json_of(image.reshape(784))),
        (JSON, json_of(encode(image))),
        (OCTETS, image.tobytes()),
        (OCTETS, idx3(image[None])),
        (NPY, npy(image[None])),
    ]
    responses = {post(client, body, kind).data for kind, body in bodies}
    assert len(responses) == 1
    assert json.loads(responses.pop())["predictions"][0]["probabilities"]


@pytest.mark.parametrize(
    ("fields", "keys"),
    [
        ("digit", ["digit"]),
        ("confidence,digit", ["digit", "confidence"]),
        ("uncertain,probabilities", ["uncertain", "probabilities"]),
        ("digit,digit", ["digit"]),
    ],
)
def test_fields_select_the_fields_of_each_prediction(client: FlaskClient, fields: str, keys: list[str]) -> None:
    complete = post(client, encode(ONE), "image/png").get_json()
    selected = post(client, encode(ONE), "image/png", f"?fields={fields}").get_json()
    assert selected == complete | {"predictions": [{key: complete["predictions"][0][key] for key in keys}]}
    assert list(selected["predictions"][0]) == keys


@pytest.mark.parametrize("name", INVALID_BODIES)
def test_an_invalid_body_gets_its_error_and_the_service_continues(
    name: str, client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    invalid = INVALID_BODIES[name]
    response = post(client, invalid.body, invalid.content_type)
    error = error_of(response)
    assert response.status_code == invalid.status
    assert invalid.matches(error), error
    assert [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR] == []
    assert_predicts(client)


def error_of(response: TestResponse) -> str:
    """The message of an error response, which is one short line."""
    document = response.get_json()
    assert response.content_type == "application/json"
    assert list(document) == ["error"]
    error = document["error"]
    assert isinstance(error, str)
    assert error.isprintable()
    assert len(error) < 300
    return error


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("normalise=sometimes", "normalise is 'sometimes'; allowed: auto, always, never"),
        ("split=1", "split is '1'; allowed: digits"),
        ("show=", "show is ''; allowed: image"),
        ("split=digits&normalise=never", "cannot be used with normalise=never"),
        ("normalise=" + "x" * 5000, "allowed: auto"),
    ],
)
def test_a_wrong_query_gets_400(client: FlaskClient, query: str, message: str) -> None:
    response = post(client, encode(ONE), "image/png", f"?{query}")
    assert response.status_code == 400
    assert message in error_of(response)


def test_a_query_that_is_not_utf_8_gets_400(client: FlaskClient) -> None:
    response = client.post("/predict", data=encode(ONE), environ_overrides={"QUERY_STRING": "fields=\x80"})
    assert response.status_code == 400
    assert error_of(response) == "the query string is not UTF-8; percent-encode its bytes"


TALL = np.zeros((28, 28), np.uint8)
TALL[4:24, 13:15] = np.linspace(90, 255, 40, dtype=np.uint8).reshape(20, 2)
PAGE = np.pad(255 - np.kron(TALL, np.ones((5, 5), np.uint8)), ((30, 60), (200, 10)), constant_values=255)
"""A digit one that fills the 20 pixels of MNIST's box; and the same, dark on a light page, five times as large."""


def test_a_picture_gets_the_predictions_of_its_normalised_image(client: FlaskClient) -> None:
    normalised = post(client, encode(TALL), "image/png", "?normalise=always").data
    for kind, picture in (("PNG", PAGE), ("PNG", np.dstack([PAGE] * 3)), ("BMP", PAGE), ("PNG", 255 - PAGE)):
        for query in ("", "?normalise=auto", "?normalise=always"):
            assert post(client, encode(picture, kind=kind), "image/png", query).data == normalised
    rejected = post(client, encode(PAGE), "image/png", "?normalise=never")
    assert (rejected.status_code, "350x230 pixels" in error_of(rejected)) == (422, True)


@pytest.mark.parametrize(
    ("picture", "query"), [(ONE, "?show=image"), (PAGE, "?show=image&fields=digit")], ids=["image", "page"]
)
def test_show_image_returns_the_input_of_the_model(client: FlaskClient, picture: Batch, query: str) -> None:
    shown = post(client, encode(picture), "image/png", query).get_json()["predictions"][0]
    image = b64decode(shown.pop("image"))
    assert (picture is PAGE) == (list(shown) == ["digit"])
    with Image.open(BytesIO(image)) as seen:
        assert (seen.format, seen.mode, seen.size) == ("PNG", "L", (28, 28))
        assert np.array_equal(np.asarray(seen), ONE) == (picture is ONE)
    expected = post(client, encode(picture), "image/png").get_json()["predictions"][0]
    assert post(client, image, "image/png").get_json()["predictions"] == [expected]


def test_a_response_shows_no_more_than_1000_images(client: FlaskClient) -> None:
    octets = "application/octet-stream"
    shown = post(client, np.stack([ONE] * 1000).tobytes(), octets, "?show=image&fields=digit")
    assert len(shown.get_json()["predictions"]) == 1000
    rejected = post(client, np.stack([ONE] * 1001).tobytes(), octets, "?show=image&fields=digit")
    assert (rejected.status_code, error_of(rejected)) == (
        413,
        "a response shows 1000 images at most; the body has 1001; send fewer",
    )


def test_split_digits_predicts_every_digit_of_a_row(client: FlaskClient) -> None:
    row = np.concatenate([PAGE, PAGE], axis=1)
    document = post(client, form(encode(row), encode(PAGE)), FORM, "?split=digits&fields=digit").get_json()
    one = post(client, encode(PAGE), "image/png", "?fields=digit").get_json()["predictions"][0]["digit"]
    assert [(entry["digit"], entry["picture"]) for entry in document["predictions"]] == [(one, 1), (one, 1), (one, 2)]
    assert [entry["box"] for entry in document["predictions"]] == [
        [265, 50, 275, 150],
        [615, 50, 625, 150],
        [265, 50, 275, 150],
    ]
    assert document["numbers"] == [f"{one}{one}", f"{one}"]
    assert list(document) == ["model", "version", "numbers", "predictions"]


@pytest.mark.parametrize(("fields", "field"), [("colour", "'colour'"), ("digit,colour", "'colour'"), ("", "''")])
def test_an_unknown_field_is_named(client: FlaskClient, fields: str, field: str) -> None:
    response = post(client, encode(ONE), "image/png", f"?fields={fields}")
    assert response.status_code == 400
    assert f"fields has {field}; allowed: digit, confidence, uncertain" in error_of(response)


def test_a_rejected_request_counts_no_prediction(client: FlaskClient) -> None:
    post(client, form(encode(ONE), encode(ONE), b"bad"), FORM)
    exposition = client.get("/metrics").text
    assert 'digits_rejected_total{reason="unsupported_media_type"} 1.0' in exposition
    assert "digits_predictions_total{" not in exposition
    assert "digits_pictures_per_request_count 0.0" in exposition


def test_without_a_model_the_status_is_503(serve: Serve, models: Path, versions: Versions) -> None:
    client = serve(models)
    response = post(client, encode(ONE), "image/png")
    assert response.status_code == 503
    assert error_of(response) == "no model is loaded yet"
    versions.put(models, 1, digit=3)
    service_of(client).store.refresh()
    assert post(client, encode(ONE), "image/png", "?fields=digit").get_json()["predictions"] == [{"digit": 3}]


class BlockingRuntime:
    """A runtime that sets `called` when it is called, and returns once `released` is set."""

    name = "blocking"

    def __init__(self) -> None:
        self.called, self.released = threading.Event(), threading.Event()

    def __call__(self, batch: Batch) -> Probabilities:
        self.called.set()
        assert self.released.wait(30)
        return np.full((len(batch), 10), 0.1, np.float32)


def test_a_request_over_the_limit_gets_429_with_retry_after(serve: Serve, one_version: Path) -> None:
    client = serve(one_version, max_in_flight=1)
    store, blocking = service_of(client).store, BlockingRuntime()
    assert store.current
    model, store.current = store.current, replace(store.current, runtime=blocking)
    with ThreadPoolExecutor(1) as pool:
        first: Any = pool.submit(post, client.application.test_client(), encode(ONE), "image/png")
        assert blocking.called.wait(30)
        second = post(client, encode(ONE), "image/png")
        in_flight = [
            line for line in client.get("/metrics").text.splitlines() if line.startswith("digits_in_flight_requests")
        ]
        blocking.released.set()
        assert first.result().status_code == 200
    assert second.status_code == 429
    assert int(second.headers["Retry-After"]) >= 1
    assert "1 requests are in flight, which is the limit" in error_of(second)
    assert in_flight == ["digits_in_flight_requests 2.0"]
    store.current = model
    assert_predicts(client)


def test_a_rejected_request_releases_the_limiter(serve: Serve, one_version: Path) -> None:
    client = serve(one_version, max_in_flight=1)
    for _ in range(3):
        assert post(client, b"bad", "image/png").status_code == 415
    assert_predicts(client)
