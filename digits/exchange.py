"""One call as a generator without input and output, which `Client` and `AsyncClient` run alike.

A generator yields a `Call` and is sent the response, or the transport's exception; it yields a `Wait` and is resumed
after that many seconds. What it returns is the result of the call.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

import httpx

from digits.errors import DigitsError, ServiceUnreachable
from digits.responses import error_from_response
from digits.retries import Retries


@dataclass(frozen=True, slots=True)
class Call:
    """One request."""

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    content_type: str | None = None
    is_idempotent: bool = True
    """Whether repeating the request changes nothing, so that it may be sent again when its connection was lost."""


@dataclass(frozen=True, slots=True)
class Wait:
    """A pause before the next attempt."""

    seconds: float


T = TypeVar("T")
Outcome: TypeAlias = httpx.Response | httpx.TransportError | None
Exchange: TypeAlias = Generator[Call | Wait, Outcome, T]

NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
"""Errors before the first byte of the request: every request may be sent again."""
NOT_RETRIED = (httpx.ReadTimeout, httpx.WriteTimeout, httpx.UnsupportedProtocol, httpx.ProxyError)
"""Errors that would multiply the timeout, or happen again."""


def request(call: Call, retries: Retries) -> Exchange[httpx.Response]:
    """Send a request until the service responds with success, within the limits of `retries`.

    Raises:
        DigitsError: the last attempt has failed.
    """
    failures, waited = 0, 0.0
    while True:
        outcome = yield call
        if isinstance(outcome, httpx.Response) and outcome.is_success:
            return outcome
        error = to_error(outcome)
        failures += 1
        if not is_retriable(outcome, call):
            raise error
        delay = retries.delay(
            failures,
            waited,
            has_responded=isinstance(outcome, httpx.Response),
            retry_after=error.retry_after,
        )
        if delay is None:
            raise error
        waited += delay
        yield Wait(delay)


def is_retriable(outcome: Outcome, call: Call) -> bool:
    """Whether sending the request again is safe, and may help."""
    if isinstance(outcome, httpx.Response):
        return outcome.status_code in {429, 503} or (outcome.status_code in {502, 504} and call.is_idempotent)
    if isinstance(outcome, NOT_RETRIED):
        return False
    return isinstance(outcome, NOT_SENT) or call.is_idempotent


def to_error(outcome: Outcome) -> DigitsError:
    """The exception for an attempt that has failed."""
    if isinstance(outcome, httpx.Response):
        return error_from_response(outcome)
    assert outcome is not None  # noqa: S101 - the client sends what came of each call
    address = _address(outcome)
    if isinstance(outcome, httpx.TimeoutException):
        return ServiceUnreachable(f"no response from {address} within the timeout ({type(outcome).__name__})")
    return ServiceUnreachable(f"no connection to {address}: {outcome or type(outcome).__name__}")


def _address(error: httpx.TransportError) -> str:
    try:
        url = error.request.url
    except RuntimeError:  # httpx sets the request where it sends it
        return "the service"
    return str(url.copy_with(raw_path=b"/")).rstrip("/")
