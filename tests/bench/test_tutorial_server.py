"""bench/tutorial_server.py: it predicts a dark digit on white, and nothing more."""

import asyncio

import httpx
import numpy as np

from bench.request_bodies import PNG_FILE
from bench.tutorial_server import app, runtime
from service.imaging.decode import decode
from service.settings import Settings
from tests.service.payloads import encode


def post(body: bytes) -> httpx.Response:
    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://digits") as client:
            return await client.post("/predict", content=body, headers={"Content-Type": "image/png"})

    return asyncio.run(send())


def test_dark_digit_on_white_is_inverted_and_predicted() -> None:
    image = np.asarray(decode(PNG_FILE, Settings()).pixels)
    response = post(encode(255 - image))
    assert response.status_code == 200
    assert response.json() == {"digit": 7, "confidence": float(runtime(image[None]).max())}
