"""Responses as status, body and headers: Flask and ASGI send the same bytes."""

from typing import NamedTuple

import orjson

from service.errors import ModelNotReady, OutOfMemory, RequestError, TooManyRequests, Unauthorised

JSON = "application/json"
RETRY_AFTER_SECONDS = 1
INTERNAL_ERROR = "internal error; the log of the service has the traceback"

DEFAULT_HEADERS = (("X-Content-Type-Options", "nosniff"), ("Cache-Control", "no-store"))
"""Headers of every response, JSON or not, that has no value of its own for them."""
_DEFAULT_HEADERS_OF_ASGI = tuple((name.encode(), value.encode()) for name, value in DEFAULT_HEADERS)
_JSON_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
_JSON_TYPE = (b"Content-Type", JSON.encode())


class HttpResponse(NamedTuple):
    """A complete response; `headers` come before Content-Type, Content-Length and DEFAULT_HEADERS."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = JSON


def asgi_headers(response: HttpResponse) -> list[tuple[bytes, bytes]]:
    """All headers of a response, as ASGI represents them."""
    own = [(name.encode(), value.encode()) for name, value in response.headers] if response.headers else []
    content_type = _JSON_TYPE if response.content_type is JSON else (b"Content-Type", response.content_type.encode())
    return [*own, content_type, (b"Content-Length", b"%d" % len(response.body)), *_DEFAULT_HEADERS_OF_ASGI]


def dump_json(document: object) -> bytes:
    """The JSON of a document, with arrays of NumPy as lists, and a newline at its end."""
    return orjson.dumps(document, option=_JSON_OPTIONS)


def error_response(status: int, message: str, *headers: tuple[str, str]) -> HttpResponse:
    """The response to every error, on every route: {"error": message}."""
    return HttpResponse(status, dump_json({"error": message}), headers)


def response_for(error: RequestError) -> HttpResponse:
    """The response to a request that failed with this error."""
    match error:
        case TooManyRequests() | OutOfMemory() | ModelNotReady():
            return error_response(error.status, str(error), ("Retry-After", str(RETRY_AFTER_SECONDS)))
        case Unauthorised():
            return error_response(error.status, str(error), ("WWW-Authenticate", "Bearer"))
        case _:
            return error_response(error.status, str(error))
