"""Routes for operators: liveness, readiness, the model in use, metrics."""

from collections.abc import Callable

import orjson
from flask import Blueprint, Response

from service.errors import ModelNotReady
from service.inference.model_store import ModelStore
from service.monitoring.metrics import CONTENT_TYPE, Metrics
from service.responses import JSON


def blueprint(store: ModelStore, metrics: Metrics, stopping: Callable[[], bool]) -> Blueprint:
    """GET /healthz, /readyz, /model and /metrics.

    Args:
        store: holds the model in use.
        metrics: the metrics to expose.
        stopping: returns whether the service shuts down and is no longer ready.
    """
    routes = Blueprint("health", __name__)

    @routes.get("/healthz")
    def healthz() -> Response:
        return _json({"status": "alive"})

    @routes.get("/readyz")
    def readyz() -> Response:
        if stopping():
            raise ModelNotReady("the service is stopping")
        return _json({"status": "ready", "version": store.require_current().version})

    @routes.get("/model")
    def model() -> Response:
        current = store.require_current()
        head = f'{{"version":"{current.version}","manifest":'.encode()
        return _response(head + current.manifest_json + f',"runtime":"{current.runtime.name}"}}\n'.encode())

    @routes.get("/metrics")
    def exposition() -> Response:
        return Response(metrics.exposition(), content_type=CONTENT_TYPE)

    return routes


def _json(document: object) -> Response:
    return _response(orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE))


def _response(content: bytes) -> Response:
    return Response(content, mimetype=JSON)
