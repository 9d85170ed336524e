"""service/web/route_errors.py: an unknown route names the nearest one, a wrong method the command to type."""

from pathlib import Path

import pytest
from flask.testing import FlaskClient

from service.web.route_errors import describe_method, find_nearest_route
from tests.conftest import Serve

ROUTES = [
    "/",
    "/docs",
    "/healthz",
    "/metrics",
    "/model",
    "/openapi.json",
    "/predict",
    "/readyz",
    "/v1/models/digits:predict",
]


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/predict/", "/predict"),
        ("/predict//", "/predict"),
        ("/Predict", "/predict"),
        ("/PREDICT/", "/predict"),
        ("/api/predict", "/predict"),
        ("/api/v3/predict/", "/predict"),
        ("/predict.json", "/predict"),
        ("/predicts", "/predict"),
        ("/prediction", "/predict"),
        ("/classify", "/predict"),
        ("/health", "/healthz"),
        ("/api/health", "/healthz"),
        ("/Healthz/", "/healthz"),
        ("/swagger", "/docs"),
        ("/openapi", "/openapi.json"),
        ("/model/1", "/model"),
        ("/v1/models/mnist:predict", "/v1/models/digits:predict"),
        ("/wp-admin.php", None),
        ("/nowhere", None),
        ("/feedback", None),
        ("/" + "x" * 99, None),
    ],
)
def test_finds_the_route_that_a_path_means(path: str, route: str | None) -> None:
    assert find_nearest_route(path, ROUTES) == route


def test_an_unknown_route_names_the_nearest_one(client: FlaskClient) -> None:
    for method in ("GET", "POST"):
        response = client.open("/api/predict", method=method)
        assert (response.status_code, response.data) == (
            404,
            b'{"error":"there is no route /api/predict; did you mean /predict?"}\n',
        )
    assert client.get("/nowhere").get_json() == {"error": "there is no route /nowhere"}


def test_a_missing_file_of_a_route_names_no_other_route(client: FlaskClient) -> None:
    assert client.get("/report/none").get_json() == {"error": "there is no /report/none"}


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_another_method_of_predict_gets_the_command_to_type(client: FlaskClient, method: str) -> None:
    response = client.open("/predict", method=method, headers={"Host": "digits.example:8080"})
    assert response.status_code == 405
    assert response.get_json() == {
        "error": f"/predict does not allow {method}; "
        "send a picture by POST: curl -F file=@digit.png http://digits.example:8080/predict"
    }


def test_the_command_has_the_header_of_the_key_where_one_is_required(serve: Serve, one_version: Path) -> None:
    error = serve(one_version, api_key="secret").get("/predict").get_json()["error"]
    assert error.endswith("curl -H 'Authorization: Bearer KEY' -F file=@digit.png http://localhost/predict")


@pytest.mark.parametrize("host", ["a$(b)", "a;b", "a'b", "a&b", "x" * 5 + "%41"])
def test_the_command_repeats_no_host_that_a_shell_would_read(client: FlaskClient, host: str) -> None:
    response = client.get("/predict", headers={"Host": host})
    assert response.get_json()["error"].endswith(" http://localhost/predict")


def test_the_other_routes_name_the_allowed_methods(client: FlaskClient) -> None:
    assert client.post("/metrics").get_json() == {"error": "/metrics does not allow POST; allowed: GET"}
    long = "/" + "x" * 200
    assert describe_method(long, "Y" * 50, [], requires_key=False).startswith(
        f"/{'x' * 99} does not allow {'Y' * 20}; allowed: "
    )


def test_head_of_predict_has_the_allowed_methods_and_no_body(client: FlaskClient) -> None:
    response = client.head("/predict")
    assert (response.status_code, response.data) == (405, b"")
    assert set(response.headers["Allow"].split(", ")) == {"OPTIONS", "POST"}


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/model", "/openapi.json", "/nowhere", "/predict"])
def test_every_json_answer_ends_with_a_newline(client: FlaskClient, path: str) -> None:
    response = client.get(path)
    assert response.content_type == "application/json"
    assert response.data.endswith(b"}\n")
