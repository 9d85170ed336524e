"""service/web/feedback.py: POST /feedback stores one JSON file for each valid request, up to a limit."""

import json
import os
from base64 import b64encode
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from service.app import create_app
from service.settings import SettingError, Settings
from tests.conftest import REPOSITORY, Serve
from tests.service.payloads import encode, stroke
from tests.service.test_app import samples

BASE64 = b64encode(encode(stroke())).decode()
VALID = {"image": BASE64, "digit": 7, "predicted": 1, "version": "1"}


@pytest.fixture
def feedback_dir(tmp_path: Path) -> Path:
    """A directory that does not exist yet."""
    return tmp_path / "some" / "feedback"


@pytest.fixture
def client(serve: Serve, one_version: Path, feedback_dir: Path) -> FlaskClient:
    return serve(one_version, feedback_dir=feedback_dir, feedback_max_files=3)


def stored_documents(directory: Path) -> list[dict[str, object]]:
    assert [file for file in directory.iterdir() if file.suffix != ".json"] == []
    return [json.loads(file.read_text()) for file in sorted(directory.iterdir())]


def test_without_a_directory_the_route_does_not_exist(serve: Serve, one_version: Path) -> None:
    client = serve(one_version)
    assert client.post("/feedback", json=VALID).status_code == 404
    assert "right digit" not in client.get("/").text


def test_stores_and_counts_feedback(client: FlaskClient, feedback_dir: Path) -> None:
    assert "Tap the right digit" in client.get("/").text
    response = client.post("/feedback", json=VALID)
    assert (response.status_code, response.get_json()) == (201, {"status": "kept"})
    pixels = stroke().reshape(-1).tolist()
    assert client.post("/feedback", json={"image": pixels, "digit": 0, "predicted": None}).status_code == 201
    documents = stored_documents(feedback_dir)
    assert all(str(document.pop("received")).endswith("Z") for document in documents)
    assert documents == [VALID, {"image": pixels, "digit": 0, "predicted": None}]
    assert sorted(samples(client, "digits_feedback_total")) == [
        'digits_feedback_total{digit="0"} 1.0',
        'digits_feedback_total{digit="7"} 1.0',
    ]


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"digit": 10}, 400, "digit is '10'; expected: an integer from 0 to 9"),
        ({"digit": -1}, 400, "digit is '-1'"),
        ({"digit": True}, 400, "digit is 'True'"),
        ({"digit": 7.0}, 400, "digit is '7.0'"),
        ({"digit": "7"}, 400, "digit is '7'"),
        ({"digit": None}, 400, "digit is 'None'"),
        ({"predicted": -1}, 400, "predicted is '-1'; expected: an integer from 0 to 9"),
        ({"predicted": 10}, 400, "predicted is '10'"),
        ({"version": "1" * 21}, 400, f"version is '{'1' * 21}'; expected: a string of at most 20 characters"),
        ({"version": 1}, 400, "version is '1'"),
        ({"image": "###"}, 400, "the base64 cannot be read"),
        ({"image": b64encode(b"no picture").decode()}, 415, "PNG"),
        ({"image": [0] * 783}, 400, "783"),
        ({"image": [0] * 784}, 422, "no digit"),
        ({"image": 7}, 400, " is 7; "),
        ({"image": [True] + [0] * 783}, 400, "a pixel is true"),
        ({"other": 1}, 400, "the JSON is not an object"),
        ({"answered": 1}, 400, '"predicted" and "version"'),
        ({"image": "A" * (1 << 16)}, 413, "65536 are allowed"),
    ],
)
def test_rejects_invalid_feedback(
    client: FlaskClient, feedback_dir: Path, change: dict[str, object], status: int, message: str
) -> None:
    response = client.post("/feedback", json=VALID | change)
    assert response.status_code == status
    assert message in response.get_json()["error"]
    assert stored_documents(feedback_dir) == []


def test_accepts_the_limits(client: FlaskClient, feedback_dir: Path) -> None:
    assert client.post("/feedback", json=VALID | {"digit": 0, "predicted": 9}).status_code == 201
    assert client.post("/feedback", json=VALID | {"digit": 9, "predicted": 0, "version": "1" * 20}).status_code == 201
    body = json.dumps(VALID).encode().ljust(1 << 16)
    json_type = "application/json"
    assert client.post("/feedback", data=body, content_type=json_type).status_code == 201
    assert client.post("/feedback", data=body + b" ", content_type=json_type).status_code == 413
    assert len(stored_documents(feedback_dir)) == 3


@pytest.mark.parametrize(
    "content_type",
    [
        *(None, "", "text/plain", "text/plain; application/json", "multipart/form-data; boundary=edge", "text/json"),
        *("application/x-www-form-urlencoded", "application/jsonp", "application/json, text/plain"),
    ],
)
def test_rejects_what_a_page_of_another_site_can_send_without_permission(
    client: FlaskClient, feedback_dir: Path, content_type: str | None
) -> None:
    """The content types of https://fetch.spec.whatwg.org/#cors-safelisted-request-header, and lookalikes of JSON."""
    response = client.post("/feedback", data=json.dumps(VALID), content_type=content_type)
    media_type = repr(content_type.partition(";")[0]) if content_type else "missing"
    assert response.status_code == 415
    assert response.get_json() == {"error": f"the content type is {media_type}; supported: application/json"}
    assert stored_documents(feedback_dir) == []


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8"])
def test_accepts_json_with_any_parameters(client: FlaskClient, content_type: str) -> None:
    assert client.post("/feedback", data=json.dumps(VALID), content_type=content_type).status_code == 201


@pytest.mark.parametrize(
    ("site", "status"),
    [("cross-site", 403), ("same-site", 403), ("Cross-Site", 403), ("same-origin", 201), ("none", 201)],
)
def test_rejects_requests_of_pages_of_other_origins(
    client: FlaskClient, feedback_dir: Path, site: str, status: int
) -> None:
    response = client.post("/feedback", json=VALID, headers={"Sec-Fetch-Site": site})
    assert response.status_code == status
    assert len(stored_documents(feedback_dir)) == (status == 201)
    if status == 403:
        error = f"the request comes from a web page of another origin (Sec-Fetch-Site: {site})"
        assert response.get_json() == {"error": error}


def test_grants_no_permission_to_other_origins(client: FlaskClient) -> None:
    headers = {"Origin": "https://example.org", "Access-Control-Request-Method": "POST"}
    preflight = client.options("/feedback", headers=headers | {"Access-Control-Request-Headers": "content-type"})
    assert "Access-Control" not in str(preflight.headers)


ORIGIN = "https://a.example"


@pytest.mark.parametrize(
    ("origins", "status", "granted"),
    [(ORIGIN, 201, ORIGIN), ("https://b.example", 403, None), ("*", 403, None), ("", 403, None)],
)
def test_pages_of_listed_origins_alone_may_send_feedback(
    serve: Serve, feedback_dir: Path, origins: str, status: int, granted: str | None
) -> None:
    client = serve(REPOSITORY / "models" / "digits", feedback_dir=feedback_dir, cors_origins=origins)
    headers = {"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"}
    response = client.post("/feedback", json=VALID, headers=headers)
    assert (response.status_code, response.headers.get("Access-Control-Allow-Origin")) == (status, granted)
    preflight = client.options("/feedback", headers=headers | {"Access-Control-Request-Method": "POST"})
    assert preflight.headers.get("Access-Control-Allow-Origin") == granted
    assert ("Access-Control-Allow-Methods" in preflight.headers) == (granted is not None)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b'{"digit": 7}', b"\xff", b"[" * 2000])
def test_rejects_a_body_that_is_not_such_an_object(client: FlaskClient, body: bytes) -> None:
    assert client.post("/feedback", data=body, content_type="application/json").status_code == 400


def test_rejects_a_deeply_nested_image(client: FlaskClient) -> None:
    body = b'{"digit": 7, "image": ' + b"[" * 900 + b"]" * 900 + b"}"
    response = client.post("/feedback", data=body, content_type="application/json")
    assert (response.status_code, list(response.get_json())) == (400, ["error"])


def test_a_full_directory_is_507_until_a_file_is_removed(client: FlaskClient, feedback_dir: Path) -> None:
    statuses = [client.post("/feedback", json=VALID).status_code for _ in range(4)]
    assert statuses == [201, 201, 201, 507]
    assert client.post("/feedback", json=VALID).get_json() == {
        "error": "the service stores 3 feedback files, which is the limit"
    }
    next(feedback_dir.iterdir()).unlink()
    assert client.post("/feedback", json=VALID).status_code == 201


def test_a_failed_write_stores_nothing(
    client: FlaskClient, feedback_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "fsync", fail)
    assert client.post("/feedback", json=VALID).status_code == 500
    assert stored_documents(feedback_dir) == []
    assert samples(client, "digits_feedback_total") == []
    monkeypatch.undo()
    assert client.post("/feedback", json=VALID).status_code == 201


def test_a_temporary_file_of_a_crash_does_not_count(client: FlaskClient, feedback_dir: Path) -> None:
    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", crash)
        patch.setattr(Path, "unlink", crash)
        with pytest.raises(KeyboardInterrupt):
            client.post("/feedback", json=VALID)
    assert len(list(feedback_dir.iterdir())) == 1
    statuses = [client.post("/feedback", json=VALID).status_code for _ in range(4)]
    assert statuses == [201, 201, 201, 507]


def test_a_directory_that_cannot_be_created_stops_the_start(one_version: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match=r"DIGITS_FEEDBACK_DIR is .*/file/feedback"):
        create_app(Settings(model_dir=one_version, feedback_dir=tmp_path / "file" / "feedback"))
