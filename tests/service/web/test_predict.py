"""service/web/predict.py: POST /predict under a WSGI server."""

from io import BytesIO
from pathlib import Path

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.conftest import Serve, Versions, service_of
from tests.service.payloads import FORM, encode, form, native_request, stroke
from tests.service.test_app import samples

PICTURE = encode(stroke())


class UnreadableBody(BytesIO):
    """A request body that must not be read."""

    def read(self, *_: object) -> bytes:
        raise AssertionError("the body was read")


def post_unreadable(client: FlaskClient, content_length: int) -> TestResponse:
    return client.post(
        "/predict",
        input_stream=UnreadableBody(),
        content_type="image/png",
        environ_overrides={"CONTENT_LENGTH": str(content_length)},  # else the test client measures the stream
    )


def rejections(client: FlaskClient) -> list[str]:
    return [line.removeprefix("digits_rejected_total") for line in samples(client, "digits_rejected_total")]


def test_returns_the_json_of_the_predictor_for_body_type_and_query(client: FlaskClient) -> None:
    body = form(PICTURE, PICTURE)
    response = client.post("/predict?split=digits&fields=digit", data=body, content_type=FORM)
    assert (response.status_code, response.content_type) == (200, "application/json")
    assert (
        response.data
        == service_of(client).predictor.respond(native_request(FORM, b"split=digits&fields=digit"), body).body
    )
    document = response.get_json()
    assert list(document) == ["model", "version", "numbers", "predictions"]
    assert [list(prediction) for prediction in document["predictions"]] == [["digit", "picture", "line", "box"]] * 2


def test_checks_the_key_before_the_body_is_read(serve: Serve, one_version: Path) -> None:
    client = serve(one_version, api_key="secret")
    assert post_unreadable(client, 100).status_code == 401
    assert rejections(client) == ['{reason="unauthorised"} 1.0']


def test_checks_the_declared_size_before_the_body_is_read(serve: Serve, one_version: Path) -> None:
    client = serve(one_version, max_body_bytes=1000)
    response = post_unreadable(client, 1001)
    assert response.status_code == 413
    assert response.get_json() == {"error": "the body has 1001 bytes; 1000 are allowed"}
    assert rejections(client) == ['{reason="payload_too_large"} 1.0']


def test_checks_the_size_of_a_chunked_body(serve: Serve, one_version: Path) -> None:
    client = serve(one_version, max_body_bytes=len(PICTURE))
    for body, status in ((PICTURE, 200), (PICTURE + b"x", 413)):
        response = client.post(
            "/predict",
            input_stream=BytesIO(body),
            content_type="image/png",
            environ_overrides={"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True},
        )
        assert response.status_code == status
    assert f"{len(PICTURE)} are allowed" in response.get_json()["error"]


def test_rejects_requests_over_the_limit_in_flight_unread(serve: Serve, one_version: Path) -> None:
    client = serve(one_version, max_in_flight=1)
    with service_of(client).admission.limiter:
        response = post_unreadable(client, 100)
    assert (response.status_code, response.headers["Retry-After"]) == (429, "1")
    assert response.get_json() == {"error": "1 requests are in flight, which is the limit"}
    assert rejections(client) == ['{reason="too_many_requests"} 1.0']


def test_releases_the_limit_after_success_and_after_an_error(serve: Serve, one_version: Path) -> None:
    client = serve(one_version, max_in_flight=1)
    bodies = (b"no picture", PICTURE, b"", PICTURE)
    statuses = [client.post("/predict", data=body, content_type="image/png").status_code for body in bodies]
    assert statuses == [415, 200, 400, 200]
    assert service_of(client).admission.limiter.available == 1


def test_without_a_model_is_503(serve: Serve, versions: Versions, models: Path) -> None:
    client = serve(models)
    response = client.post("/predict", data=PICTURE, content_type="image/png")
    assert (response.status_code, response.get_json()) == (503, {"error": "no model is loaded yet"})
    assert rejections(client) == ['{reason="model_not_ready"} 1.0']
    versions.put(models, 1, digit=7)
    service_of(client).store.refresh()
    response = client.post("/predict", data=PICTURE, content_type="image/png")
    assert response.get_json()["predictions"][0]["digit"] == 7
