"""Which routes require the API key: every route of the application is listed here as protected or as open."""

import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tests.conftest import Serve
from tests.service.payloads import FORM, encode, form, stroke

PICTURE = encode(stroke())
PROTECTED = [
    ("POST", "/predict"),
    ("POST", "/feedback"),
    ("POST", "/v1/models/digits:predict"),
    ("POST", "/v1/models/digits/versions/1:predict"),
    ("POST", "/v1/models/digits:classify"),
    ("POST", "/v1/models/digits/versions/1:classify"),
    ("GET", "/v1/models/digits"),
    ("GET", "/v1/models/digits/versions/1"),
    ("GET", "/v1/models/digits/metadata"),
    ("GET", "/v1/models/digits/versions/1/metadata"),
    ("POST", "/v2/models/digits/infer"),
    ("POST", "/v2/models/digits/versions/1/infer"),
    ("POST", "/v2/repository/index"),
    ("GET", "/v2/models/digits"),
    ("GET", "/v2/models/digits/versions/1"),
    ("GET", "/v2/models/digits/config"),
    ("GET", "/v2/models/digits/versions/1/config"),
    ("GET", "/v2/models/digits/stats"),
    ("GET", "/v2/models/digits/versions/1/stats"),
    ("GET", "/v2/models/stats"),
    ("GET", "/model"),
    ("HEAD", "/model"),
    ("GET", "/report/"),
    ("HEAD", "/report/"),
    ("GET", "/report/index.html"),
    ("GET", "/report/plots/accuracy.png"),
]
PROTECTED_BY_A_FORM_FIELD = ("POST", "/")
OPEN = [
    ("GET", "/"),
    ("GET", "/v2"),
    ("GET", "/v2/health/live"),
    ("GET", "/v2/health/ready"),
    ("GET", "/v2/models/digits/ready"),
    ("GET", "/v2/models/digits/versions/1/ready"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/docs"),
    ("GET", "/openapi.json"),
    ("GET", "/static/0/main.css"),
]
WRONG_KEYS = [
    None,
    "",
    "Bearer",
    "Bearer ",
    "Bearer secre",
    "Bearer secret2",
    "Bearer secret, Bearer secret",
    "bearer secret,bearer other",
    "Basic secret",
    "Basic c2VjcmV0",  # "secret", without the colon before a password
    "Basic OnNlY3JldDI=",  # ":secret2"
    "secret",
    "Bearer é",
]


@pytest.fixture
def client(serve: Serve, one_version: Path, tmp_path: Path) -> FlaskClient:
    return serve(one_version, api_key="secret", feedback_dir=tmp_path / "feedback")


def test_every_route_is_listed_as_protected_or_open(client: FlaskClient) -> None:
    listed = {*PROTECTED, PROTECTED_BY_A_FORM_FIELD, *OPEN}
    for rule in client.application.url_map.iter_rules():
        path = re.compile(re.sub(r"<(path:)?\w+>", ".+", rule.rule) + "$")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            assert any(path.match(url) and method == other for other, url in listed), (method, rule.rule)


@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_a_missing_or_wrong_key_is_401(client: FlaskClient, method: str, path: str) -> None:
    for key in WRONG_KEYS:
        response = client.open(path, method=method, headers={} if key is None else {"Authorization": key})
        assert response.status_code == 401, key
        assert response.headers.getlist("WWW-Authenticate")[0] == "Bearer"
        assert "secret" not in response.text
        if method != "HEAD":
            assert list(response.get_json()) == ["error"]


def expected_status(method: str, path: str) -> int:
    """The status of a request without a body, for a version without a report."""
    if path.startswith("/report/"):
        return 404
    if path in {"/feedback", "/v2/repository/index"}:
        return {"/feedback": 415}.get(path, 200)
    return {"POST": 400}.get(method, 200)


@pytest.mark.parametrize("key", ["Bearer secret", "bearer secret", "BEARER   secret"])
@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_the_right_key_passes(client: FlaskClient, method: str, path: str, key: str) -> None:
    response = client.open(path, method=method, headers={"Authorization": key})
    assert response.status_code == expected_status(method, path)


@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_two_headers_are_401_even_if_both_have_the_key(client: FlaskClient, method: str, path: str) -> None:
    for other in ("Bearer secret", "Basic YW55b25lOnNlY3JldA==", "x", ""):
        headers = [("Authorization", "Bearer secret"), ("Authorization", other)]
        response = client.open(path, method=method, headers=headers)
        assert response.status_code == 401
        if method != "HEAD":
            error = "the request has two Authorization headers; send one, with `Bearer KEY`"
            assert response.get_json() == {"error": error}


@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_without_a_configured_key_nothing_is_protected(
    serve: Serve, one_version: Path, tmp_path: Path, method: str, path: str
) -> None:
    client = serve(one_version, feedback_dir=tmp_path)
    assert client.open(path, method=method).status_code in {200, 400, 404, 415}


def test_basic_authentication_is_accepted_for_the_report_only(client: FlaskClient) -> None:
    basic = {"Authorization": "Basic YW55b25lOnNlY3JldA=="}  # "anyone:secret"
    for method, path in PROTECTED:
        expected = 404 if path.startswith("/report/") else 401
        assert client.open(path, method=method, headers=basic).status_code == expected
    assert "Basic" not in client.get("/model").headers["WWW-Authenticate"]
    assert client.get("/report/").headers.getlist("WWW-Authenticate") == [
        "Bearer",
        'Basic realm="Digits: the password is the key", charset="UTF-8"',
    ]


@pytest.mark.parametrize(("method", "path"), OPEN)
def test_an_open_route_needs_no_key(client: FlaskClient, method: str, path: str) -> None:
    assert client.open(path, method=method).status_code == 200


def test_the_form_requires_the_key_as_a_field(client: FlaskClient) -> None:
    def post(*fields: bytes, **options: object) -> int:
        body = b"".join(fields) + form(PICTURE)
        return client.post("/", data=body, content_type=FORM, **options).status_code

    field = b'--edge\r\nContent-Disposition: form-data; name="key"\r\n\r\n%s\r\n'
    assert [post(), post(field % b""), post(field % b"secre"), post(field % b"secret2")] == [401] * 4
    assert post(headers={"Authorization": "Bearer secret"}) == 401
    assert post(field % b"secret") == 200
