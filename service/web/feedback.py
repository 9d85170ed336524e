"""POST /feedback: a picture and the digit that it shows, from somebody who knows better, kept for a later training.

    {"image": base64 of a picture, or 28x28 or 784 numbers, "digit": 7, "answered": 1, "version": "2"}

Each becomes one file of JSON in DIGITS_FEEDBACK_DIR, by a rename, so no reader ever sees half of one.
"""

import secrets
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from flask import Blueprint, Response, request

from service.errors import BadRequest, InsufficientStorage, PayloadTooLarge
from service.monitoring.metrics import Metrics
from service.prediction import body_parser
from service.responses import JSON
from service.settings import SettingError, Settings

MAX_BYTES = 1 << 16
"""Of one request. The page sends the image that the network saw, which has a few hundred."""
MAX_VERSION_LENGTH = 20
ALLOWED_KEYS = {"image", "digit", "answered", "version"}


class FeedbackStore:
    """A directory that takes in so many files and no more."""

    def __init__(self, directory: Path, most: int) -> None:
        self._directory, self._most = directory, most
        self._lock = threading.Lock()
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingError("DIGITS_FEEDBACK_DIR", str(directory), f"a directory, but {error.strerror}") from None

    def add(self, document: dict[str, Any]) -> None:
        """Keep a document.

        Raises:
            NoRoom: as many are kept as are to be.
        """
        now = datetime.now(UTC)
        name = f"{now:%Y%m%dT%H%M%S.%fZ}-{document['digit']}-{secrets.token_hex(4)}.json"
        with self._lock:
            if sum(1 for _ in self._directory.glob("*.json")) >= self._most:
                raise InsufficientStorage(f"{self._most} pieces of feedback are kept, which is the limit")
            being_written = self._directory / f".tmp-{name}"
            being_written.write_bytes(orjson.dumps({"received": f"{now:%Y-%m-%dT%H:%M:%SZ}"} | document))
            being_written.rename(self._directory / name)


def blueprint(settings: Settings, metrics: Metrics) -> Blueprint:
    """POST /feedback, where a directory for it is set.

    Raises:
        SettingError: the directory cannot be made.
    """
    routes = Blueprint("feedback", __name__)
    if settings.feedback_dir is None:
        return routes
    box = FeedbackStore(settings.feedback_dir, settings.feedback_max_files)

    @routes.post("/feedback")
    def feedback() -> Response:
        body = request.get_data(cache=False)
        document = parse_feedback(body, settings)
        box.add(document)
        metrics.feedback_received(document["digit"])
        return Response(orjson.dumps({"status": "kept"}), 201, mimetype=JSON)

    return routes


def parse_feedback(body: bytes, settings: Settings) -> dict[str, Any]:
    """The document in a request body: image and digit, and what was answered, by which version, if that is known.

    Raises:
        RequestError: it is no such document, or its picture is none that /predict would read.
    """
    if len(body) > MAX_BYTES:
        raise PayloadTooLarge(f"the feedback has {len(body)} bytes; {MAX_BYTES} are allowed")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the JSON cannot be read: {error}") from None
    if not isinstance(document, dict) or not {"image", "digit"} <= document.keys() <= ALLOWED_KEYS:
        raise BadRequest('the JSON is not an object {"image", "digit"}, with "answered" and "version" if known')
    _check_digit("digit", document["digit"])
    if document.get("answered") is not None:
        _check_digit("answered", document["answered"])
    version = document.get("version")
    if version is not None and not (isinstance(version, str) and len(version) <= MAX_VERSION_LENGTH):
        raise BadRequest(f"version is {str(version)[:50]!r}; a text of at most {MAX_VERSION_LENGTH} characters is read")
    body_parser.parse_json_image(document["image"], settings, booleans=b"true" in body or b"false" in body)
    return document


def _check_digit(key: str, value: object) -> None:
    if type(value) is not int or not 0 <= value <= 9:
        raise BadRequest(f"{key} is {str(value)[:50]!r}; a whole number from 0 to 9 is read")
