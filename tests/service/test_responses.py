"""Tests JSON responses and errors: status, exact bytes and headers."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import (
    BadRequest,
    InsufficientStorage,
    ModelNotReady,
    OutOfMemory,
    PayloadTooLarge,
    RequestError,
    TooManyRequests,
    Unauthorised,
)
from service.responses import (
    DEFAULT_HEADERS,
    INTERNAL_ERROR,
    JSON,
    RETRY_AFTER_SECONDS,
    HttpResponse,
    asgi_headers,
    error_response,
    response_for,
)


def test_the_constants_of_the_api() -> None:
    assert JSON == "application/json"
    assert RETRY_AFTER_SECONDS == 1
    assert DEFAULT_HEADERS == (("X-Content-Type-Options", "nosniff"), ("Cache-Control", "no-store"))
    assert INTERNAL_ERROR == "internal error; the log of the service has the traceback"


def test_an_error_response_has_exact_bytes() -> None:
    assert error_response(404, "there is no route /x") == HttpResponse(404, b'{"error":"there is no route /x"}\n')
    assert error_response(405, "no", ("Allow", "GET"), ("X", "y")).headers == (("Allow", "GET"), ("X", "y"))


@given(st.text())
def test_any_message_is_valid_json(message: str) -> None:
    assert json.loads(error_response(400, message).body) == {"error": message}


@pytest.mark.parametrize(
    ("error", "status", "headers"),
    [
        (RequestError("why"), 400, ()),
        (BadRequest("why"), 400, ()),
        (Unauthorised("why"), 401, (("WWW-Authenticate", "Bearer"),)),
        (PayloadTooLarge("why"), 413, ()),
        (TooManyRequests("why"), 429, (("Retry-After", "1"),)),
        (ModelNotReady("why"), 503, (("Retry-After", "1"),)),
        (OutOfMemory("why"), 503, (("Retry-After", "1"),)),
        (InsufficientStorage("why"), 507, ()),
    ],
)
def test_an_error_becomes_a_response(error: RequestError, status: int, headers: tuple[tuple[str, str], ...]) -> None:
    assert response_for(error) == HttpResponse(status, b'{"error":"why"}\n', headers)


def test_asgi_headers_are_bytes_with_type_length_and_default_headers_last() -> None:
    assert asgi_headers(HttpResponse(200, b"{}")) == [
        (b"Content-Type", b"application/json"),
        (b"Content-Length", b"2"),
        (b"X-Content-Type-Options", b"nosniff"),
        (b"Cache-Control", b"no-store"),
    ]
    assert asgi_headers(response_for(TooManyRequests("why"))) == [
        (b"Retry-After", b"1"),
        (b"Content-Type", b"application/json"),
        (b"Content-Length", b"16"),
        (b"X-Content-Type-Options", b"nosniff"),
        (b"Cache-Control", b"no-store"),
    ]


def test_the_content_length_counts_bytes_not_characters() -> None:
    response = error_response(400, "schl\u00fcssel")
    assert (b"Content-Length", str(len(response.body)).encode()) in asgi_headers(response)
    assert len(response.body) == len('{"error":"schl\u00fcssel"}\n') + 1
