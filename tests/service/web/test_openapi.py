"""service/web/openapi.py: the OpenAPI document is compared with the routes, the requests and the responses."""

import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from service.prediction import body_parser
from service.settings import Settings
from service.web.openapi import build_document
from tests.conftest import Serve, service_of
from tests.service.payloads import FORM, encode, form, idx3, json_of, npy, stroke
from tests.service.web.test_feedback import VALID

PICTURE = encode(stroke())
KEY = {"Authorization": "Bearer secret"}


@pytest.fixture
def client(serve: Serve, one_version: Path, tmp_path: Path) -> FlaskClient:
    """A client of a service with every optional route."""
    return serve(
        one_version, feedback_dir=tmp_path / "feedback", feedback_max_files=1, api_key="secret", max_body_bytes=9999
    )


@pytest.fixture
def document(client: FlaskClient) -> dict[str, Any]:
    parsed = client.get("/openapi.json").get_json()
    assert isinstance(parsed, dict)
    return parsed


def check(document: Mapping[str, Any], schema: dict[str, Any], value: object) -> None:
    Draft202012Validator(schema | {"components": document["components"]}).validate(value)


def test_is_valid_openapi(document: dict[str, Any]) -> None:
    validate(cast("Mapping[Hashable, Any]", document))


def test_lists_every_route_and_no_other(client: FlaskClient, document: dict[str, Any]) -> None:
    routes = {
        (re.sub(r"<(?:path:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in client.application.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if not rule.rule.startswith("/static/")
    }
    assert {(path, method) for path, operations in document["paths"].items() for method in operations} == routes


def test_omits_feedback_and_401_unless_configured() -> None:
    document = build_document(Settings())
    assert "/feedback" not in document["paths"]
    assert "'401'" not in str(document)
    assert "'security'" not in str(document)


def test_states_the_limits_of_the_settings() -> None:
    settings = Settings(max_body_bytes=1001, max_pictures=1002, max_pixels=1003)
    description = build_document(settings)["paths"]["/predict"]["post"]["description"]
    for limit in ("1001 bytes", "1002 pictures", "1003 pixels"):
        assert limit in description


def test_marks_the_routes_that_require_the_key(client: FlaskClient, document: dict[str, Any]) -> None:
    secured = set()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            response = client.open(path.replace("{name}", "x"), method=method)
            requires_key = response.status_code == 401 and response.content_type == "application/json"
            assert requires_key == ("security" in operation) == ("401" in operation["responses"]), (method, path)
            if requires_key:
                secured.add((method, path))
    assert secured == {
        ("post", "/predict"),
        ("post", "/feedback"),
        ("get", "/model"),
        ("get", "/report/"),
        ("get", "/report/{name}"),
    }


def test_lists_the_statuses_of_every_operation(document: dict[str, Any]) -> None:
    statuses = {
        f"{method} {path}": " ".join(operation["responses"])
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    assert statuses == {
        "post /predict": "200 400 401 408 413 415 422 429 503",
        "post /feedback": "201 400 401 403 413 415 422 503 507",
        "get /model": "200 401 503",
        "get /healthz": "200",
        "get /readyz": "200 503",
        "get /metrics": "200",
        "get /": "200",
        "post /": "200 default",
        "get /report/": "200 401 404 503",
        "get /report/{name}": "200 401 404 503",
        "get /docs": "200",
        "get /openapi.json": "200",
    }


REQUESTS = [
    ("GET", "/model", b"", None),
    ("GET", "/healthz", b"", None),
    ("GET", "/readyz", b"", None),
    ("GET", "/openapi.json", b"", None),
    ("POST", "/predict", PICTURE, "image/png"),
    ("POST", "/predict?fields=digit,uncertain", form(PICTURE, PICTURE), FORM),
    ("POST", "/predict?split=digits&show=image", json_of(PICTURE, stroke(), stroke().reshape(-1)), "application/json"),
    ("POST", "/predict?normalise=always", idx3(stroke()[None]), "application/octet-stream"),
    ("POST", "/predict", npy(stroke()[None]), "application/x-npy"),
]


def test_describes_successful_responses(client: FlaskClient, document: dict[str, Any]) -> None:
    for method, url, body, content_type in REQUESTS:
        path, _, query = url.partition("?")
        operation = document["paths"][path][method.lower()]
        names = {parameter["name"] for parameter in operation.get("parameters", [])}
        assert {pair.split("=")[0] for pair in query.split("&") if pair} <= names
        response = client.open(url, method=method, data=body or None, content_type=content_type, headers=KEY)
        assert response.status_code == 200
        content = operation["responses"]["200"]["content"]
        check(document, content["application/json"]["schema"], response.get_json())


def test_describes_feedback(client: FlaskClient, document: dict[str, Any]) -> None:
    operation = document["paths"]["/feedback"]["post"]
    check(document, operation["requestBody"]["content"]["application/json"]["schema"], VALID)
    for status in ("201", "507"):
        response = client.post("/feedback", json=VALID, headers=KEY)
        assert response.status_code == int(status)
        check(document, operation["responses"][status]["content"]["application/json"]["schema"], response.get_json())


BAD_REQUESTS = [
    ("/predict", b"", "image/png", 400),
    ("/predict", bytes(10_000), "image/png", 413),
    ("/predict", b"x", "text/plain", 415),
    ("/predict", json_of([0] * 784), "application/json", 422),
    ("/predict?split=x", PICTURE, "image/png", 400),
    ("/feedback", b"{}", "application/json", 400),
    ("/feedback", b"{}", "text/plain", 415),
]


def test_describes_error_responses(client: FlaskClient, document: dict[str, Any]) -> None:
    for url, body, content_type, status in BAD_REQUESTS:
        response = client.post(url, data=body, content_type=content_type, headers=KEY)
        assert response.status_code == status
        responses = document["paths"][url.partition("?")[0]]["post"]["responses"]
        check(document, responses[str(status)]["content"]["application/json"]["schema"], response.get_json())


def test_describes_the_headers_of_error_responses(client: FlaskClient, document: dict[str, Any]) -> None:
    limiter = service_of(client).admission.limiter
    while limiter.available:
        limiter.acquire()
    busy = client.post("/predict", data=PICTURE, content_type="image/png", headers=KEY)
    described = document["paths"]["/predict"]["post"]["responses"]
    assert (busy.status_code, list(described["429"]["headers"])) == (429, ["Retry-After"])
    check(document, described["429"]["headers"]["Retry-After"]["schema"], int(busy.headers["Retry-After"]))
    denied = client.post("/predict", data=PICTURE, content_type="image/png")
    assert (denied.status_code, list(described["401"]["headers"])) == (401, ["WWW-Authenticate"])
    assert denied.headers["WWW-Authenticate"] == "Bearer"


def test_lists_the_supported_content_types_of_predict(document: dict[str, Any]) -> None:
    request_body = document["paths"]["/predict"]["post"]["requestBody"]
    assert ", ".join(request_body["content"]) == body_parser.SUPPORTED_TYPES


def test_lists_the_values_of_the_query_parameters(client: FlaskClient, document: dict[str, Any]) -> None:
    parameters = {item["name"]: item for item in document["paths"]["/predict"]["post"]["parameters"]}
    assert set(parameters) == {"fields", "normalise", "split", "show"}
    assert parameters["normalise"]["schema"] == {"enum": ["auto", "always", "never"]}
    assert "digit, confidence, uncertain, probabilities" in parameters["fields"]["description"]
    for query in ("normalise=auto", "normalise=always", "normalise=never", "split=digits", "show=image"):
        response = client.post(f"/predict?{query}", data=PICTURE, content_type="image/png", headers=KEY)
        assert response.status_code == 200, query
