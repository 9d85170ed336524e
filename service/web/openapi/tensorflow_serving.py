"""The routes of TensorFlow Serving's REST API in the OpenAPI document."""

from typing import Any

from service.settings import Settings
from service.web.openapi import examples
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

TAG = "TensorFlow Serving"
MODEL, VERSION = "/v1/models/digits", "/v1/models/digits/versions/{version}"


def paths(settings: Settings) -> Json:
    """The paths; with a key, all of them require it."""
    found: Json = {}
    for suffix, operation in {
        "": _get("getModelStatus", "Whether the version is available", "TensorFlowModelStatus"),
        "/metadata": _get("getModelSignatures", "Signatures of the SavedModel", "TensorFlowModelMetadata"),
        ":predict": _post(
            "predictTensorFlow",
            "Predict images, in rows (instances) or in columns (inputs)",
            "TensorFlowPredict",
            examples.TENSORFLOW_PREDICT_REQUESTS,
            examples.TENSORFLOW_PREDICT_RESPONSES,
        ),
        ":classify": _post(
            "classifyTensorFlow",
            "Predict images, with a label for each probability",
            "TensorFlowClassify",
            examples.TENSORFLOW_CLASSIFY_REQUESTS,
            examples.TENSORFLOW_CLASSIFY_RESPONSES,
        ),
    }.items():
        found |= for_versions(MODEL + suffix, require_key(operation, settings), VERSION + suffix)
    return found


def _get(name: str, summary: str, schema: str) -> Json:
    return Operation(name, TAG, summary).build(describe_success(schema, {}) | describe_errors(["503"]))


def _post(name: str, summary: str, schema: str, requests: dict[str, object], responses: dict[str, object]) -> Json:
    return Operation(name, TAG, summary).build(
        describe_success(f"{schema}Response", responses) | describe_errors(PREDICT_ERRORS),
        parameters=[parameter("query", "normalise", "as for /predict", {"enum": ["auto", "always", "never"]})],
        requestBody={"required": True, "content": json_content(f"{schema}Request", requests)},
    )
