"""A service that is played: httpx's transports that reply to each request with the next reply."""

import json
from collections.abc import Callable, Iterable
from typing import Any

import httpx

ROW = {"digit": 7, "confidence": 0.5, "uncertain": False, "probabilities": [0.1] * 10}
Reply = httpx.Response | Exception


def predicted(*digits: int) -> httpx.Response:
    """A response of POST /predict."""
    rows = [ROW | {"digit": digit} for digit in digits]
    return httpx.Response(200, json={"model": "digits", "version": "5", "predictions": rows})


def refused(status: int, sentence: str = "the sentence", **headers: str) -> httpx.Response:
    """A response with an error."""
    return httpx.Response(
        status, json={"error": sentence}, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


class Replies:
    """Replies in their order; an exception is raised. `requests` are those that came."""

    def __init__(self, replies: Iterable[Reply]) -> None:
        self._replies = iter(replies)
        self.requests: list[httpx.Request] = []

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._reply)

    def _reply(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        reply = next(self._replies)
        if isinstance(reply, Exception):
            raise reply
        return reply


def transport_of(function: Callable[[bytes], list[int] | int]) -> httpx.MockTransport:
    """A service that finds digits by a function of the form's parts; an integer is the status of an error."""

    def reply(request: httpx.Request) -> httpx.Response:
        parts = form_parts(request)
        found = [function(part) for part in parts]
        statuses = [digits for digits in found if isinstance(digits, int)]
        return refused(statuses[0]) if statuses else predicted(*(d for ds in found if isinstance(ds, list) for d in ds))

    return httpx.MockTransport(reply)


def form_parts(request: httpx.Request) -> list[bytes]:
    """The contents of a form's parts, by the rules of RFC 2046."""
    boundary = b"--" + request.headers["content-type"].partition("boundary=")[2].encode()
    assert request.content.startswith(boundary)
    assert request.content.endswith(b"\r\n" + boundary + b"--\r\n")
    parts = request.content.split(boundary)[1:-1]
    return [part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for part in parts]


def document(response: httpx.Response) -> Any:
    """The JSON of a response."""
    return json.loads(response.content)
