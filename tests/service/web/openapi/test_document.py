"""service/web/openapi: the OpenAPI document is compared with the routes, the requests and the responses."""

import json
import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode

import numpy as np
import pytest
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from service.prediction import body_parser
from service.settings import Settings
from service.web.openapi import examples
from service.web.openapi.document import build_document
from tests.conftest import REPOSITORY, Serve, service_of
from tests.service.payloads import FORM, encode, form, idx3, json_of, npy, stroke
from tests.service.web.test_feedback import VALID

PICTURE = encode(stroke())
KEY = {"Authorization": "Bearer secret"}
MODELS = {name: [f"/{name}/models/digits", f"/{name}/models/digits/versions/{{version}}"] for name in ("v1", "v2")}


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
        (re.sub(r"<(?:path:)?(\w+)>", r"{\1}", rule.rule.replace("<model>", "digits")), method.lower())
        for rule in client.application.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if not rule.rule.startswith("/static/")
    }
    assert {(path, method) for path, operations in document["paths"].items() for method in operations} == routes


def test_omits_feedback_and_401_unless_configured() -> None:
    document = build_document(Settings(), "http://localhost")
    assert "/feedback" not in document["paths"]
    assert "'401'" not in str(document)
    assert "'security'" not in str(document)


def test_states_the_limits_of_the_settings() -> None:
    settings = Settings(max_body_bytes=1001, max_pictures=1002, max_pixels=1003)
    description = build_document(settings, "http://localhost")["paths"]["/predict"]["post"]["description"]
    for limit in ("1001 bytes", "1002 pictures", "1003 pixels"):
        assert limit in description


def test_marks_the_routes_that_require_the_key(client: FlaskClient, document: dict[str, Any]) -> None:
    secured = set()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            response = client.open(path.replace("{name}", "x").replace("{version}", "1"), method=method)
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
        ("post", "/v2/repository/index"),
        ("get", "/v2/models/stats"),
        *(("get", f"{model}{what}") for model in MODELS["v2"] for what in ("", "/config", "/stats")),
        *(("post", f"{model}/infer") for model in MODELS["v2"]),
        *(("get", f"{model}{what}") for model in MODELS["v1"] for what in ("", "/metadata")),
        *(("post", f"{model}:{what}") for model in MODELS["v1"] for what in ("predict", "classify")),
    }


def test_lists_the_statuses_of_every_operation(document: dict[str, Any]) -> None:
    statuses = {
        f"{method} {path}": " ".join(operation["responses"])
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    assert statuses == {
        "post /predict": "200 400 401 408 413 415 422 429 503",
        "post /feedback": "201 400 401 403 408 413 415 422 429 503 507",
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
        "get /v2": "200",
        "get /v2/health/live": "200",
        "get /v2/health/ready": "200 503",
        "get /v2/models/digits": "200 401 503",
        "get /v2/models/digits/ready": "200 503",
        "get /v2/models/digits/config": "200 401 503",
        "get /v2/models/digits/stats": "200 401 503",
        "get /v2/models/digits/versions/{version}": "200 401 404 503",
        "get /v2/models/digits/versions/{version}/ready": "200 404 503",
        "get /v2/models/digits/versions/{version}/config": "200 401 404 503",
        "get /v2/models/digits/versions/{version}/stats": "200 401 404 503",
        "post /v2/models/digits/infer": "200 400 401 408 413 415 422 429 503",
        "post /v2/models/digits/versions/{version}/infer": "200 400 401 404 408 413 415 422 429 503",
        "post /v2/repository/index": "200 400 401 408 413 415 429",
        "get /v2/models/stats": "200 401 503",
        "get /v1/models/digits": "200 401 503",
        "get /v1/models/digits/metadata": "200 401 503",
        "get /v1/models/digits/versions/{version}": "200 401 404 503",
        "get /v1/models/digits/versions/{version}/metadata": "200 401 404 503",
        "post /v1/models/digits:predict": "200 400 401 408 413 415 422 429 503",
        "post /v1/models/digits:classify": "200 400 401 408 413 415 422 429 503",
        "post /v1/models/digits/versions/{version}:predict": "200 400 401 404 408 413 415 422 429 503",
        "post /v1/models/digits/versions/{version}:classify": "200 400 401 404 408 413 415 422 429 503",
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
    assert ", ".join(list(request_body["content"])[:5]) == body_parser.SUPPORTED_TYPES
    assert list(request_body["content"])[5:] == ["application/x-www-form-urlencoded", "text/plain"]


def test_lists_the_values_of_the_query_parameters(client: FlaskClient, document: dict[str, Any]) -> None:
    parameters = {item["name"]: item for item in document["paths"]["/predict"]["post"]["parameters"]}
    assert set(parameters) == {"fields", "normalise", "split", "show"}
    assert parameters["normalise"]["schema"] == {"enum": ["auto", "always", "never"]}
    assert "digit, confidence, uncertain, probabilities" in parameters["fields"]["description"]
    for query in ("normalise=auto", "normalise=always", "normalise=never", "split=digits", "show=image"):
        response = client.post(f"/predict?{query}", data=PICTURE, content_type="image/png", headers=KEY)
        assert response.status_code == 200, query


def operations(document: Mapping[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def test_every_operation_has_a_name_for_generated_clients_and_a_tag(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z]+([A-Z][a-z]+)*", name.replace("OpenApi", "Openapi")) for name in names), names
    assert {"predict", "submitFeedback", "getModel", "infer", "inferVersion", "predictTensorFlow"} <= set(names)
    tags = {tag["name"] for tag in document["tags"]}
    assert tags == {tag for _, _, operation in operations(document) for tag in operation["tags"]}


def test_names_the_server_as_the_client_reached_it(serve: Serve, one_version: Path) -> None:
    client = serve(one_version, prefix="/digits")
    for headers, url in (
        ({}, "http://localhost/digits"),
        ({"Host": "example.org:8080"}, "http://example.org:8080/digits"),
        ({"X-Forwarded-Prefix": "/other"}, "http://localhost/other"),
        ({"Host": "a b"}, "http://localhost/digits"),
    ):
        document = client.get("/openapi.json", headers=headers).get_json()
        assert document["servers"] == [{"url": url}]
        sources = [sample["source"] for sample in document["paths"]["/predict"]["post"]["x-codeSamples"]]
        assert all(f"{url}/predict" in source for source in sources)


def test_every_example_of_a_request_gives_a_described_response(serve: Serve, tmp_path: Path) -> None:
    client = serve(REPOSITORY / "models" / "digits", feedback_dir=tmp_path)
    version = client.get("/readyz").get_json()["version"]
    document = client.get("/openapi.json").get_json()
    count = 0
    for path, method, operation in operations(document):
        for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
            for name, value in examples_of(content):
                body = encode_body(value, media_type)
                response = client.open(
                    path.replace("{version}", version), method=method, data=body, content_type=media_type
                )
                described = operation["responses"][str(response.status_code)]["content"]["application/json"]
                assert response.status_code in {200, 201}, (path, name, response.text)
                check(document, described["schema"], response.get_json())
                assert path in {"/feedback", "/v2/repository/index"} or read_digit(response.get_json()) == 7
                count += 1
    assert count > 15


def encode_body(value: Any, media_type: str) -> str:
    if isinstance(value, str):
        return value
    return urlencode(value) if media_type == "application/x-www-form-urlencoded" else json.dumps(value)


def read_digit(response: dict[str, Any]) -> int:
    """The predicted digit of the first image, in the response of any protocol."""
    match response:
        case {"predictions": [{"digit": int(digit)}, *_]}:
            return digit
        case {"outputs": [*_, {"name": "digit", "data": [int(digit)]}, _, _]} | {"outputs": [{"data": [int(digit)]}]}:
            return digit
        case {"results": [pairs]}:
            return int(max(pairs, key=lambda pair: pair[1])[0])
        case {"predictions": [row]} | {"outputs": [row]}:
            return int(np.argmax(row))
    raise AssertionError(response)


def examples_of(content: Mapping[str, Any]) -> list[tuple[str, Any]]:
    named = [(name, example["value"]) for name, example in content.get("examples", {}).items()]
    return named + ([("example", content["example"])] if "example" in content else [])


def test_every_example_fits_its_schema(document: dict[str, Any]) -> None:
    for _, _, operation in operations(document):
        bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
        for content in (content for body in bodies for content in body.get("content", {}).values()):
            for _, value in examples_of(content):
                check(document, content["schema"], value)


@pytest.mark.parametrize("key", ["", "secret"])
def test_the_commands_send_the_key_where_one_is_required(key: str) -> None:
    document = build_document(Settings(api_key=key), "https://example.org")
    for sample in document["paths"]["/predict"]["post"]["x-codeSamples"]:
        assert ("-H 'Authorization: Bearer KEY'" in sample["source"]) == bool(key)
        assert "secret" not in sample["source"]


def test_every_get_of_a_protocol_gives_a_described_response(client: FlaskClient, document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        if method == "get" and path.startswith(("/v1", "/v2")):
            response = client.get(path.replace("{version}", "1"), headers=KEY)
            assert response.status_code == 200
            check(document, operation["responses"]["200"]["content"]["application/json"]["schema"], response.get_json())


def test_the_example_pixels_are_a_seven() -> None:
    assert len(examples.PIXELS) == 28
    assert {len(row) for row in examples.PIXELS} == {28}
