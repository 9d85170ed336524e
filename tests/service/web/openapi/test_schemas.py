"""service/web/openapi/schemas.py: each JSON Schema accepts valid documents and rejects invalid ones."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from service.web.openapi.schemas import component_schemas

ROWS = [[0] * 28] * 28
PREDICTION = {"digit": 7, "confidence": 0.5, "uncertain": False, "probabilities": [0.1] * 10}
RESPONSE: dict[str, Any] = {"model": "digits", "version": "1", "predictions": [PREDICTION]}
FEEDBACK = {"image": "AAAA", "digit": 7, "predicted": 1, "version": "1"}


def is_valid(name: str, document: object) -> bool:
    schemas = component_schemas()
    return bool(Draft202012Validator(schemas[name] | {"components": {"schemas": schemas}}).is_valid(document))


def test_names() -> None:
    native = "Image Pixels PredictRequest PredictResponse Feedback Model Status Readiness Error OpenApiDocument"
    open_inference = (
        "ServerMetadata ServerLive ServerReady ModelReady ModelMetadata ModelConfig ModelStats RepositoryIndex "
        "InferRequest InferResponse"
    )
    tensorflow = "PredictRequest PredictResponse ClassifyRequest ClassifyResponse ModelStatus ModelMetadata"
    expected = [*native.split(), *open_inference.split(), *(f"TensorFlow{name}" for name in tensorflow.split())]
    assert sorted(component_schemas()) == sorted(expected)


@pytest.mark.parametrize("name", component_schemas())
def test_is_a_schema(name: str) -> None:
    Draft202012Validator.check_schema(component_schemas()[name])


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("PredictRequest", {"images": ["AAAA", [255] * 784, ROWS]}),
        ("PredictRequest", {"instances": [ROWS]}),
        ("PredictRequest", {"images": [[0.5] * 784]}),
        ("PredictRequest", {"image": "AAAA"}),
        ("PredictRequest", {"image": ROWS}),
        ("PredictRequest", {"instances": [{"b64": "AAAA"}], "signature_name": "serving_default"}),
        ("PredictRequest", {"images": [[[[0.5]] * 28] * 28, [ROWS]]}),
        ("TensorFlowPredictRequest", {"instances": [{"images": ROWS}, ROWS, {"b64": "AAAA"}]}),
        ("TensorFlowPredictRequest", {"inputs": {"images": [ROWS]}}),
        ("TensorFlowClassifyRequest", {"examples": [{"images": ROWS}]}),
        (
            "InferRequest",
            {"inputs": [{"name": "images", "shape": [1, 784], "datatype": "FP32", "data": [0] * 784}]},
        ),
        ("PredictResponse", RESPONSE),
        ("PredictResponse", RESPONSE | {"numbers": ["20"], "predictions": [{"digit": 2}, {"digit": 0}]}),
        (
            "PredictResponse",
            RESPONSE | {"predictions": [{"picture": 1, "line": 2, "box": [0, 0, 9, 9], "image": "AAAA"}]},
        ),
        ("Feedback", FEEDBACK),
        ("Feedback", {"image": ROWS, "digit": 0}),
        ("Model", {"version": "1", "manifest": None, "runtime": "litert"}),
        ("Status", {"status": "alive"}),
        ("Readiness", {"status": "ready", "version": "1"}),
        ("Error", {"error": "one sentence"}),
    ],
)
def test_accepts(name: str, document: object) -> None:
    assert is_valid(name, document)


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("PredictRequest", {"images": []}),
        ("PredictRequest", {"images": [[0] * 783]}),
        ("PredictRequest", {"images": [[0] * 785]}),
        ("PredictRequest", {"images": [[256] * 784]}),
        ("PredictRequest", {"images": [[-1] * 784]}),
        ("PredictRequest", {"images": [ROWS[1:]]}),
        ("PredictRequest", {"images": [[[0] * 27] * 28]}),
        ("PredictRequest", {"images": [ROWS], "instances": [ROWS]}),
        ("PredictRequest", {"images": [ROWS], "signature_name": "serving_default"}),
        ("TensorFlowPredictRequest", {"instances": [ROWS], "inputs": [ROWS]}),
        ("TensorFlowPredictRequest", {"instances": [ROWS], "signature_name": "other"}),
        ("TensorFlowPredictRequest", {"instances": []}),
        ("TensorFlowClassifyRequest", {"examples": [ROWS]}),
        ("InferRequest", {"inputs": []}),
        ("InferRequest", {"inputs": [{"name": "image", "shape": [1, 784], "datatype": "FP32"}]}),
        ("InferRequest", {"inputs": [{"name": "images", "shape": [0], "datatype": "BYTES"}]}),
        ("PredictResponse", RESPONSE | {"model": "letters"}),
        ("PredictResponse", RESPONSE | {"version": 1}),
        ("PredictResponse", RESPONSE | {"predictions": []}),
        ("PredictResponse", RESPONSE | {"other": 1}),
        ("PredictResponse", RESPONSE | {"predictions": [PREDICTION | {"digit": 10}]}),
        ("PredictResponse", RESPONSE | {"predictions": [PREDICTION | {"confidence": 1.1}]}),
        ("PredictResponse", RESPONSE | {"predictions": [PREDICTION | {"probabilities": [0.1] * 9}]}),
        ("PredictResponse", RESPONSE | {"predictions": [PREDICTION | {"box": [0, 0, 9]}]}),
        ("PredictResponse", RESPONSE | {"predictions": [PREDICTION | {"picture": 0}]}),
        ("PredictResponse", RESPONSE | {"predictions": [PREDICTION | {"line": 0}]}),
        ("Feedback", {"image": "AAAA"}),
        ("Feedback", FEEDBACK | {"digit": -1}),
        ("Feedback", FEEDBACK | {"predicted": 10}),
        ("Feedback", FEEDBACK | {"version": "1" * 21}),
        ("Feedback", FEEDBACK | {"answered": 1}),
        ("Model", {"version": "1", "manifest": {}}),
        ("Status", {}),
        ("Readiness", {"status": "ready"}),
        ("Error", {"error": 1}),
        ("Error", {"error": "one sentence", "status": 400}),
    ],
)
def test_rejects(name: str, document: object) -> None:
    assert not is_valid(name, document)
