"""Tests the application factory: routes and errors, the API key, limits, metrics, and the isolation of applications."""

import logging
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from service.app import create_app
from service.settings import SettingError
from service.types import Batch, Probabilities
from tests import exposition
from tests.conftest import Serve, Versions, service_of
from tests.service.payloads import encode, form, stroke

PICTURE = encode(stroke())


def predict(client: FlaskClient, **more: object) -> int:
    return client.post("/predict", data=PICTURE, content_type="image/png", **more).status_code


def samples(client: FlaskClient, *names: str) -> list[str]:
    """The current samples of these metrics, without timestamps of creation."""
    return exposition.samples(client.get("/metrics").text, *names)


@pytest.mark.parametrize(
    "path", ["/predict/", "/model/1", "/static/x", "/feedback", "/nothing?x=1", "/%ff", "/" + "x" * 5000]
)
def test_an_unknown_route_is_404(client: FlaskClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 404
    assert response.content_type == "application/json"
    assert list(response.get_json()) == ["error"]
    assert response.get_json()["error"].startswith("there is no ")
    assert len(response.get_json()["error"]) < 200


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/predict", {"POST", "OPTIONS"}),
        ("DELETE", "/predict", {"POST", "OPTIONS"}),
        ("BREW", "/predict", {"POST", "OPTIONS"}),
        ("POST", "/metrics", {"GET", "HEAD", "OPTIONS"}),
        ("PUT", "/model", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_another_method_is_405_with_the_allowed_methods(
    client: FlaskClient, method: str, path: str, allowed: set[str]
) -> None:
    response = client.open(path, method=method)
    assert response.status_code == 405
    assert set(response.headers["Allow"].split(", ")) == allowed
    assert response.get_json()["error"].startswith(f"{path} does not allow {method}; ")


ROUTES = ["/predict", "/model", "/healthz", "/readyz", "/openapi.json", "/report/", "/metrics", "/"]


@pytest.mark.parametrize("route", ROUTES)
def test_a_preflight_needs_no_key_and_lists_methods_and_headers(serve: Serve, one_version: Path, route: str) -> None:
    client = serve(one_version, api_key="secret", cors_origins="https://a.example")
    headers = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    response = client.options(route, headers=headers)
    assert (response.status_code, response.data) == (200, b"")
    assert response.headers["Access-Control-Allow-Origin"] == "https://a.example"
    assert set(response.headers["Access-Control-Allow-Methods"].split(", ")) == set(response.allow)
    names = set(response.headers["Access-Control-Allow-Headers"].split(", "))
    assert names == {"Authorization", "Content-Type", "Content-Encoding", "Inference-Header-Content-Length"}
    assert response.headers["Access-Control-Max-Age"] == "7200"
    assert response.headers["Vary"] == "Origin"
    other = client.options(route, headers=headers | {"Origin": "https://b.example"})
    assert "Access-Control" not in str(other.headers)
    assert other.headers["Vary"] == "Origin"


@pytest.mark.parametrize("route", [*ROUTES, "/nowhere"])
def test_without_listed_origins_nothing_is_granted(client: FlaskClient, route: str) -> None:
    headers = {"Origin": "https://a.example", "Access-Control-Request-Method": "GET"}
    for method in ("OPTIONS", "GET", "POST"):
        response = client.open(route, method=method, headers=headers)
        assert "Access-Control" not in str(response.headers)
        assert "Vary" not in response.headers


def test_errors_grant_the_origin_too(serve: Serve, one_version: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = serve(one_version, api_key="secret", cors_origins="https://a.example")
    assert service_of(client).store.current
    monkeypatch.setattr(service_of(client).store, "require_current", lambda: 1 / 0)
    for method, route, status in (
        ("GET", "/nowhere", 404),
        ("GET", "/predict", 405),
        ("POST", "/predict", 401),
        ("GET", "/readyz", 500),
    ):
        response = client.open(route, method=method, headers={"Origin": "https://a.example"})
        assert response.status_code == status
        assert response.headers["Access-Control-Allow-Origin"] == "https://a.example"


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_413(serve: Serve, one_version: Path, *, chunked: bool) -> None:
    client = serve(one_version, max_body_bytes=len(PICTURE))

    def send(body: bytes) -> tuple[int, str]:
        response = client.post(
            "/predict",
            input_stream=BytesIO(body),
            content_type="image/png",
            environ_overrides={"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True} if chunked else {},
        )
        return response.status_code, response.get_json().get("error", "")

    found = f"more than {len(PICTURE)}" if chunked else str(len(PICTURE) + 1)
    assert send(PICTURE + b"x") == (413, f"the body has {found} bytes; {len(PICTURE)} are allowed")
    assert send(PICTURE) == (200, "")
    assert samples(client, "digits_rejected_total") == ['digits_rejected_total{reason="payload_too_large"} 1.0']


def test_an_invalid_content_length_is_a_client_error(client: FlaskClient) -> None:
    for length in ("-1", "many", "9" * 30):
        response = client.post("/predict", content_type="image/png", environ_overrides={"CONTENT_LENGTH": length})
        assert response.status_code in {400, 413}
        assert list(response.get_json()) == ["error"]


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer secre",
        "Bearer secret2",
        "Bearer secret, Bearer secret",
        "Basic secret",
        "secret",
        "Bearer é",
    ],
)
@pytest.mark.parametrize("route", ["/predict", "/model"])
def test_without_the_right_key_the_status_is_401(
    serve: Serve, one_version: Path, route: str, header: str | None
) -> None:
    client = serve(one_version, api_key="secret")
    headers = {} if header is None else {"Authorization": header}
    response = client.open(route, method="POST" if route == "/predict" else "GET", headers=headers)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert list(response.get_json()) == ["error"]
    assert "secret" not in response.text


def test_accepts_the_key_and_requires_none_on_public_routes(serve: Serve, one_version: Path) -> None:
    client = serve(one_version, api_key="secret")
    key = {"Authorization": "Bearer secret"}
    assert predict(client, headers=key) == 200
    assert client.get("/model", headers=key).status_code == 200
    routes = ("/healthz", "/readyz", "/metrics", "/", "/docs", "/openapi.json", "/x")
    assert [client.get(route).status_code for route in routes] == [200, 200, 200, 200, 200, 200, 404]


def test_accepts_a_key_that_is_not_ascii(serve: Serve, one_version: Path) -> None:
    """A WSGI server decodes header bytes as Latin-1; curl and requests send UTF-8."""
    client = serve(one_version, api_key="schlüssel")
    environ = {"HTTP_AUTHORIZATION": "Bearer schlüssel".encode().decode("latin-1")}
    assert client.get("/model", environ_overrides=environ).status_code == 200


class FailingRuntime:
    name = "failing"

    def __call__(self, batch: Batch) -> Probabilities:
        raise RuntimeError(f"cannot predict {len(batch)} images")


def test_an_unexpected_exception_is_500_and_logged_and_the_service_continues(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    store = service_of(client).store
    assert store.current
    model, store.current = store.current, replace(store.current, runtime=FailingRuntime())
    response = client.post("/predict", data=PICTURE, content_type="image/png")
    assert response.status_code == 500
    assert response.get_json() == {"error": "internal error; the log of the service has the traceback"}
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["cannot predict 1 images"]
    assert samples(client, "digits_in_flight_requests") == ["digits_in_flight_requests 1.0"]
    store.current = model
    assert predict(client) == 200


class ExhaustedRuntime:
    name = "exhausted"

    def __call__(self, batch: Batch) -> Probabilities:
        raise MemoryError(f"{len(batch)} images")


@pytest.mark.parametrize("route", ["/predict", "/"])
def test_a_memory_error_is_503_counted_and_logged_in_one_line(
    client: FlaskClient, caplog: pytest.LogCaptureFixture, route: str
) -> None:
    store = service_of(client).store
    assert store.current
    model, store.current = store.current, replace(store.current, runtime=ExhaustedRuntime())
    response = client.post(route, data=form(PICTURE), content_type="multipart/form-data; boundary=edge")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
    assert "the service has no memory left for this request; send it again" in response.text
    assert [record.exc_info for record in caplog.records if record.levelno >= logging.ERROR] == [None]
    assert samples(client, "digits_rejected_total") == ['digits_rejected_total{reason="out_of_memory"} 1.0']
    store.current = model
    assert predict(client) == 200


@pytest.mark.parametrize("route", ["/", "/metrics", "/readyz", "/model", "/docs"])
def test_a_memory_error_is_503_on_every_route(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, route: str
) -> None:
    def fail(**_: object) -> None:
        raise MemoryError

    with client.application.test_request_context(route) as context:
        endpoint = context.request.endpoint
    assert endpoint
    monkeypatch.setitem(client.application.view_functions, endpoint, fail)
    response = client.get(route)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
    assert response.get_json() == {"error": "the service has no memory left for this request; send it again"}
    assert "Traceback" not in caplog.text


def test_requests_are_counted_by_route_method_and_status(client: FlaskClient) -> None:
    predict(client)
    predict(client)
    client.post("/predict", data=form(PICTURE, b"bad"), content_type="multipart/form-data; boundary=edge")
    client.get("/wp-admin.php")
    client.open("/predict", method="BREW")
    client.get("/healthz")
    client.head("/healthz")
    assert sorted(samples(client, "digits_http_requests_total", "digits_http_request_duration_seconds_count")) == [
        'digits_http_request_duration_seconds_count{route="/healthz"} 2.0',
        'digits_http_request_duration_seconds_count{route="/predict"} 3.0',
        'digits_http_request_duration_seconds_count{route="unknown"} 2.0',
        'digits_http_requests_total{method="GET",route="/healthz",status="200"} 1.0',
        'digits_http_requests_total{method="GET",route="unknown",status="404"} 1.0',
        'digits_http_requests_total{method="HEAD",route="/healthz",status="200"} 1.0',
        'digits_http_requests_total{method="OTHER",route="unknown",status="405"} 1.0',
        'digits_http_requests_total{method="POST",route="/predict",status="200"} 2.0',
        'digits_http_requests_total{method="POST",route="/predict",status="415"} 1.0',
    ]


def test_predictions_are_counted(serve: Serve, versions: Versions, models: Path) -> None:
    versions.put(models, 1, digit=7, thresholds={"confidence": 1.0})
    client = serve(models)
    client.post("/predict", data=form(PICTURE, PICTURE), content_type="multipart/form-data; boundary=edge")
    names = (
        "digits_predictions_total",
        "digits_uncertain",
        "digits_pictures_per_request_sum",
        "digits_pictures_per_request_count",
    )
    assert samples(client, *names) == [
        "digits_pictures_per_request_count 1.0",
        "digits_pictures_per_request_sum 2.0",
        'digits_predictions_total{digit="7"} 2.0',
        "digits_uncertain_predictions_total 2.0",
    ]
    stages = samples(client, "digits_stage_duration_seconds_count")
    assert stages == [
        f'digits_stage_duration_seconds_count{{stage="{stage}"}} 1.0' for stage in ("decode", "infer", "encode")
    ]


def test_the_version_in_use_and_load_failures_are_metrics(serve: Serve, versions: Versions, models: Path) -> None:
    versions.put(models, 1, digit=1)
    client = serve(models)
    versions.put(models, 2, digit=2)
    versions.put(models, 3, digit=3, files={"model.tflite": "0"})
    service_of(client).store.refresh()
    assert samples(client, "digits_model_info", "digits_model_load_failures") == [
        'digits_model_info{runtime="litert",version="2"} 1.0',
        'digits_model_load_failures_total{reason="checksum"} 1.0',
    ]


def test_applications_share_nothing(serve: Serve, versions: Versions, models: Path, one_version: Path) -> None:
    versions.put(models, 8, digit=8)
    first, second = serve(models), serve(one_version)
    predict(first)
    assert samples(second, "digits_predictions_total", "digits_http_requests_total") == []
    assert (first.get("/readyz").get_json()["version"], second.get("/readyz").get_json()["version"]) == ("8", "1")


def test_a_rejected_version_is_logged_without_a_traceback(
    serve: Serve, versions: Versions, models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    versions.put(models, 1, digit=1, version=5)
    client = serve(models)
    assert predict(client) == 503
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [(record.getMessage().split(":")[0], record.exc_info) for record in errors] == [
        ("version 1 is rejected (manifest)", None)
    ]


def test_an_unknown_setting_prevents_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIGITS_PORTS", "80")
    with pytest.raises(SettingError, match="DIGITS_PORTS is not a setting"):
        create_app()
