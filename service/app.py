"""The application factory: settings in, a Flask application out.

    POST /predict  ->  Predictor.answer: bodies.read -> Model -> JSON
    GET /, POST /, /report/, POST /feedback, /docs, /openapi.json   for people
    GET /healthz, /readyz, /model, /metrics   for those who run it

It assumes nothing of the server that runs it: any WSGI server will do, with threads or without. service/server/asgi.py
serves the same application through ASGI, faster.
"""

import time

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from service import responses
from service.errors import RequestError
from service.inference import model_store
from service.inference.model_store import Model, ModelStore, PreloadedModel
from service.monitoring.drift_reference import ReferenceDistribution
from service.monitoring.metrics import CONFIDENCE_BUCKETS, Metrics
from service.prediction import body_parser, predictor
from service.prediction.predictor import Predictor
from service.responses import JsonResponse
from service.settings import Settings
from service.web import api_docs, feedback, health, report, ui

PROTECTED_ROUTES = frozenset({"/predict", "/model", "/feedback", *report.ROUTES})
"""POST / asks for the key too, in a field of its form."""


class ServiceContext:
    """What lives as long as the application: `app.extensions["digits"]`."""

    def __init__(self, settings: Settings, preloaded: PreloadedModel | None = None) -> None:
        self.settings = settings
        self.metrics = Metrics(settings.metrics_dir)
        self.metrics.set_in_flight_limit(settings.max_in_flight)
        self.store = ModelStore(
            settings.model_dir,
            lambda path: model_store.load(path, settings.runtime),
            on_loaded=self._on_model_loaded,
            on_rejected=self.metrics.model_load_failed,
            preloaded=preloaded,
        )
        self.predictor = Predictor(settings, self.store, self.metrics)
        self.stopping = False

    def start(self) -> None:
        """Load the newest version, then watch for others. Without any, the service answers 503."""
        self.store.refresh()
        self.store.watch(self.settings.model_poll_seconds)
        self.metrics.start()

    def drain(self) -> None:
        """Not ready from now on; requests are still answered."""
        self.stopping = True

    def close(self) -> None:
        """Stop watching, and leave no count behind."""
        self.store.close()
        self.metrics.close()

    def _on_model_loaded(self, new: Model, old: Model | None) -> None:
        before = (old.version, old.runtime.name) if old else None
        reference = ReferenceDistribution.from_manifest(new.manifest, CONFIDENCE_BUCKETS)
        self.metrics.model_changed(new.version, new.runtime.name, before, reference)


def create_app(settings: Settings | None = None, preloaded: PreloadedModel | None = None) -> Flask:
    """Make the application, with the newest version loaded and watched.

    Args:
        settings: those of the environment, unless given.
        preloaded: what `model_store.preload` loaded before a fork: it is not loaded again.

    Raises:
        SettingError: no settings were given, and the environment's are wrong.
    """
    service = ServiceContext(settings or Settings.from_environment(), preloaded)
    app = Flask("service", static_folder=None, template_folder="web/templates")
    # Werkzeug cuts a chunked body off at its limit without a word: one byte more, and bodies.read can tell.
    app.config["MAX_CONTENT_LENGTH"] = service.settings.max_body_bytes + 1
    app.config["MAX_FORM_PARTS"] = None  # bodies.read counts them
    app.extensions["digits"] = service
    _record_requests(app, service.metrics)
    _require_api_key(app, service.predictor)
    _register_error_handlers(app, service)
    app.register_blueprint(predictor.blueprint(service.predictor, service.settings))
    app.register_blueprint(health.blueprint(service.store, service.metrics, lambda: service.stopping))
    app.register_blueprint(ui.blueprint(service.settings, service.store, service.predictor, service.metrics))
    app.register_blueprint(report.blueprint(service.settings, service.store))
    app.register_blueprint(feedback.blueprint(service.settings, service.metrics))
    app.register_blueprint(api_docs.blueprint(service.settings))
    service.start()
    return app


def _record_requests(app: Flask, metrics: Metrics) -> None:
    @app.before_request
    def begin() -> None:
        g.began = time.perf_counter()
        metrics.request_started()

    @app.after_request
    def count(response: Response) -> Response:
        metrics.request_completed(_route(), request.method, response.status_code, time.perf_counter() - g.began)
        return response

    @app.teardown_request
    def end(_: BaseException | None) -> None:
        metrics.request_finished()


def _route() -> str:
    """The route's pattern, so that what a client types never becomes a label."""
    return request.url_rule.rule if request.url_rule else "unknown"


def _require_api_key(app: Flask, predictor: Predictor) -> None:
    @app.before_request
    def check() -> None:
        if _route() in PROTECTED_ROUTES:
            authorization = request.headers.get("Authorization", "").encode("latin-1")  # as WSGI decoded it
            predictor.check_key(report.basic_to_bearer(authorization) if _route() in report.ROUTES else authorization)


def _register_error_handlers(app: Flask, service: ServiceContext) -> None:
    """Every error, on every route, is {"error": "one sentence"}."""

    @app.errorhandler(RequestError)
    def refused(error: RequestError) -> Response:
        if _route() == "/predict":
            service.metrics.prediction_rejected(type(error).__name__)
        response = _response(responses.response_for(error))
        if response.status_code == 401 and _route() in report.ROUTES:
            response.headers.add("WWW-Authenticate", report.BASIC_CHALLENGE)
        return response

    @app.errorhandler(RequestEntityTooLarge)
    def too_large(_: RequestEntityTooLarge) -> Response:
        return refused(body_parser.body_too_large(service.settings))

    @app.errorhandler(HTTPException)
    def http(error: HTTPException) -> Response:
        sentences = {
            404: f"there is no route {request.path[:100]}",
            405: f"{request.path[:100]} does not take {request.method[:20]}",
            500: responses.INTERNAL_ERROR,
        }
        status = error.code or 500
        allow = (header for header in error.get_headers() if header[0] == "Allow")
        return _response(responses.error_response(status, sentences.get(status, str(error.description)), *allow))


def _response(reply: JsonResponse) -> Response:
    return Response(reply.body, reply.status, reply.headers, mimetype=responses.JSON)
