"""service/web/open_inference.py: metadata, health and statistics of the Open Inference Protocol."""

from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Serve
from tests.service.payloads import encode, stroke

METADATA = {
    "name": "digits",
    "versions": ["1"],
    "platform": "tensorflow_savedmodel",
    "inputs": [{"name": "images", "datatype": "UINT8", "shape": [-1, 28, 28]}],
    "outputs": [
        {"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]},
        {"name": "digit", "datatype": "INT64", "shape": [-1]},
        {"name": "confidence", "datatype": "FP32", "shape": [-1]},
        {"name": "uncertain", "datatype": "BOOL", "shape": [-1]},
    ],
}
ALL = ("/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/digits", "/v2/models/digits/config")


def test_describes_server_and_model(serve: Serve, one_version: Path) -> None:
    client = serve(one_version, max_pictures=123)
    assert client.get("/v2").get_json() == {
        "name": "digits",
        "version": "1",
        "extensions": [
            "classification",
            "model_repository",
            "model_configuration",
            "binary_tensor_data",
            "parameters",
            "statistics",
        ],
    }
    for path in ("/v2/models/digits", "/v2/models/digits/versions/1"):
        assert client.get(path).get_json() == METADATA
        assert client.get(f"{path}/ready").get_json() == {"name": "digits", "ready": True}
        configuration = client.get(f"{path}/config").get_json()
        assert configuration["max_batch_size"] == 123
        assert configuration["input"] == [{"name": "images", "data_type": "TYPE_UINT8", "dims": [28, 28]}]
    assert client.post("/v2/repository/index").get_json() == [
        {"name": "digits", "version": "1", "state": "READY", "reason": ""}
    ]


def test_every_answer_is_json_and_ends_with_a_newline(serve: Serve, one_version: Path) -> None:
    client = serve(one_version)
    for path in ALL:
        response = client.get(path)
        assert (response.status_code, response.content_type) == (200, "application/json")
        assert response.data.endswith(b"}\n")


def test_health_is_live_but_not_ready_without_a_model(serve: Serve, models: Path) -> None:
    client = serve(models)
    assert client.get("/v2/health/live").get_json() == {"live": True}
    for path in ("/v2/health/ready", "/v2/models/digits/ready", "/v2/models/digits"):
        assert client.get(path).status_code == 503
    for body in (b"", b"{}", b'{"ready": false}'):
        assert client.post("/v2/repository/index", data=body).get_json() == [
            {"name": "digits", "state": "UNAVAILABLE", "reason": "no version is loaded"}
        ]
    assert client.post("/v2/repository/index", data=b'{"ready": true}').get_json() == []


@pytest.mark.parametrize("body", [b"?", b"[]", b'{"ready": 1}', b'{"ready": true}' + b" " * 1000, b"[" * 500])
def test_another_body_is_no_index_request(serve: Serve, one_version: Path, body: bytes) -> None:
    response = serve(one_version).post("/v2/repository/index", data=body)
    assert response.status_code == 400
    assert response.get_json()["error"].startswith("the body is no index request; expected: ")


@pytest.mark.parametrize("suffix", ["", "/ready", "/config", "/stats"])
def test_other_models_and_versions_are_not_found(serve: Serve, one_version: Path, suffix: str) -> None:
    client = serve(one_version)
    response = client.get(f"/v2/models/letters{suffix}")
    assert response.status_code == 404
    assert response.get_json() == {"error": "there is no model 'letters'; the model is 'digits'"}
    response = client.get(f"/v2/models/digits/versions/7{suffix}")
    assert response.status_code == 404
    assert response.get_json() == {"error": "version 7 is not served; the version in use is 1"}


def test_another_model_infers_nothing(serve: Serve, one_version: Path) -> None:
    client = serve(one_version)
    for path in ("/v2/models/letters/infer", "/v2/models/letters/versions/1/infer"):
        assert client.post(path, data=b"{}").get_json() == {
            "error": "there is no model 'letters'; the model is 'digits'"
        }


def test_statistics_count_requests_images_and_calls(serve: Serve, one_version: Path) -> None:
    client = serve(one_version)
    octets = {"Content-Type": "application/octet-stream"}
    client.post("/predict", data=np.stack([stroke()] * 3).tobytes(), headers=octets)
    client.post("/predict", data=encode(stroke()), headers={"Content-Type": "image/png"})
    client.post("/predict", data=b"?", headers={"Content-Type": "image/png"})
    for path in ("/v2/models/digits/stats", "/v2/models/stats"):
        (statistics,) = client.get(path).get_json()["model_stats"]
        assert (statistics["name"], statistics["version"]) == ("digits", "1")
        assert (statistics["inference_count"], statistics["execution_count"]) == (4, 2)
        stats = statistics["inference_stats"]
        assert (stats["success"]["count"], stats["fail"]["count"]) == (2, 1)
        assert [stats[name]["count"] for name in ("compute_infer", "compute_output")] == [2, 2]
        assert stats["success"]["ns"] >= stats["compute_infer"]["ns"] > 0


def test_what_describes_the_model_requires_the_key_and_health_does_not(serve: Serve, one_version: Path) -> None:
    client = serve(one_version, api_key="secret")
    for path in ("/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/digits/ready"):
        assert client.get(path).status_code == 200
    key = {"Authorization": "Bearer secret"}
    for path in ("/v2/models/digits", "/v2/models/digits/versions/1/config", "/v2/models/digits/stats"):
        assert client.get(path).status_code == 401
        assert client.get(path, headers=key).status_code == 200
    assert client.post("/v2/repository/index").status_code == 401
    assert client.post("/v2/models/digits/infer", data=b"{}").status_code == 401
