"""The contract against what the service does."""

import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator, ValidationError
from openapi_spec_validator import validate

from service.prediction import body_parser
from tests.conftest import Serve
from tests.service.payloads import FORM, encode, form, idx3, json_of, npy, stroke
from tests.service.web.test_feedback import GOOD

PICTURE = encode(stroke())
KEY = {"Authorization": "Bearer secret"}


@pytest.fixture
def client(serve: Serve, one_version: Path, tmp_path: Path) -> FlaskClient:
    """With everything that can be turned on."""
    return serve(
        one_version, feedback_dir=tmp_path / "feedback", feedback_max_files=1, api_key="secret", max_body_bytes=9999
    )


@pytest.fixture
def contract(client: FlaskClient) -> dict[str, Any]:
    document = client.get("/openapi.json").get_json()
    assert isinstance(document, dict)
    return document


def check(contract: Mapping[str, Any], schema: dict[str, Any], value: object) -> None:
    Draft202012Validator(schema | {"components": contract["components"]}).validate(value)


def test_it_is_openapi(contract: dict[str, Any]) -> None:
    validate(cast("Mapping[Hashable, Any]", contract))


def test_it_tells_every_route_and_no_other(client: FlaskClient, contract: dict[str, Any]) -> None:
    routes = {
        (re.sub(r"<(?:path:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in client.application.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if not rule.rule.startswith("/static/")
    }
    assert {(path, method) for path, operations in contract["paths"].items() for method in operations} == routes


def test_what_is_not_turned_on_is_not_told(serve: Serve, one_version: Path) -> None:
    contract = serve(one_version).get("/openapi.json").get_json()
    assert "/feedback" not in contract["paths"]
    assert '"401"' not in serve(one_version).get("/openapi.json").text


def test_keys_are_asked_for_where_it_says_so(client: FlaskClient, contract: dict[str, Any]) -> None:
    for path, operations in contract["paths"].items():
        for method, operation in operations.items():
            response = client.open(path.replace("{name}", "x"), method=method)
            asked = response.status_code == 401 and response.content_type == "application/json"
            assert asked == ("security" in operation), (method, path)


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


def test_answers_are_as_it_says(client: FlaskClient, contract: dict[str, Any]) -> None:
    for method, url, body, kind in REQUESTS:
        path, _, query = url.partition("?")
        operation = contract["paths"][path][method.lower()]
        names = {parameter["name"] for parameter in operation.get("parameters", [])}
        assert {pair.split("=")[0] for pair in query.split("&") if pair} <= names
        response = client.open(url, method=method, data=body or None, content_type=kind, headers=KEY)
        content = operation["responses"][str(response.status_code)]["content"]
        check(contract, content["application/json"]["schema"], response.get_json())


def test_feedback_is_as_it_says(client: FlaskClient, contract: dict[str, Any]) -> None:
    operation = contract["paths"]["/feedback"]["post"]
    check(contract, operation["requestBody"]["content"]["application/json"]["schema"], GOOD)
    for status in ("201", "507"):
        response = client.post("/feedback", json=GOOD, headers=KEY)
        assert response.status_code == int(status)
        check(contract, operation["responses"][status]["content"]["application/json"]["schema"], response.get_json())


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        ("/predict", b"", "image/png"),
        ("/predict", bytes(10_000), "image/png"),
        ("/predict", b"x", "text/plain"),
        ("/predict", json_of([0] * 784), "application/json"),
        ("/predict?split=x", PICTURE, "image/png"),
        ("/feedback", b"{}", "application/json"),
    ],
)
def test_refusals_are_as_it_says(
    client: FlaskClient, contract: dict[str, Any], path: str, body: bytes, kind: str
) -> None:
    response = client.post(path, data=body, content_type=kind, headers=KEY)
    assert response.status_code >= 400
    responses = contract["paths"][path.partition("?")[0]]["post"]["responses"]
    schema = responses[str(response.status_code)]["content"]["application/json"]["schema"]
    check(contract, schema, response.get_json())


def test_the_types_and_choices_of_predict_are_those_of_the_code(contract: dict[str, Any]) -> None:
    predict = contract["paths"]["/predict"]["post"]
    assert ", ".join(predict["requestBody"]["content"]) == body_parser.SUPPORTED_TYPES
    with pytest.raises(ValidationError):
        check(contract, {"$ref": "#/components/schemas/Images"}, {"images": [[0] * 783]})


def test_people_find_all_of_it(client: FlaskClient, contract: dict[str, Any]) -> None:
    html = client.get("/docs").text
    for path, operations in contract["paths"].items():
        for method, operation in operations.items():
            assert f"{method.upper()} {path}" in html
            assert operation["summary"] in html.replace("&#39;", "'")
