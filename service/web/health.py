"""Routes for operators: liveness, readiness, the model in use, metrics."""

from collections.abc import Callable

from flask import Blueprint, Response

from service.errors import ModelNotReady
from service.inference.model import Model
from service.inference.model_store import ModelStore
from service.monitoring.metrics import CONTENT_TYPE, Metrics
from service.responses import JSON
from service.web.predict import json_response


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
        return json_response({"status": "alive"})

    @routes.get("/readyz")
    def readyz() -> Response:
        return json_response({"status": "ready", "version": require_ready(store, stopping).version})

    @routes.get("/model")
    def model() -> Response:
        current = store.require_current()
        head = f'{{"version":"{current.version}","manifest":'.encode()
        return Response(
            head + current.manifest_json + f',"runtime":"{current.runtime.name}"}}\n'.encode(), mimetype=JSON
        )

    @routes.get("/metrics")
    def exposition() -> Response:
        return Response(metrics.exposition(), content_type=CONTENT_TYPE)

    return routes


def require_ready(store: ModelStore, stopping: Callable[[], bool]) -> Model:
    """The current model.

    Raises:
        ModelNotReady: no model is loaded, or the service is stopping.
    """
    if stopping():
        raise ModelNotReady("the service is stopping")
    return store.require_current()
