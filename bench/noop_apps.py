"""Servers that read a request and answer the same few bytes: what Flask, and gunicorn's asgi worker, cost alone."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from flask import Flask, Response, request

ANSWER = b'{"digit":7,"confidence":0.99}'

flask_app = Flask("nothing", static_folder=None)


@flask_app.post("/predict")
def predict() -> Response:
    """Read the body, and answer."""
    request.get_data(cache=False)
    return Response(ANSWER, mimetype="application/json")


async def asgi_app(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    """Read the body, and answer."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    while (await receive()).get("more_body"):
        pass
    headers = [(b"Content-Type", b"application/json"), (b"Content-Length", b"%d" % len(ANSWER))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": ANSWER})
