"""POST /feedback: the right digit for a picture, stored for later training.

    {"image": base64 of a picture, or 28x28 or 784 numbers, "digit": 7, "predicted": 1, "version": "2"}

Each request becomes one JSON file in DIGITS_FEEDBACK_DIR, written atomically. This is the only route that stores what a
client sends. Web pages of other sites must not reach it: they may send a form or plain text to any address without a
permission (https://fetch.spec.whatwg.org/#simple-header), but not application/json, for which a browser asks first. The
origins that DIGITS_CORS_ORIGINS names get the permission; `*` there does not give it.
"""

import secrets
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from flask import Blueprint, Response, request

from service.atomic_write import atomic_write
from service.errors import BadRequest, Forbidden, InsufficientStorage, PayloadTooLarge, UnsupportedMediaType
from service.monitoring.metrics import Metrics
from service.prediction import body_parser
from service.prediction.inline_parser import BodyParser
from service.prediction.protocol import BodyFormat
from service.protocols import NATIVE
from service.responses import JSON
from service.settings import SettingError, Settings

ROUTE = "/feedback"
MAX_BYTES = 1 << 16
"""The limit of one body. The web UI sends the 28x28 image that the network was given: a few hundred bytes."""
MAX_VERSION_LENGTH = 20
REQUIRED_KEYS = {"image", "digit"}
ALLOWED_KEYS = REQUIRED_KEYS | {"predicted", "version"}
OWN_SITES = {"", "same-origin", "none"}


class FeedbackStore:
    """A directory of JSON files, up to a maximum number. Thread-safe; other processes may add files over the limit."""

    def __init__(self, directory: Path, max_files: int) -> None:
        """Create the directory unless it exists.

        Raises:
            SettingError: the directory cannot be created.
        """
        self._directory, self._max_files = directory, max_files
        self._lock = threading.Lock()
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingError("DIGITS_FEEDBACK_DIR", str(directory), f"a directory, but {error.strerror}") from None

    def add(self, document: dict[str, Any]) -> None:
        """Write a document to a new file, with the time of receipt.

        Raises:
            InsufficientStorage: the directory has the maximum number of files.
        """
        now = datetime.now(UTC)
        name = f"{now:%Y%m%dT%H%M%S.%fZ}-{document['digit']}-{secrets.token_hex(4)}.json"
        content = orjson.dumps({"received": f"{now:%Y-%m-%dT%H:%M:%SZ}"} | document)
        with self._lock:
            if sum(1 for _ in self._directory.glob("*.json")) >= self._max_files:
                raise InsufficientStorage(f"the service stores {self._max_files} feedback files, which is the limit")
            atomic_write(self._directory / name, content)


def blueprint(settings: Settings, metrics: Metrics, parser: BodyParser, origins: frozenset[str]) -> Blueprint:
    """POST /feedback, if `settings.feedback_dir` is set.

    Args:
        settings: the settings of the application.
        metrics: counts the feedback.
        parser: parses pictures.
        origins: origins whose pages may send feedback too; `*` is none.

    Raises:
        SettingError: the directory cannot be created.
    """
    routes = Blueprint("feedback", __name__)
    if settings.feedback_dir is None:
        return routes
    store = FeedbackStore(settings.feedback_dir, settings.feedback_max_files)

    @routes.post(ROUTE)
    def feedback() -> Response:
        fetch_site = "" if request.headers.get("Origin") in origins else request.headers.get("Sec-Fetch-Site", "")
        check_origin(fetch_site, request.mimetype)
        document = parse_feedback(request.get_data(cache=False))
        check_image(document["image"], settings, parser)
        store.add(document)
        metrics.feedback_received(document["digit"])
        return Response(b'{"status":"kept"}\n', 201, mimetype=JSON)

    return routes


def check_origin(fetch_site: str, media_type: str) -> None:
    """Reject what a web page of another site can make a browser send.

    Args:
        fetch_site: the header Sec-Fetch-Site, which browsers set and a page cannot
            (https://www.w3.org/TR/fetch-metadata/); "" without one.
        media_type: the media type in the header Content-Type in small letters, without parameters; "" without one.

    Raises:
        Forbidden: a browser sends the request for a page of another site or origin.
        UnsupportedMediaType: the media type is another one than application/json.
    """
    if fetch_site not in OWN_SITES:
        raise Forbidden(f"the request comes from a web page of another origin (Sec-Fetch-Site: {fetch_site[:50]})")
    if media_type != JSON:
        found = repr(media_type[:100]) if media_type else "missing"
        raise UnsupportedMediaType(f"the content type is {found}; supported: {JSON}")


def parse_feedback(body: bytes) -> dict[str, Any]:
    """Parse a request body: "image" and "digit", optionally "predicted" and "version".

    Raises:
        BadRequest: the body is not such a JSON object, or a value is not allowed.
        PayloadTooLarge: the body is over MAX_BYTES.
    """
    if len(body) > MAX_BYTES:
        raise PayloadTooLarge(f"the feedback has {len(body)} bytes; {MAX_BYTES} are allowed")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the JSON cannot be read: {error}") from None
    if not isinstance(document, dict) or not REQUIRED_KEYS <= document.keys() <= ALLOWED_KEYS:
        raise BadRequest('the JSON is not an object with "image" and "digit", and optionally "predicted" and "version"')
    _check_digit("digit", document["digit"])
    if document.get("predicted") is not None:
        _check_digit("predicted", document["predicted"])
    version = document.get("version")
    if version is not None and not (isinstance(version, str) and len(version) <= MAX_VERSION_LENGTH):
        raise BadRequest(
            f"version is {str(version)[:50]!r}; expected: a string of at most {MAX_VERSION_LENGTH} characters"
        )
    return document


def check_image(image: object, settings: Settings, parser: BodyParser) -> None:
    """Check that an image can be read: base64 of a picture by the parser, pixels here.

    Raises:
        RequestError: POST /predict would reject the image.
    """
    if isinstance(image, str):
        parser.parse_blocking(orjson.dumps({"images": [image]}), BodyFormat(NATIVE.name, JSON))
    else:
        body_parser.parse_json_image(image, settings, booleans=True)


def _check_digit(key: str, value: object) -> None:
    if type(value) is not int or not 0 <= value <= 9:
        raise BadRequest(f"{key} is {str(value)[:50]!r}; expected: an integer from 0 to 9")
