"""What is answered, as status, body and headers: both doors, Flask's and asgi.py's, send the same bytes."""

from typing import NamedTuple

import orjson

from service.errors import RequestError, TooBusy, Unauthorised

JSON = "application/json"
RETRY_AFTER_SECONDS = 1
FAULT = "something went wrong in the service; its log says what"


class Reply(NamedTuple):
    """A JSON answer; `headers` come before Content-Type and Content-Length."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


def headers(reply: Reply) -> list[tuple[bytes, bytes]]:
    """The headers of an answer, as ASGI has them."""
    before = [(name.encode(), value.encode()) for name, value in reply.headers] if reply.headers else []
    return [*before, (b"Content-Type", b"application/json"), (b"Content-Length", b"%d" % len(reply.body))]


def sentence(status: int, words: str, *headers: tuple[str, str]) -> Reply:
    """What every error looks like, on every route."""
    return Reply(status, orjson.dumps({"error": words}), headers)


def of_error(error: RequestError) -> Reply:
    """The answer to a client's mistake, or to a request at a wrong time."""
    match error:
        case TooBusy():
            return sentence(error.status, str(error), ("Retry-After", str(RETRY_AFTER_SECONDS)))
        case Unauthorised():
            return sentence(error.status, str(error), ("WWW-Authenticate", "Bearer"))
        case _:
            return sentence(error.status, str(error))
