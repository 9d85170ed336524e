"""The application factory: settings in, a Flask application out.

    POST /predict                                             clients
    GET /, POST /, /report/, POST /feedback, /docs, /openapi.json   people
    GET /healthz, /readyz, /model, /metrics                   operators
    /v2/...                                                   clients of the Open Inference Protocol
    GET and POST /v1/models/digits...                         clients of TensorFlow Serving

The application runs under any WSGI server, threaded or not. service/server/asgi.py serves the same application
through ASGI, faster.
"""

import time

from flask import Flask, Response, g, request
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from service import cors, responses
from service.context import ServiceContext
from service.errors import OutOfMemory, RequestError
from service.inference.last_version import LastVersion
from service.inference.model_store import PreloadedModel
from service.monitoring.metrics import Metrics
from service.prediction import body_parser
from service.prediction.auth import ApiKey
from service.prediction.inline_parser import BodyParser
from service.protocols import ROUTES
from service.settings import Settings
from service.web import api_docs, feedback, headers, health, open_inference, predict, report, tensorflow_serving, ui
from service.web.predict import flask_response
from service.web.prefix import apply_prefix, check_prefix
from service.web.route_errors import describe_http_error

PROTECTED_ROUTES = frozenset(
    {"/model", "/feedback", *report.ROUTES, *open_inference.PROTECTED_ROUTES, *tensorflow_serving.ROUTES}
)
"""Routes that require the API key, besides those that predict: service/prediction/admission.py checks it there."""


def create_app(
    settings: Settings | None = None,
    preloaded: PreloadedModel | None = None,
    parser: BodyParser | None = None,
    last_version: LastVersion | None = None,
) -> Flask:
    """Create the application, with the newest version loaded and watched.

    Args:
        settings: the settings; those of the environment unless given.
        preloaded: a model that `model_store.preload` loaded before a fork; it is not loaded again.
        parser: parses request bodies; unless given, they are parsed in this process, without limits on time.
        last_version: the version that any worker of the service loaded last, tried before all others.

    Raises:
        SettingError: no settings were given, and those of the environment are wrong.
    """
    context = ServiceContext(settings or Settings.from_environment(), preloaded, parser, last_version)
    app = Flask("service", static_folder=None, template_folder="web/templates")
    # Werkzeug cuts a chunked body at its limit without an error: with one byte more, body_parser detects it.
    app.config["MAX_CONTENT_LENGTH"] = context.settings.max_body_bytes + 1
    app.config["MAX_FORM_PARTS"] = None  # body_parser counts them
    app.extensions["digits"] = context
    app.after_request(headers.with_default_headers)
    app.after_request(headers.with_relative_redirect)  # before the others: Flask calls the last one first
    _allow_origins(app, context.cors_origins)
    _record_requests(app, context.metrics)
    _require_api_key(app, context.admission.api_key)
    _register_error_handlers(app, context)
    app.register_blueprint(predict.blueprint(context.settings, context.admission, context.predictor))
    app.register_blueprint(health.blueprint(context.store, context.metrics, lambda: context.stopping))
    app.register_blueprint(
        open_inference.blueprint(context.settings, context.store, context.metrics, lambda: context.stopping)
    )
    app.register_blueprint(ui.blueprint(context.settings, context.store, context.admission, context.predictor))
    app.register_blueprint(report.blueprint(context.settings, context.store))
    app.register_blueprint(tensorflow_serving.blueprint(context.store))
    app.register_blueprint(feedback.blueprint(context.settings, context.metrics, context.parser, context.cors_origins))
    app.register_blueprint(api_docs.blueprint(context.settings))
    check_prefix(context.settings.prefix, [rule.rule for rule in app.url_map.iter_rules()])
    app.wsgi_app = apply_prefix(app.wsgi_app, context.settings)  # type: ignore[assignment, method-assign]
    context.start()
    return app


def _allow_origins(app: Flask, origins: frozenset[str]) -> None:
    """Add the headers of CORS to every response; `*` does not open the route that stores what a client sends."""

    @app.after_request
    def allow(response: Response) -> Response:
        allowed = origins - {cors.ANY} if _route() == feedback.ROUTE else origins
        origin = request.headers.get("Origin", "")
        granted = cors.allow_origin(allowed, origin)
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            granted += cors.allow_request(allowed, origin, response.allow)
        if granted:
            response.headers = Headers([*granted, *response.headers])  # in the order of service/server/asgi.py
        return response


def _record_requests(app: Flask, metrics: Metrics) -> None:
    @app.before_request
    def start() -> None:
        g.started = time.perf_counter()
        metrics.request_started()

    @app.after_request
    def complete(response: Response) -> Response:
        metrics.request_completed(_route(), request.method, response.status_code, time.perf_counter() - g.started)
        return response

    @app.teardown_request
    def finish(_: BaseException | None) -> None:
        metrics.request_finished()


def _route() -> str:
    """The route's pattern, so that the path that a client sends never becomes a label."""
    return request.url_rule.rule if request.url_rule else "unknown"


def _require_api_key(app: Flask, api_key: ApiKey) -> None:
    @app.before_request
    def check() -> None:
        if _route() in PROTECTED_ROUTES and request.method != "OPTIONS":  # a preflight has no key
            authorization = request.headers.get("Authorization", "").encode("latin-1")  # as WSGI decoded it
            api_key.check(authorization, allow_basic=_route() in report.ROUTES)


def _register_error_handlers(app: Flask, context: ServiceContext) -> None:
    """Every error, on every route, is {"error": "one sentence"}."""

    @app.errorhandler(RequestError)
    def request_error(error: RequestError) -> Response:
        if _route() in ROUTES:
            return flask_response(context.admission.reject(error))
        response = flask_response(responses.response_for(error))
        if response.status_code == 401 and _route() in report.ROUTES:
            response.headers.add("WWW-Authenticate", report.BASIC_CHALLENGE)
        return response

    @app.errorhandler(MemoryError)
    def out_of_memory(error: MemoryError) -> Response:
        app.logger.error("out of memory in %s %s: %s", request.method, _route(), error)
        return request_error(OutOfMemory())

    @app.errorhandler(RequestEntityTooLarge)
    def too_large(_: RequestEntityTooLarge) -> Response:
        return request_error(body_parser.body_too_large(context.settings))

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        if error.code == 404 and (explained := tensorflow_serving.explain_not_found(request.path)):
            return request_error(explained)
        status = error.code or 500
        allow = (header for header in error.get_headers() if header[0] == "Allow")
        sentence = describe_http_error(error, requires_key=bool(context.settings.api_key))
        return flask_response(responses.error_response(status, sentence, *allow))
