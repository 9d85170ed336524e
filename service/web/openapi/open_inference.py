"""The routes of the Open Inference Protocol V2 in the OpenAPI document."""

from typing import Any

from service.settings import Settings
from service.web.openapi import examples, schemas
from service.web.openapi.operations import (
    PREDICT_ERRORS,
    Operation,
    describe_errors,
    describe_success,
    for_versions,
    json_content,
    parameter,
    require_key,
)

Json = dict[str, Any]

TAG = "Open Inference Protocol"
MODEL, VERSION = "/v2/models/digits", "/v2/models/digits/versions/{version}"
BINARY = "application/octet-stream"
LENGTH_HEADER = "Inference-Header-Content-Length"


def paths(settings: Settings) -> Json:
    """The paths; with a key, those that require it say so."""
    found = {
        "/v2": {
            "get": Operation("getServerMetadata", TAG, "Name, version and extensions of the server").build(
                describe_success("ServerMetadata", {})
            )
        },
        "/v2/health/live": {
            "get": Operation("getServerLive", TAG, "Liveness: 200 while the process runs").build(
                describe_success("ServerLive", {"live": {"live": True}})
            )
        },
        "/v2/health/ready": {
            "get": Operation("getServerReady", TAG, "Readiness: 200 while a model is loaded and warm").build(
                describe_success("ServerReady", {"ready": {"ready": True}}) | describe_errors(["503"])
            )
        },
        "/v2/repository/index": {"post": require_key(_index(), settings)},
        "/v2/models/stats": {
            "get": require_key(_get("getStatistics", "Statistics of all models", "ModelStats"), settings)
        },
    }
    for suffix, operation in {
        "": require_key(_get("getModelMetadata", "Inputs and outputs of the model", "ModelMetadata"), settings),
        "/ready": _get("getModelReady", "Readiness of the model", "ModelReady"),
        "/config": require_key(_get("getModelConfig", "Triton's configuration of the model", "ModelConfig"), settings),
        "/stats": require_key(_get("getModelStatistics", "Triton's statistics of the model", "ModelStats"), settings),
        "/infer": require_key(_infer(), settings),
    }.items():
        found |= for_versions(MODEL + suffix, operation, VERSION + suffix)
    return found


def _get(name: str, summary: str, schema: str) -> Json:
    return Operation(name, TAG, summary).build(describe_success(schema, {}) | describe_errors(["503"]))


def _index() -> Json:
    return Operation("getRepositoryIndex", TAG, "The models of the repository").build(
        describe_success("RepositoryIndex", {}) | describe_errors(["400", "408", "413", "415", "429"]),
        requestBody={"content": json_content("RepositoryIndexRequest", {"ready": {"ready": True}})},
    )


def _infer() -> Json:
    success = describe_success("InferResponse", examples.INFER_RESPONSES)
    success["200"]["content"][BINARY] = {"schema": schemas.BYTES}
    length = {LENGTH_HEADER: {"description": "bytes of the JSON before binary outputs", "schema": {"type": "integer"}}}
    success["200"]["headers"] = length
    return Operation("infer", TAG, "Predict images").build(
        success | describe_errors(PREDICT_ERRORS),
        description=(
            "The input is named images: numbers of shape [N, 28, 28], [N, 784] or [N, 28, 28, 1], or files of pictures "
            "as BYTES of shape [N], in JSON as base64. `data` is nested as the shape is, or flat. Binary data follows "
            f"the JSON, whose length is in {LENGTH_HEADER}. Outputs: probabilities, digit, confidence, uncertain."
        ),
        parameters=[
            parameter("query", "normalise", "as for /predict", {"enum": ["auto", "always", "never"]}),
            parameter(
                "header", LENGTH_HEADER, "bytes of the JSON before binary data; 0: pixels only", {"type": "integer"}
            ),
        ],
        requestBody={
            "required": True,
            "content": json_content("InferRequest", examples.INFER_REQUESTS)
            | {BINARY: {"schema": schemas.BYTES | {"description": "JSON, then binary data"}}},
        },
    )
