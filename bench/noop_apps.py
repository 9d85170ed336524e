"""Applications that read the request body and return 29 fixed bytes: the cost of Flask, and of gunicorn's asgi worker.

`flask_app` is WSGI, `asgi_app` is ASGI. Both respond to POST /predict.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from flask import Flask, Response, request

RESPONSE_BODY = b'{"digit":7,"confidence":0.99}'

flask_app = Flask("noop", static_folder=None)


@flask_app.post("/predict")
def predict() -> Response:
    """Read the body, and return the fixed response."""
    request.get_data(cache=False)
    return Response(RESPONSE_BODY, mimetype="application/json")


async def asgi_app(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    """Read the body, and return the fixed response; the path and the method are not looked at.

    Raises:
        NotImplementedError: the scope is not "http"; gunicorn then goes on without lifespan events.
    """
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    while (await receive()).get("more_body"):
        pass
    headers = [(b"Content-Type", b"application/json"), (b"Content-Length", b"%d" % len(RESPONSE_BODY))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": RESPONSE_BODY})
