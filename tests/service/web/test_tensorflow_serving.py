"""service/web/tensorflow_serving.py: the status and the metadata of the model, and errors of other paths."""

import json
from pathlib import Path

import numpy as np
import pytest
from flask.testing import FlaskClient
from google.protobuf.json_format import MessageToDict
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from service.web.tensorflow_serving import SIGNATURES
from tests.conftest import REPOSITORY, Serve
from tests.service.payloads import stroke
from tests.service.test_app import samples

ROUTE = "/v1/models/digits"
STATUS = {
    "model_version_status": [
        {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    ]
}
REGRESS = "Expected regression signature method_name to be tensorflow/serving/regress. Was: tensorflow/serving/predict"
DOCUMENT = {"instances": [stroke().tolist()]}


def signatures(version: Path) -> object:
    """The signatures of a SavedModel, as TensorFlow reads them and protocol buffers write them in JSON."""
    model = SavedModel.FromString((version / "saved_model.pb").read_bytes())
    return {
        name: MessageToDict(signature, always_print_fields_with_no_presence=True, preserving_proto_field_name=True)
        for name, signature in model.meta_graphs[0].signature_def.items()
    }


@pytest.mark.parametrize("path", [ROUTE, f"{ROUTE}/versions/1"])
def test_the_status_is_available(client: FlaskClient, path: str) -> None:
    response = client.get(path)
    assert (response.status_code, response.content_type) == (200, "application/json")
    assert response.get_json() == STATUS
    assert response.data.endswith(b"}\n")


@pytest.mark.parametrize("path", [f"{ROUTE}/metadata", f"{ROUTE}/versions/1/metadata"])
def test_the_metadata_has_the_signatures_of_the_saved_model(client: FlaskClient, one_version: Path, path: str) -> None:
    document = client.get(path).get_json()
    assert list(document) == ["model_spec", "metadata"]
    assert document["model_spec"] == {"name": "digits", "signature_name": "", "version": "1"}
    assert document["metadata"] == {"signature_def": {"signature_def": signatures(one_version / "1")}}


def test_the_signatures_are_those_of_the_committed_versions() -> None:
    versions = [path.parent for path in (REPOSITORY / "models" / "digits").glob("*/saved_model.pb")]
    assert versions
    for version in versions:
        assert signatures(version) == SIGNATURES


@pytest.mark.parametrize("path", [ROUTE, f"{ROUTE}/metadata", f"{ROUTE}/versions/1"])
def test_without_a_model_is_503(serve: Serve, models: Path, path: str) -> None:
    response = serve(models).get(path)
    assert (response.status_code, response.get_json()) == (503, {"error": "no model is loaded yet"})


NOT_THERE = [
    ("GET", f"{ROUTE}/versions/2", 404, "Could not find version 2 of model digits; the version in use is 1"),
    ("GET", f"{ROUTE}/versions/x/metadata", 404, "Could not find version x of model digits; the version in use is 1"),
    ("POST", f"{ROUTE}/versions/2:predict", 404, "version 2 is not served; the version in use is 1"),
    ("POST", "/v1/models/half:predict", 404, "Servable not found for request: Latest(half); the only model is digits"),
    ("GET", "/v1/models/half", 404, "Servable not found for request: Latest(half); the only model is digits"),
    (
        "POST",
        "/v1/models/half/versions/3:classify",
        404,
        "Servable not found for request: Specific(half, 3); the only model is digits",
    ),
    ("GET", "/v1/models", 400, "Missing model name in request; the only model is /v1/models/digits"),
    (
        "POST",
        f"{ROUTE}/labels/stable:predict",
        400,
        "Unrecognized servable version label: stable; the path may name a version, or nothing",
    ),
    (
        "GET",
        f"{ROUTE}/labels/stable/metadata",
        400,
        "Unrecognized servable version label: stable; the path may name a version, or nothing",
    ),
    (
        "POST",
        f"{ROUTE}:regress",
        400,
        f"{REGRESS}; use :predict or :classify",
    ),
    (
        "POST",
        f"{ROUTE}:explain",
        404,
        "there is no route /v1/models/digits:explain; did you mean /v1/models/digits:classify?",
    ),
    ("GET", "/v1/foo", 404, "there is no route /v1/foo"),
    ("GET", f"{ROUTE}:predict", 405, "/v1/models/digits:predict does not allow GET; allowed: POST"),
    (
        "GET",
        f"{ROUTE}/versions/1:predict",
        405,
        "/v1/models/digits/versions/1:predict does not allow GET; allowed: POST",
    ),
    ("POST", ROUTE, 405, "/v1/models/digits does not allow POST; allowed: GET"),
]


@pytest.mark.parametrize(
    ("method", "path", "status", "error"), NOT_THERE, ids=[f"{row[0]} {row[1]}" for row in NOT_THERE]
)
def test_what_is_not_there(client: FlaskClient, method: str, path: str, status: int, error: str) -> None:
    response = client.open(path, method=method, json=DOCUMENT if method == "POST" else None)
    assert (response.status_code, response.get_json()) == (status, {"error": error})
    assert ("Allow" in response.headers) == (status == 405)


@pytest.mark.parametrize(("method", "key"), [("predict", "instances"), ("predict", "inputs"), ("classify", "examples")])
@pytest.mark.parametrize("prefix", [ROUTE, f"{ROUTE}/versions/1"])
def test_predicts_under_a_wsgi_server(client: FlaskClient, prefix: str, method: str, key: str) -> None:
    image = stroke().tolist()
    response = client.post(f"{prefix}:{method}", json={key: [{"images": image} if method == "classify" else image]})
    expected = client.post("/predict", json={"images": [image]}).get_json()["predictions"][0]["probabilities"]
    (row,) = response.get_json()[{"instances": "predictions", "inputs": "outputs", "examples": "results"}[key]]
    assert row == ([[str(digit), score] for digit, score in enumerate(expected)] if method == "classify" else expected)


def test_the_key_is_required(serve: Serve, one_version: Path) -> None:
    client = serve(one_version, api_key="secret")
    requests = [("GET", ROUTE), ("GET", f"{ROUTE}/versions/1/metadata"), ("POST", f"{ROUTE}:predict")]
    for method, path in requests:
        assert client.open(path, method=method, data=json.dumps(DOCUMENT)).status_code == 401
        authorised = client.open(
            path, method=method, data=json.dumps(DOCUMENT), headers={"Authorization": "Bearer secret"}
        )
        assert authorised.status_code == 200


def test_predictions_and_rejections_are_counted_by_route(client: FlaskClient) -> None:
    response = client.post(f"{ROUTE}:predict", json={"instances": [stroke().tolist()] * 3})
    predicted = int(np.argmax(response.get_json()["predictions"][0]))
    client.post(f"{ROUTE}/versions/1:classify", json={})
    client.post(f"{ROUTE}/versions/99:predict", json=DOCUMENT)
    routes = {
        f"{ROUTE}:predict": 200,
        f"{ROUTE}/versions/<version>:classify": 400,
        f"{ROUTE}/versions/<version>:predict": 404,
    }
    assert set(samples(client, "digits_http_requests_total", "digits_rejected_total")) == {
        *(
            f'digits_http_requests_total{{method="POST",route="{route}",status="{status}"}} 1.0'
            for route, status in routes.items()
        ),
        'digits_rejected_total{reason="bad_request"} 1.0',
        'digits_rejected_total{reason="not_found"} 1.0',
    }
    assert f'digits_predictions_total{{digit="{predicted}"}} 3.0' in samples(client, "digits_predictions_total")
