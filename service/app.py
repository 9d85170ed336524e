"""The application factory: settings in, a Flask application out.

    POST /predict  ->  Predictor.answer: bodies.read -> Model -> JSON
    GET /healthz, /readyz, /model, /metrics

It assumes nothing of the server that runs it: any WSGI server will do, with threads or without.
"""

import hmac
import time
from typing import Any

import orjson
from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from service import health, model_store, predict
from service.errors import RequestError, TooBusy, Unauthorised
from service.metrics import METHODS, Metrics
from service.model_store import Model, ModelStore
from service.predict import Predictor
from service.settings import Settings

KEYED_ROUTES = frozenset({"/predict", "/model"})
RETRY_AFTER_SECONDS = 1


class Service:
    """What lives as long as the application: `app.extensions["digits"]`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics(settings.metrics_dir)
        self.store = ModelStore(
            settings.models,
            lambda path: model_store.load(path, settings.runtime),
            on_loaded=self._loaded,
            on_refused=lambda reason: self.metrics.load_failures.labels(reason).inc(),
        )
        self.stopping = False

    def start(self) -> None:
        """Load the newest version, then watch for others. Without any, the service answers 503."""
        self.store.refresh()
        self.store.watch(self.settings.poll_seconds)

    def drain(self) -> None:
        """Not ready from now on; requests are still answered."""
        self.stopping = True

    def close(self) -> None:
        """Stop watching."""
        self.store.close()

    def _loaded(self, new: Model, old: Model | None) -> None:
        before = (old.version, old.runtime.name) if old else None
        self.metrics.model_changed(new.version, new.runtime.name, before)


def create_app(settings: Settings | None = None) -> Flask:
    """Make the application, with the newest version loaded and watched.

    Raises:
        SettingError: no settings were given, and the environment's are wrong.
    """
    service = Service(settings or Settings.from_environment())
    app = Flask("service", static_folder=None)
    # Werkzeug cuts a chunked body off at its limit without a word: one byte more, and bodies.read can tell.
    app.config["MAX_CONTENT_LENGTH"] = service.settings.max_body_bytes + 1
    app.extensions["digits"] = service
    _count_requests(app, service.metrics)
    _ask_for_key(app, service.settings.api_key)
    _answer_errors(app, service)
    app.register_blueprint(predict.routes(Predictor(service.settings, service.store, service.metrics)))
    app.register_blueprint(health.routes(service.store, service.metrics, lambda: service.stopping))
    service.start()
    return app


def _count_requests(app: Flask, metrics: Metrics) -> None:
    @app.before_request
    def begin() -> None:
        g.began = time.perf_counter()
        metrics.in_flight.inc()

    @app.after_request
    def count(response: Response) -> Response:
        method = request.method if request.method in METHODS else "OTHER"
        metrics.requests.labels(_route(), method, str(response.status_code)).inc()
        metrics.request_seconds.labels(_route()).observe(time.perf_counter() - g.began)
        return response

    @app.teardown_request
    def end(_: BaseException | None) -> None:
        metrics.in_flight.dec()


def _route() -> str:
    """The route's pattern, so that what a client types never becomes a label."""
    return request.url_rule.rule if request.url_rule else "unknown"


def _ask_for_key(app: Flask, key: str) -> None:
    if not key:
        return
    expected = f"Bearer {key}".encode()

    @app.before_request
    def check() -> None:
        given = request.headers.get("Authorization", "").encode("latin-1")  # as WSGI decoded it
        if _route() in KEYED_ROUTES and not hmac.compare_digest(given, expected):
            raise Unauthorised("the header Authorization is not `Bearer KEY` with the right key")


def _answer_errors(app: Flask, service: Service) -> None:
    """Every error, on every route, is {"error": "one sentence"}."""

    @app.errorhandler(RequestError)
    def refused(error: RequestError) -> Response:
        if _route() == "/predict":
            service.metrics.rejected.labels(type(error).__name__).inc()
        response = _error(error.status, str(error))
        if isinstance(error, TooBusy):
            response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        if isinstance(error, Unauthorised):
            response.headers["WWW-Authenticate"] = "Bearer"
        return response

    @app.errorhandler(RequestEntityTooLarge)
    def too_large(_: RequestEntityTooLarge) -> Response:
        service.metrics.rejected.labels("TooLarge").inc()
        length = f"{request.content_length} bytes" if request.content_length else "more bytes"
        return _error(413, f"the body has {length}; {service.settings.max_body_bytes} are allowed")

    @app.errorhandler(HTTPException)
    def http(error: HTTPException) -> Response:
        sentences = {
            404: f"there is no route {request.path[:100]}",
            405: f"{request.path[:100]} does not take {request.method[:20]}",
            500: "something went wrong in the service; its log says what",
        }
        status = error.code or 500
        response = _error(status, sentences.get(status, str(error.description)))
        allow = {name: value for name, value in error.get_headers() if name == "Allow"}
        response.headers.update(allow)
        return response


def _error(status: int, sentence: str) -> Response:
    body: dict[str, Any] = {"error": sentence}
    return Response(orjson.dumps(body), status=status, mimetype="application/json")
