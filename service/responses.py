"""JSON responses as status, body and headers: Flask and ASGI send the same bytes."""

from typing import NamedTuple

import orjson

from service.errors import ModelNotReady, OutOfMemory, RequestError, TooManyRequests, Unauthorised

JSON = "application/json"
RETRY_AFTER_SECONDS = 1
INTERNAL_ERROR = "internal error; the log of the service has the traceback"

DEFAULT_HEADERS = (("X-Content-Type-Options", "nosniff"), ("Cache-Control", "no-store"))
"""Headers of every response, JSON or not, that has no value of its own for them."""
_DEFAULT_HEADERS_OF_ASGI = tuple((name.encode(), value.encode()) for name, value in DEFAULT_HEADERS)
_CONTENT_TYPE = (b"Content-Type", JSON.encode())


class JsonResponse(NamedTuple):
    """A JSON response; `headers` come before Content-Type, Content-Length and DEFAULT_HEADERS."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


def asgi_headers(response: JsonResponse) -> list[tuple[bytes, bytes]]:
    """All headers of a response, as ASGI represents them."""
    own = [(name.encode(), value.encode()) for name, value in response.headers] if response.headers else []
    return [*own, _CONTENT_TYPE, (b"Content-Length", b"%d" % len(response.body)), *_DEFAULT_HEADERS_OF_ASGI]


def error_response(status: int, message: str, *headers: tuple[str, str]) -> JsonResponse:
    """The response to every error, on every route: {"error": message}."""
    return JsonResponse(status, orjson.dumps({"error": message}), headers)


def response_for(error: RequestError) -> JsonResponse:
    """The response to a request that failed with this error."""
    match error:
        case TooManyRequests() | OutOfMemory() | ModelNotReady():
            return error_response(error.status, str(error), ("Retry-After", str(RETRY_AFTER_SECONDS)))
        case Unauthorised():
            return error_response(error.status, str(error), ("WWW-Authenticate", "Bearer"))
        case _:
            return error_response(error.status, str(error))
