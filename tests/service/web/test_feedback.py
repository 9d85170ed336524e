import json
from base64 import b64encode
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from service.app import create_app
from service.settings import SettingError, Settings
from service.web.feedback import MAX_BYTES
from tests.conftest import Serve
from tests.service.payloads import encode, stroke
from tests.service.test_app import samples

BASE64 = b64encode(encode(stroke())).decode()
GOOD = {"image": BASE64, "digit": 7, "answered": 1, "version": "1"}


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "some" / "feedback"


@pytest.fixture
def client(serve: Serve, one_version: Path, kept: Path) -> FlaskClient:
    return serve(one_version, feedback_dir=kept, feedback_max_files=3)


def documents(kept: Path) -> list[dict[str, object]]:
    assert not [file for file in kept.iterdir() if file.name.startswith(".")]
    return [json.loads(file.read_text()) for file in sorted(kept.iterdir())]


def test_without_a_directory_there_is_none(serve: Serve, one_version: Path) -> None:
    client = serve(one_version)
    assert client.post("/feedback", json=GOOD).status_code == 404
    assert "right digit" not in client.get("/").text


def test_feedback_is_kept_and_counted(client: FlaskClient, kept: Path) -> None:
    assert "Tap the right digit" in client.get("/").text
    response = client.post("/feedback", json=GOOD)
    assert (response.status_code, response.get_json()) == (201, {"status": "kept"})
    pixels = stroke().reshape(-1).tolist()
    assert client.post("/feedback", json={"image": pixels, "digit": 0, "answered": None}).status_code == 201
    found = documents(kept)
    assert all(str(document.pop("received")).endswith("Z") for document in found)
    assert found == [GOOD, {"image": pixels, "digit": 0, "answered": None}]
    assert sorted(samples(client, "digits_feedback_total")) == [
        'digits_feedback_total{digit="0"} 1.0',
        'digits_feedback_total{digit="7"} 1.0',
    ]


@pytest.mark.parametrize(
    ("change", "status", "sentence"),
    [
        ({"digit": 10}, 400, "digit is '10'; a whole number from 0 to 9 is read"),
        ({"digit": True}, 400, "digit is 'True'"),
        ({"digit": 7.0}, 400, "digit is '7.0'"),
        ({"digit": "7"}, 400, "digit is '7'"),
        ({"digit": None}, 400, "digit is 'None'"),
        ({"answered": -1}, 400, "answered is '-1'"),
        ({"version": "1" * 21}, 400, "a text of at most 20 characters"),
        ({"version": 1}, 400, "version is '1'"),
        ({"image": "###"}, 400, "the base64 cannot be read"),
        ({"image": b64encode(b"no picture").decode()}, 415, ""),
        ({"image": [0] * 783}, 400, "783"),
        ({"image": [0] * 784}, 422, "no digit to read"),
        ({"image": 7}, 400, "the image is 7; expected: 28x28 or 784 integers, or base64"),
        ({"other": 1}, 400, "the JSON is not an object"),
        ({"image": "A" * MAX_BYTES}, 413, "65536 are allowed"),
    ],
)
def test_what_is_no_feedback_is_refused(
    client: FlaskClient, kept: Path, change: dict[str, object], status: int, sentence: str
) -> None:
    response = client.post("/feedback", json=GOOD | change)
    assert response.status_code == status
    assert sentence in response.get_json()["error"]
    assert documents(kept) == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b'{"digit": 7}', b"\xff", b"[" * 2000])
def test_a_body_that_is_no_such_object_is_refused(client: FlaskClient, body: bytes) -> None:
    assert client.post("/feedback", data=body, content_type="application/json").status_code == 400


def test_an_image_nested_without_end_is_the_clients_mistake(client: FlaskClient) -> None:
    body = b'{"digit": 7, "image": ' + b"[" * 900 + b"]" * 900 + b"}"
    response = client.post("/feedback", data=body, content_type="application/json")
    assert (response.status_code, list(response.get_json())) == (400, ["error"])


def test_no_more_is_kept_than_is_set(client: FlaskClient, kept: Path) -> None:
    statuses = [client.post("/feedback", json=GOOD).status_code for _ in range(4)]
    assert statuses == [201, 201, 201, 507]
    assert client.post("/feedback", json=GOOD).get_json() == {
        "error": "3 pieces of feedback are kept, which is the limit"
    }
    next(kept.iterdir()).unlink()
    assert client.post("/feedback", json=GOOD).status_code == 201


def test_feedback_asks_for_the_key(serve: Serve, one_version: Path, kept: Path) -> None:
    client = serve(one_version, feedback_dir=kept, api_key="secret")
    assert client.post("/feedback", json=GOOD).status_code == 401
    key = {"Authorization": "Bearer secret"}
    assert client.post("/feedback", json=GOOD, headers=key).status_code == 201


def test_a_directory_that_cannot_be_made_stops_the_start(one_version: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match=r"DIGITS_FEEDBACK_DIR is .*/file/feedback"):
        create_app(Settings(model_dir=one_version, feedback_dir=tmp_path / "file" / "feedback"))
