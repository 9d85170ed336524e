"""GET /, the page: draw or drop a picture, see the answer. POST / is the same page as a plain form, without scripts.

Its files, in service/web/static, are found under the digest of all of them together: /static/DIGEST/main.css may be
kept for ever, and the JavaScript modules find each other beside themselves.
"""

import hashlib
import math
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from flask import Blueprint, Response, abort, render_template, request
from werkzeug.exceptions import RequestEntityTooLarge

from service.errors import RequestError
from service.inference.model_store import ModelStore
from service.prediction import body_parser
from service.prediction.admission import Admission
from service.prediction.predictor import Predictor, PredictResult, join_digits, prediction_rows
from service.settings import Settings
from service.web.headers import HTML, cacheable, with_security_headers

STATIC = Path(__file__).parent / "static"
CONTENT_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
FORM_QUERY = b"split=digits&show=image"
IMMUTABLE = "public, max-age=31536000, immutable"

CONFIDENCE_LABELS = ((0.999, "Certain"), (0.99, "Very sure"), (0.95, "Sure"), (0.0, "Fairly sure"))
"""What a confidence of at least so much is called, if the model is not uncertain; static/prediction-view.js says the same."""


class StaticFiles:
    """The files of a directory, read once, and the digest of all of them."""

    def __init__(self, directory: Path = STATIC) -> None:
        self.files = {
            path.name: path.read_bytes() for path in sorted(directory.iterdir()) if path.suffix in CONTENT_TYPES
        }
        named = b"".join(name.encode() + content for name, content in self.files.items())
        self.digest = hashlib.sha256(named).hexdigest()[:16]

    def response(self, digest: str, name: str) -> Response:
        """A file; one that was asked for by another digest, that of an older page, is not to be kept."""
        if name not in self.files:
            abort(404)
        response = Response(self.files[name], content_type=f"{CONTENT_TYPES[Path(name).suffix]}; charset=utf-8")
        return cacheable(response, IMMUTABLE if digest == self.digest else "no-cache")


class PictureResult(NamedTuple):
    """What was read on one picture: its digits as text, and a row of `prediction_rows` for each."""

    text: str
    digits: list[Mapping[str, Any]]


def blueprint(settings: Settings, store: ModelStore, admission: Admission, predictor: Predictor) -> Blueprint:
    """GET /, POST / and GET /static/..."""
    routes = Blueprint("home", __name__)
    assets = StaticFiles()
    routes.app_template_global("static")(lambda name: f"/static/{assets.digest}/{name}")
    routes.app_template_filter("words")(confidence_label)
    routes.app_template_filter("percent")(format_percent)

    def page(**found: Any) -> Response:
        model = store.current
        manifest = (model.manifest or {}) if model else {}
        html = render_template(
            "index.html",
            settings=settings,
            version=model.version if model else None,
            accuracy=None if settings.api_key else manifest.get("metrics", {}).get("test_accuracy"),
            report="report/index.html" in manifest.get("files", {}),
            **found,
        )
        return with_security_headers(Response(html, mimetype=HTML))

    @routes.get("/")
    def home() -> Response:
        return cacheable(page())

    @routes.post("/")
    def read() -> Response:
        try:
            response = page(numbers=_group_by_picture(_predict_form(settings, admission, predictor)))
        except RequestError as error:
            rejection = admission.reject(error)
            response = page(problem=f"{error}")
            response.status_code = rejection.status
            response.headers.extend(rejection.headers)
        response.headers["Cache-Control"] = "no-store"
        return response

    @routes.get("/static/<digest>/<name>")
    def static(digest: str, name: str) -> Response:
        return with_security_headers(assets.response(digest, name))

    return routes


def confidence_label(confidence: float, *, uncertain: bool) -> str:
    """A confidence in words."""
    return "Not sure" if uncertain else next(name for least, name in CONFIDENCE_LABELS if confidence >= least)


def format_percent(confidence: float) -> str:
    """A confidence in per cent, rounded down, and never all of it."""
    return "over 99.9 %" if confidence >= 0.999 else f"{math.floor(confidence * 1000) / 10:.1f} %"


def _predict_form(settings: Settings, admission: Admission, predictor: Predictor) -> PredictResult:
    """Predict the pictures of a form, which has the API key as one of its fields.

    Raises:
        RequestError: as for POST /predict.
    """
    body_parser.check_body_size(request.content_length or 0, settings)
    try:
        body = request.get_data()
        key = request.form.get("key", "") if settings.api_key else ""
    except RequestEntityTooLarge:
        raise body_parser.body_too_large(settings) from None
    admission.check(f"Bearer {key}".encode(), len(body))
    with admission.limiter:
        return predictor.predict(body, request.headers.get("Content-Type", ""), FORM_QUERY)


def _group_by_picture(result: PredictResult) -> list[PictureResult]:
    rows = groupby(prediction_rows(result), key=lambda row: row["picture"])
    return [PictureResult(text, list(row)) for text, (_, row) in zip(join_digits(result), rows, strict=True)]
