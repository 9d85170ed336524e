"""The web UI: GET / draws and uploads with JavaScript, POST / is the same page as a form without it, GET /static/.

Static files are served under a digest of all of them, /static/DIGEST/main.css: browsers may store them without limit,
and the JavaScript modules import each other by relative paths.
"""

import hashlib
import math
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from flask import Blueprint, Response, abort, render_template, request
from werkzeug.exceptions import RequestEntityTooLarge

from service.errors import RequestError
from service.inference.model_store import ModelStore
from service.prediction import body_parser
from service.prediction.admission import Admission
from service.prediction.predictor import Predictor
from service.prediction.protocol import PredictResult, RequestHead
from service.protocols import NATIVE, Endpoint
from service.protocols.native import prediction_rows
from service.settings import Settings
from service.web.headers import HTML, cacheable, with_security_headers

STATIC = Path(__file__).parent / "static"
CONTENT_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
FORM_QUERY = b"split=digits&show=image"
IMMUTABLE = "public, max-age=31536000, immutable"

CONFIDENCE_LABELS = ((0.999, "Certain"), (0.99, "Very sure"), (0.95, "Sure"), (0.0, "Fairly sure"))
"""Labels from a minimum confidence on, in descending order. The page passes them to static/prediction-view.js."""
UNCERTAIN_LABEL = "Not sure"
"""The label of every confidence below the threshold of the model."""


class StaticFiles:
    """The files of a directory, read once, and one digest of all names and contents."""

    def __init__(self, directory: Path = STATIC) -> None:
        self.files = {
            path.name: path.read_bytes() for path in sorted(directory.iterdir()) if path.suffix in CONTENT_TYPES
        }
        names_and_contents = b"".join(name.encode() + content for name, content in self.files.items())
        self.digest = hashlib.sha256(names_and_contents).hexdigest()[:16]

    def response(self, digest: str, name: str) -> Response:
        """A file; immutable under the current digest only, since a page of an older release has another.

        Raises:
            NotFound: there is no such file.
        """
        if name not in self.files:
            abort(404)
        response = Response(self.files[name], content_type=f"{CONTENT_TYPES[Path(name).suffix]}; charset=utf-8")
        return cacheable(response, IMMUTABLE if digest == self.digest else "no-cache")


class LineResult(NamedTuple):
    """The predictions for one line of writing.

    picture, line: their numbers, from 1. digits: as text. is_incomplete: the line may have lost a digit. predictions:
    one row of `prediction_rows` for each digit.
    """

    picture: int
    line: int
    digits: str
    is_incomplete: bool
    predictions: list[Mapping[str, Any]]


def blueprint(settings: Settings, store: ModelStore, admission: Admission, predictor: Predictor) -> Blueprint:
    """GET /, POST / and GET /static/DIGEST/NAME."""
    routes = Blueprint("ui", __name__)
    static_files = StaticFiles()
    routes.app_template_global("static")(lambda name: f"{request.script_root}/static/{static_files.digest}/{name}")
    routes.app_template_filter("confidence_label")(confidence_label)
    routes.app_template_filter("format_percent")(format_percent)

    def render(**variables: Any) -> Response:
        model = store.current
        manifest = model.manifest if model else None
        html = render_template(
            "index.html",
            settings=settings,
            version=model.version if model else None,
            accuracy=None if settings.api_key or manifest is None else manifest.metrics.test_accuracy,
            has_report=manifest is not None and "report/index.html" in manifest.files,
            confidence_labels=CONFIDENCE_LABELS,
            uncertain_label=UNCERTAIN_LABEL,
            threshold=model.confidence_threshold if model else "",
            **variables,
        )
        return with_security_headers(Response(html, mimetype=HTML))

    @routes.get("/")
    def index() -> Response:
        return cacheable(render())

    @routes.post("/")
    def submit_form() -> Response:
        try:
            response = render(results=_group_by_line(_predict_form(settings, admission, predictor)))
        except (RequestError, MemoryError) as error:
            rejection = admission.reject(error)
            response = render(error=orjson.loads(rejection.body)["error"])
            response.status_code = rejection.status
            response.headers.extend(rejection.headers)
        response.headers["Cache-Control"] = "no-store"
        return response

    @routes.get("/static/<digest>/<name>")
    def static(digest: str, name: str) -> Response:
        return with_security_headers(static_files.response(digest, name))

    return routes


def confidence_label(confidence: float, *, uncertain: bool) -> str:
    """The label of a confidence from 0 to 1: "Very sure"."""
    if uncertain:
        return UNCERTAIN_LABEL
    return next(label for minimum, label in CONFIDENCE_LABELS if confidence >= minimum)


def format_percent(confidence: float) -> str:
    """In per cent, rounded down, and never 100 %; as `formatPercent` of static/prediction-view.js."""
    return "over 99.9 %" if confidence >= 0.999 else f"{math.floor(confidence * 1000) / 10:.1f} %"


def _predict_form(settings: Settings, admission: Admission, predictor: Predictor) -> PredictResult:
    """Predict the pictures of a form; its field "key" is the API key.

    Raises:
        RequestError: as for POST /predict.
    """
    body_parser.check_body_size(request.content_length or 0, settings)
    try:
        body = request.get_data(cache=False)
    except RequestEntityTooLarge:
        raise body_parser.body_too_large(settings) from None
    content_type = request.headers.get("Content-Type", "")
    if settings.api_key:
        admission.api_key.check_key(body_parser.read_form_field(body, content_type, "key", settings))
    body_parser.check_body_size(len(body), settings)
    with admission.limiter, admission.slow_limiter:
        head = RequestHead(content_type.encode("latin-1"))
        return predictor.predict(Endpoint("/", NATIVE).parse_request(head, FORM_QUERY), body)


def _group_by_line(result: PredictResult) -> list[LineResult]:
    lines = []
    pairs = zip(result.sources, prediction_rows(result), strict=True)
    for (picture, line), group in groupby(pairs, key=lambda pair: (pair[0].picture, pair[0].line)):
        sources, rows = zip(*group, strict=True)
        digits = "".join(str(row["digit"]) for row in rows)
        lines.append(LineResult(picture, line, digits, any(source.is_incomplete for source in sources), list(rows)))
    return lines
