"""bench/noop_apps.py: both applications read the body and return the same bytes."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from bench.noop_apps import RESPONSE_BODY, asgi_app, flask_app

Message = MutableMapping[str, Any]


def test_flask_app_returns_the_fixed_body() -> None:
    response = flask_app.test_client().post("/predict", data=b"picture")
    assert (response.status_code, response.data, response.mimetype) == (200, RESPONSE_BODY, "application/json")


def call_asgi(scope_type: str, received: list[Message]) -> list[Message]:
    sent: list[Message] = []

    async def receive() -> Message:
        return received.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(asgi_app({"type": scope_type}, receive, send))
    return sent


def test_asgi_app_reads_all_of_the_body_first() -> None:
    received: list[Message] = [{"type": "http.request", "more_body": True}, {"type": "http.request"}]
    start, body = call_asgi("http", received)
    assert received == []
    assert (start["status"], dict(start["headers"])[b"Content-Length"]) == (200, b"29")
    assert body["body"] == RESPONSE_BODY
    assert len(RESPONSE_BODY) == 29


def test_asgi_app_has_no_lifespan() -> None:
    with pytest.raises(NotImplementedError, match="lifespan"):
        call_asgi("lifespan", [])
