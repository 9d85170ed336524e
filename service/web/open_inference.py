"""The routes of the Open Inference Protocol V2 besides infer: metadata, health, and Triton's extensions.

GET /v2                                              server metadata
GET /v2/health/live, /v2/health/ready
GET /v2/models/digits[/versions/N]                   model metadata
GET /v2/models/digits[/versions/N]/{ready,config,stats}
GET /v2/models/stats, POST /v2/repository/index

service/protocols/open_inference.py has POST /v2/models/digits[/versions/N]/infer. Specifications:
https://github.com/kserve/open-inference-protocol and
https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/protocol/README.html
"""

from collections.abc import Callable
from typing import Any

import orjson
from flask import Blueprint, Response, request

from service.errors import BadRequest, NotFound
from service.inference.model import Model
from service.inference.model_store import ModelStore
from service.monitoring.metrics import Metrics
from service.prediction.content_encoding import decode_body
from service.prediction.predictor import version_not_found
from service.prediction.protocol import MODEL_NAME
from service.protocols.open_inference_outputs import OUTPUTS
from service.protocols.open_inference_tensors import INPUT_NAME
from service.settings import Settings
from service.web.health import require_ready
from service.web.predict import json_response

SERVER_VERSION = "1"
MAX_INDEX_REQUEST_BYTES = 1 << 16
EXTENSIONS = (
    "classification",
    "model_repository",
    "model_configuration",
    "binary_tensor_data",
    "parameters",
    "statistics",
)
PLATFORM = "tensorflow_savedmodel"
MODEL_PATHS = ("/v2/models/<model>", "/v2/models/<model>/versions/<version>")
INDEX, ALL_STATISTICS = "/v2/repository/index", "/v2/models/stats"
PROTECTED_ROUTES = frozenset(
    {*MODEL_PATHS, *(f"{path}/{what}" for path in MODEL_PATHS for what in ("config", "stats")), INDEX, ALL_STATISTICS}
)
"""The routes that require the API key, as GET /model does; health and server metadata are open."""

_IMAGE_SHAPE = (28, 28)


def blueprint(settings: Settings, store: ModelStore, metrics: Metrics, stopping: Callable[[], bool]) -> Blueprint:
    """All routes of the module.

    Args:
        settings: the limits.
        store: holds the model in use.
        metrics: the metrics of all workers, for the statistics.
        stopping: returns whether the service shuts down and is no longer ready.
    """
    routes = Blueprint("open_inference", __name__)

    _add_server_routes(routes, store, stopping)
    _add_model_routes(routes, settings, store, metrics)

    @_for_models(routes, "/ready")
    def model_ready(model: str, version: str | None = None) -> Response:
        _require_model(require_ready(store, stopping), model, version)
        return json_response({"name": MODEL_NAME, "ready": True})

    @_for_models(routes, "/infer", method="POST")
    def infer_of_another_model(model: str, version: str | None = None) -> Response:
        raise _unknown_model(model, version)  # the routes of MODEL_NAME are in service/protocols

    return routes


def _add_server_routes(routes: Blueprint, store: ModelStore, stopping: Callable[[], bool]) -> None:
    @routes.get("/v2")
    def server_metadata() -> Response:
        return json_response({"name": MODEL_NAME, "version": SERVER_VERSION, "extensions": EXTENSIONS})

    @routes.get("/v2/health/live")
    def live() -> Response:
        return json_response({"live": True})

    @routes.get("/v2/health/ready")
    def ready() -> Response:
        require_ready(store, stopping)
        return json_response({"ready": True})

    @routes.post(INDEX)
    def index() -> Response:
        coding = request.headers.get("Content-Encoding", "")
        body = decode_body(request.get_data(cache=False), coding, MAX_INDEX_REQUEST_BYTES)
        current, wants_ready = store.current, parse_index_request(body)
        if current is None and wants_ready:
            return json_response([])
        if current is None:
            return json_response([{"name": MODEL_NAME, "state": "UNAVAILABLE", "reason": "no version is loaded"}])
        return json_response([{"name": MODEL_NAME, "version": current.version, "state": "READY", "reason": ""}])


def _add_model_routes(routes: Blueprint, settings: Settings, store: ModelStore, metrics: Metrics) -> None:
    @_for_models(routes)
    def metadata(model: str, version: str | None = None) -> Response:
        return json_response(describe_model(_require_model(store.require_current(), model, version).version))

    @_for_models(routes, "/config")
    def config(model: str, version: str | None = None) -> Response:
        _require_model(store.require_current(), model, version)
        return json_response(describe_configuration(settings.max_pictures))

    @_for_models(routes, "/stats")
    def statistics(model: str, version: str | None = None) -> Response:
        current = _require_model(store.require_current(), model, version)
        return json_response({"model_stats": [collect_statistics(metrics, current.version)]})

    @routes.get(ALL_STATISTICS)
    def all_statistics() -> Response:
        return statistics(MODEL_NAME)


def parse_index_request(body: bytes) -> bool:
    """Whether an index request, {"ready": true} or {"ready": false} or b"", wants only the models that are ready.

    Raises:
        BadRequest: it is something else.
    """
    try:
        document = orjson.loads(body or b"{}") if len(body) <= MAX_INDEX_REQUEST_BYTES else None
    except orjson.JSONDecodeError:
        document = None
    wants_ready = document.get("ready", False) if isinstance(document, dict) else None
    if not isinstance(wants_ready, bool):
        raise BadRequest('the body is no index request; expected: {"ready": true}, {"ready": false} or nothing')
    return wants_ready


def describe_model(version: str) -> dict[str, Any]:
    """The model metadata: names, datatypes and shapes; -1 is any number of images."""
    outputs = [{"name": name, "datatype": kind, "shape": [-1, *sides]} for name, (kind, sides) in OUTPUTS.items()]
    return {
        "name": MODEL_NAME,
        "versions": [version],
        "platform": PLATFORM,
        "inputs": [{"name": INPUT_NAME, "datatype": "UINT8", "shape": [-1, *_IMAGE_SHAPE]}],
        "outputs": outputs,
    }


def describe_configuration(max_batch_size: int) -> dict[str, Any]:
    """The model configuration of Triton, as far as it applies; `dims` are those of one image."""
    outputs: list[dict[str, Any]] = [
        {"name": name, "data_type": f"TYPE_{kind}", "dims": list(sides) or [1]}
        | ({} if sides else {"reshape": {"shape": []}})
        for name, (kind, sides) in OUTPUTS.items()
    ]
    return {
        "name": MODEL_NAME,
        "platform": PLATFORM,
        "backend": "tensorflow",
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": max_batch_size,
        "input": [{"name": INPUT_NAME, "data_type": "TYPE_UINT8", "dims": list(_IMAGE_SHAPE)}],
        "output": outputs,
        "dynamic_batching": {},
    }


def collect_statistics(metrics: Metrics, version: str) -> dict[str, Any]:
    """The statistics of all workers since the service was started, whatever version they used.

    `success` and `fail` count requests; the durations of decode, infer and encode are those of the stages.
    """
    totals = metrics.predict_totals()

    def stage(name: str) -> dict[str, int]:
        count, seconds = totals.stages.get(name, (0, 0.0))
        return {"count": count, "ns": round(seconds * 1e9)}

    return {
        "name": MODEL_NAME,
        "version": version,
        "inference_count": totals.images,
        "execution_count": totals.model_calls,
        "inference_stats": {
            "success": {"count": totals.succeeded, "ns": sum(stage(name)["ns"] for name in totals.stages)},
            "fail": {"count": totals.failed, "ns": 0},
            "queue": {"count": totals.succeeded, "ns": 0},
            "compute_input": stage("decode"),
            "compute_infer": stage("infer"),
            "compute_output": stage("encode"),
        },
        "batch_stats": [],
    }


def _for_models(
    routes: Blueprint, suffix: str = "", method: str = "GET"
) -> Callable[[Callable[..., Response]], Callable[..., Response]]:
    """Register a view for a model, with and without a version."""

    def register(view: Callable[..., Response]) -> Callable[..., Response]:
        for path in MODEL_PATHS:
            routes.add_url_rule(path + suffix, view_func=view, methods=[method])
        return view

    return register


def _require_model(current: Model, model: str, version: str | None) -> Model:
    if model != MODEL_NAME or version not in (None, current.version):
        raise _unknown_model(model, version, current.version)
    return current


def _unknown_model(model: str, version: str | None, current: str | None = None) -> NotFound:
    if model != MODEL_NAME:
        return NotFound(f"there is no model {model[:50]!r}; the model is {MODEL_NAME!r}")
    return version_not_found(str(version), str(current))
