"""Requests to the service and the reading of its responses, without a connection: both clients use them."""

import base64
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

from digits.errors import DigitsError, InvalidResponse, error_of_status
from digits.results import Health, Model
from digits.sources import Array, image_bytes

FIELDS = ("digit", "confidence", "uncertain")
MAX_SENTENCE = 300
"""Characters of a response that is no JSON, in the sentence of the error."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    Attributes:
        method: GET or POST.
        path: below the service's address, without a slash at the beginning.
        query: parameters of the query string.
        headers: headers of this request alone.
        body: the content, or None.
        is_idempotent: the request may be sent again if the connection broke and the service may have had it.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    is_idempotent: bool = True


def predict_request(
    pictures: Sequence[bytes], *, split: bool = False, normalise: str | None = None, probabilities: bool = True
) -> Request:
    """POST /predict with pictures as parts of a form."""
    boundary = secrets.token_hex(16)
    parts = [
        b'--%s\r\nContent-Disposition: form-data; name="file"; filename="%d"\r\n\r\n%s\r\n'
        % (boundary.encode(), number, picture)
        for number, picture in enumerate(pictures, 1)
    ]
    body = b"".join([*parts, b"--%s--\r\n" % boundary.encode()])
    query = ({"split": "digits"} if split else {}) | ({"normalise": normalise} if normalise else {})
    fields = {} if probabilities else {"fields": ",".join(FIELDS)}
    return Request(
        "POST", "predict", query | fields, {"Content-Type": f"multipart/form-data; boundary={boundary}"}, body
    )


def images_request(images: bytes) -> Request:
    """POST /predict with N x 784 bytes, for digit and confidence alone."""
    headers = {"Content-Type": "application/octet-stream"}
    return Request("POST", "predict", {"fields": "digit,confidence"}, headers, images)


def feedback_request(picture: bytes, digit: int, predicted: int | None, version: str | None) -> Request:
    """POST /feedback: the digit that a picture shows. Not idempotent: each request is stored."""
    document: dict[str, Any] = {"image": base64.b64encode(picture).decode(), "digit": digit}
    document |= {"predicted": predicted} if predicted is not None else {}
    document |= {"version": version} if version is not None else {}
    body = json.dumps(document).encode()
    return Request("POST", "feedback", {}, {"Content-Type": "application/json"}, body, is_idempotent=False)


MODEL = Request("GET", "model")
HEALTH = Request("GET", "readyz")


def headers(key: str | None) -> dict[str, str]:
    """Return the headers of every request: the API key, if there is one."""
    return {"Authorization": f"Bearer {key}"} if key else {}


def parse_json(status: int, content: bytes) -> dict[str, Any]:
    """Return the JSON object of a successful response.

    Raises:
        InvalidResponse: it is none.
    """
    try:
        document = json.loads(content)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise InvalidResponse(
            f"the response is no JSON object, but {_excerpt(content)!r}; is the address right?", status
        )
    return document


def parse_model(document: dict[str, Any]) -> Model:
    """Return the version in use from the response to GET /model.

    Raises:
        KeyError: the document is not such a response.
    """
    return Model(str(document["version"]), document["runtime"], document["manifest"])


def parse_health(status: int, content: bytes) -> Health:
    """Return the health from the response to GET /readyz, of any status."""
    return Health(ready=True) if status == 200 else Health(ready=False, sentence=error(status, content, {}).sentence)


def error(status: int, content: bytes, response_headers: Mapping[str, str]) -> DigitsError:
    """Return the exception for a response that is no success, with the service's sentence where it has one."""
    try:
        sentence = json.loads(content)["error"]
    except (ValueError, KeyError, TypeError):
        sentence = None
    if not isinstance(sentence, str):
        sentence = f"status {status}: {_excerpt(content)}" if content else f"status {status}"
    return error_of_status(status, sentence, parse_retry_after(response_headers))


def parse_retry_after(response_headers: Mapping[str, str]) -> float | None:
    """Return the seconds of Retry-After (RFC 9110 10.2.3), as seconds or as a date beside the response's own Date."""
    text = response_headers.get("retry-after", "").strip()
    if text.isdecimal() and text.isascii():
        return float(text)
    try:
        until, now = parsedate_to_datetime(text), parsedate_to_datetime(response_headers.get("date", ""))
        return max(0.0, (until - now).total_seconds())
    except (ValueError, TypeError):
        return None


def split_images(images: Array, count: int) -> list[bytes]:
    """Return the bytes of images, `count` of them at a time.

    Raises:
        InvalidSource: the array has another shape or type than `image_bytes` takes.
    """
    content, step = image_bytes(images), count * 784
    return [content[start : start + step] for start in range(0, len(content), step)]


def _excerpt(content: bytes) -> str:
    return " ".join(content[:MAX_SENTENCE].decode(errors="replace").split())
