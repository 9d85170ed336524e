"""service/web/health.py: liveness, readiness, the model in use, metrics."""

import json
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tests.conftest import Serve, Versions, service_of
from tests.service.payloads import encode, stroke


def test_is_alive_and_ready_with_a_model(client: FlaskClient) -> None:
    assert client.get("/healthz").data == b'{"status":"alive"}\n'
    assert client.get("/readyz").data == b'{"status":"ready","version":"1"}\n'
    assert client.get("/readyz").content_type == "application/json"


def test_is_not_ready_until_a_model_is_loaded(serve: Serve, versions: Versions, models: Path) -> None:
    client = serve(models)
    for route in ("/readyz", "/model"):
        response = client.get(route)
        assert (response.status_code, response.get_json()) == (503, {"error": "no model is loaded yet"})
    assert client.get("/healthz").status_code == 200
    versions.put(models, 3, digit=3)
    service_of(client).store.refresh()
    assert client.get("/readyz").get_json() == {"status": "ready", "version": "3"}


def test_a_draining_service_is_not_ready_but_still_predicts(client: FlaskClient) -> None:
    service_of(client).drain()
    response = client.get("/readyz")
    assert (response.status_code, response.get_json()) == (503, {"error": "the service is stopping"})
    assert client.get("/healthz").status_code == 200
    assert client.post("/predict", data=encode(stroke()), content_type="image/png").status_code == 200


@pytest.mark.parametrize("runtime", ["litert", "tensorflow"])
def test_model_returns_the_manifest_and_the_runtime(serve: Serve, one_version: Path, runtime: str) -> None:
    model = serve(one_version, runtime=runtime).get("/model").get_json()
    manifest = json.loads((one_version / "1" / "manifest.json").read_text())
    assert model == {"version": "1", "manifest": manifest, "runtime": runtime}


@pytest.mark.parametrize("value", [2**70, "é", "\u2028", 1e-5, None, [[{}]]])
def test_model_returns_any_json_value_of_a_manifest(
    serve: Serve, versions: Versions, models: Path, value: object
) -> None:
    versions.put(models, 1, digit=1, remark=value)
    assert serve(models).get("/model").get_json()["manifest"]["remark"] == value


def test_metrics_are_in_the_prometheus_text_format(client: FlaskClient) -> None:
    response = client.get("/metrics")
    assert response.content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert 'digits_model_info{runtime="litert",version="1"} 1.0\n' in response.text
