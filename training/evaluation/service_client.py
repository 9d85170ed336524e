"""A client of a running service: pictures over HTTP, with the version that has to predict.

The service reads pictures, training does not: HTTP is all that passes between the two packages.
"""

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import numpy as np
import requests
from PIL import Image
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from training.errors import TrainingError, root_cause
from training.types import Images

Parsed = TypeVar("Parsed")

MAX_IN_FLIGHT = 4
"""Requests sent at once: enough to keep the parser processes of two workers busy."""
TIMEOUT_SECONDS = (10.0, 60.0)
"""To connect, and between two packets of a response."""
MAX_RETRIES = 20
"""Of a request that the service is too busy for, each after the seconds in Retry-After, 30 at most."""

_BUSY = (429, 503)
_REJECTED = (400, 408, 413, 415, 422, 500)  # because of this picture; another status is not about the picture
_FIELDS = "fields=digit,confidence,uncertain"


class ServiceError(TrainingError):
    """The service cannot be reached, requires a key, is too busy, or has another version."""


class PictureRefused(Exception):
    """The service does not read a picture; the message is its sentence."""


@dataclass(frozen=True)
class Prediction:
    """The numbers on a picture, one for each row; the confidence of the least certain digit, 0 to 1."""

    numbers: tuple[str, ...]
    confidence: float
    is_certain: bool


class ServiceClient:
    """Sends pictures to a service at `url`, which has to predict with version `number`. Thread-safe.

    Args:
        url: http or https, with a path if a proxy has one.
        number: the version; every response is compared with it.
        key: the API key; empty for none.
        use_environment: whether proxies and certificates of the environment apply.
    """

    def __init__(self, url: str, number: int, key: str = "", *, use_environment: bool = True) -> None:
        self.url, self._version = url.rstrip("/"), str(number)
        address = urlsplit(url)
        if address.scheme not in ("http", "https") or not address.netloc:
            raise ServiceError(f"--url is {url!r}; expected: the address of a service, such as http://127.0.0.1:8000")
        self._session = requests.Session()
        self._session.trust_env = use_environment
        self._session.auth = _send_key(key)
        retry = Retry(
            total=None,
            connect=2,
            read=2,
            status=MAX_RETRIES,
            status_forcelist=_BUSY,
            allowed_methods=None,
            backoff_factor=0.2,
            backoff_max=1,
            raise_on_status=False,
            retry_after_max=30,
        )
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=MAX_IN_FLIGHT, max_retries=retry))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def check_version(self) -> None:
        """Check that the service can be reached and predicts with the version.

        Raises:
            ServiceError: it cannot, or does not.
        """
        try:
            response = self._send("GET", "/model")
        except requests.RequestException as error:
            raise ServiceError(f"{self.url} cannot be reached: {root_cause(error)}") from error
        self._parse(response, lambda document: document["version"])

    def predict(self, picture: bytes, content_type: str, *, is_row: bool) -> Prediction:
        """Predict the digit on a picture, or the numbers of a row or page.

        Raises:
            PictureRefused: the service rejects the picture, or closes the connection but accepts others.
            ServiceError: the service rejects the request for another reason.
        """
        return self._parse(self._post(picture, content_type, _FIELDS, is_row=is_row), _parse_prediction)

    def fetch_images(self, picture: bytes, content_type: str, *, is_row: bool) -> list[Images]:
        """Fetch the images uint8 [28, 28] that the network is given for a picture, one for each digit.

        Raises:
            PictureRefused, ServiceError: as `predict` raises them.
        """
        return self._parse(self._post(picture, content_type, "fields=digit&show=image", is_row=is_row), _parse_images)

    def _post(self, picture: bytes, content_type: str, query: str, *, is_row: bool) -> requests.Response:
        path = f"/predict?{query}{'&split=digits' if is_row else ''}"
        try:
            return self._send("POST", path, picture, {"Content-Type": content_type})
        except requests.RequestException as error:
            self.check_version()  # if the service has gone, this raises: then the picture is not the cause
            raise PictureRefused(f"no response: {root_cause(error)}") from error

    def _send(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> requests.Response:
        return self._session.request(
            method, self.url + path, data=body, headers=headers, timeout=TIMEOUT_SECONDS, allow_redirects=False
        )

    def _parse(self, response: requests.Response, parse: Callable[[Any], Parsed]) -> Parsed:
        """Check status and version of a response, and parse its JSON."""
        if response.status_code != 200:
            raise self._error(response)
        try:
            document = response.json()
            version, parsed = str(document["version"]), parse(document)
        except (ValueError, LookupError, TypeError, OSError):
            raise ServiceError(f"{self.url} is no service of Digits: its response is of another form") from None
        if version != self._version:
            raise ServiceError(f"{self.url} predicts with version {version}, not with version {self._version}")
        return parsed

    def _error(self, response: requests.Response) -> Exception:
        status, sentence = response.status_code, _error_sentence(response)
        if status in _REJECTED and sentence and response.request.method == "POST":
            return PictureRefused(sentence)
        reason = f"{status} {response.reason}{': ' if sentence else ''}{sentence}"
        if status == 401:
            reason += "; give the API key by DIGITS_API_KEY or --key"
        return ServiceError(f"{self.url} responds with {reason}")


def _parse_prediction(document: Any) -> Prediction:
    predictions = document["predictions"]
    numbers = document.get("numbers") or [str(prediction["digit"]) for prediction in predictions]
    confidence = min(float(prediction["confidence"]) for prediction in predictions)
    return Prediction(tuple(map(str, numbers)), confidence, not any(p["uncertain"] for p in predictions))


def _parse_images(document: Any) -> list[Images]:
    files = (base64.b64decode(prediction["image"]) for prediction in document["predictions"])
    return [np.asarray(Image.open(io.BytesIO(file)).convert("L")) for file in files]


def _error_sentence(response: requests.Response) -> str:
    """The sentence of an error response of the service; empty for a response of another server."""
    try:
        return str(response.json()["error"])
    except (ValueError, LookupError, TypeError):
        return ""


def _send_key(key: str) -> Callable[[requests.PreparedRequest], requests.PreparedRequest]:
    """Sign requests with the key; as the session's `auth` it comes before a password in ~/.netrc."""

    def sign(request: requests.PreparedRequest) -> requests.PreparedRequest:
        if key:
            request.headers["Authorization"] = f"Bearer {key}".encode("utf-8", "surrogateescape").decode("latin-1")
        return request

    return sign
