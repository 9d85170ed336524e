"""TensorFlow Serving's REST API: the status and the metadata of the model, and what is not there.

service/protocols/tensorflow_serving.py has predictions. The specification is
https://www.tensorflow.org/tfx/serving/api_rest ; the responses are GetModelStatusResponse and GetModelMetadataResponse
of https://github.com/tensorflow/serving/tree/master/tensorflow_serving/apis , as protocol buffers are written in JSON.
"""

import re
from typing import Any

from flask import Blueprint, Response

from service.errors import BadRequest, NotFound, RequestError
from service.inference.model import Model
from service.inference.model_store import ModelStore
from service.prediction.protocol import MODEL_NAME
from service.protocols.tensorflow_serving import INPUT, OUTPUT, SIGNATURE
from service.web.predict import json_response

_MODEL = f"/v1/models/{MODEL_NAME}"
STATUS_ROUTES = (_MODEL, f"{_MODEL}/versions/<version>")
METADATA_ROUTES = tuple(f"{route}/metadata" for route in STATUS_ROUTES)
ROUTES = (*STATUS_ROUTES, *METADATA_ROUTES)

_PATH = re.compile(
    r"/v1/models(?:/(?P<model>[^/:]+))?(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
    r"(?::(?P<method>classify|regress|predict)|/metadata)?"
)
"""The paths of TensorFlow Serving, as http_rest_api_util.cc has them."""


def blueprint(store: ModelStore) -> Blueprint:
    """GET /v1/models/digits, of a version too, and their metadata; `store` holds the model in use."""
    routes = Blueprint("tensorflow_serving", __name__)

    def status(version: str | None = None) -> Response:
        return json_response(describe_status(_require_version(store, version)))

    def metadata(version: str | None = None) -> Response:
        return json_response(describe_metadata(_require_version(store, version)))

    for route in STATUS_ROUTES:
        routes.add_url_rule(route, view_func=status)
    for route in METADATA_ROUTES:
        routes.add_url_rule(route, view_func=metadata)
    return routes


def describe_status(model: Model) -> dict[str, Any]:
    """A GetModelStatusResponse: the current version is available, and no other one is loaded."""
    status = {"error_code": "OK", "error_message": ""}
    return {"model_version_status": [{"version": model.version, "state": "AVAILABLE", "status": status}]}


def describe_metadata(model: Model) -> dict[str, Any]:
    """A GetModelMetadataResponse with the signatures of the SavedModel that the training exports."""
    return {
        "model_spec": {"name": MODEL_NAME, "signature_name": "", "version": model.version},
        "metadata": {"signature_def": {"signature_def": SIGNATURES}},
    }


def explain_not_found(path: str) -> RequestError | None:
    """The error for a path of TensorFlow Serving's REST API without a route here; None: it is no such path."""
    found = _PATH.fullmatch(path)
    if not found:
        return None
    model, version, label, method = found.group("model", "version", "label", "method")
    if model is None:
        return BadRequest(f"Missing model name in request; the only model is /v1/models/{MODEL_NAME}")
    if model != MODEL_NAME:
        wanted = f"Specific({model[:50]}, {version[:50]})" if version else f"Latest({model[:50]})"
        return NotFound(f"Servable not found for request: {wanted}; the only model is {MODEL_NAME}")
    if label is not None:
        return BadRequest(f"Unrecognized servable version label: {label[:50]}; the path may name a version, or nothing")
    if method == "regress":
        return BadRequest(
            "Expected regression signature method_name to be tensorflow/serving/regress. "
            "Was: tensorflow/serving/predict; use :predict or :classify"
        )
    return None


def _require_version(store: ModelStore, version: str | None) -> Model:
    """The current version.

    Raises:
        ModelNotReady: no model is loaded.
        NotFound: the path names another version.
    """
    model = store.require_current()
    if version is None or version == model.version:
        return model
    raise NotFound(
        f"Could not find version {version[:50]} of model {MODEL_NAME}; the version in use is {model.version}"
    )


def _tensor(name: str, dtype: str, *shape: int) -> dict[str, Any]:
    """A TensorInfo; a dimension of -1 has any size."""
    dimensions = [{"size": str(size), "name": ""} for size in shape]
    return {"dtype": dtype, "tensor_shape": {"dim": dimensions, "unknown_rank": False}, "name": name}


SIGNATURES: dict[str, Any] = {
    SIGNATURE: {
        "inputs": {INPUT: _tensor("serving_default_images:0", "DT_UINT8", -1, 28, 28)},
        "outputs": {OUTPUT: _tensor("StatefulPartitionedCall:0", "DT_FLOAT", -1, 10)},
        "method_name": "tensorflow/serving/predict",
        "defaults": {},
    },
    "__saved_model_init_op": {
        "inputs": {},
        "outputs": {
            "__saved_model_init_op": {
                "dtype": "DT_INVALID",
                "tensor_shape": {"dim": [], "unknown_rank": True},
                "name": "NoOp",
            }
        },
        "method_name": "",
        "defaults": {},
    },
}
"""The SignatureDefs of the SavedModel. The service needs no TensorFlow to read them: a version whose signature is
another one is rejected, and tests compare them with what TensorFlow reads."""
