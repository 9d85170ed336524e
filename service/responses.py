"""What is answered, as status, body and headers: both doors, Flask's and asgi.py's, send the same bytes."""

from typing import NamedTuple

import orjson

from service.errors import RequestError, TooManyRequests, Unauthorised

JSON = "application/json"
RETRY_AFTER_SECONDS = 1
INTERNAL_ERROR = "something went wrong in the service; its log says what"


class JsonResponse(NamedTuple):
    """A JSON answer; `headers` come before Content-Type and Content-Length."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


def asgi_headers(reply: JsonResponse) -> list[tuple[bytes, bytes]]:
    """The headers of an answer, as ASGI has them."""
    before = [(name.encode(), value.encode()) for name, value in reply.headers] if reply.headers else []
    return [*before, (b"Content-Type", b"application/json"), (b"Content-Length", b"%d" % len(reply.body))]


def error_response(status: int, words: str, *headers: tuple[str, str]) -> JsonResponse:
    """What every error looks like, on every route."""
    return JsonResponse(status, orjson.dumps({"error": words}), headers)


def response_for(error: RequestError) -> JsonResponse:
    """The answer to a client's mistake, or to a request at a wrong time."""
    match error:
        case TooManyRequests():
            return error_response(error.status, str(error), ("Retry-After", str(RETRY_AFTER_SECONDS)))
        case Unauthorised():
            return error_response(error.status, str(error), ("WWW-Authenticate", "Bearer"))
        case _:
            return error_response(error.status, str(error))
