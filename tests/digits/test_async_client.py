"""The asynchronous client runs the calls of the synchronous one."""

import asyncio
import inspect
from types import SimpleNamespace

import numpy as np
import pytest

from digits import AsyncClient, Client, Prediction, TooBusy
from tests.digits.scripted_service import Outcome, ScriptedService, pictures_of, png, predictions, reject


def connect(*script: Outcome) -> tuple[AsyncClient, ScriptedService]:
    service = ScriptedService(*script)
    return AsyncClient("http://digits.test", transport=service), service


def test_it_has_the_methods_of_the_synchronous_client() -> None:
    def public(kind: type) -> dict[str, list[str]]:
        functions = inspect.getmembers(kind, inspect.isfunction)
        return {
            name.removeprefix("a"): list(inspect.signature(function).parameters)
            for name, function in functions
            if not name.startswith("_")
        }

    assert public(AsyncClient) == public(Client)


def test_a_busy_service_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    sleeps: list[float] = []

    async def sleep(seconds: float) -> None:
        sleeps.append(seconds)

    monkeypatch.setattr("digits.async_client.asyncio", SimpleNamespace(sleep=sleep))

    async def predict() -> Prediction:
        client, _ = connect(reject(429, **{"Retry-After": "2"}))
        async with client:
            return await client.predict(png(4))

    assert asyncio.run(predict()).digit == 4
    assert len(sleeps) == 1
    assert 2 <= sleeps[0] < 3


def test_many_pictures_are_returned_in_order() -> None:
    async def predict() -> tuple[list[int | str], list[int]]:
        client, service = connect()
        async with client:
            pictures = [png(number % 10) for number in range(39)] + [png("x")]
            found = [one async for one in client.predict_many(pictures)]
        digits = [one.digit if isinstance(one, Prediction) else one.sentence for one in found]
        return digits, [len(pictures_of(request)) for request in service.requests]

    found, sizes = asyncio.run(predict())
    assert found == [number % 10 for number in range(39)] + ["there is no digit"]
    assert sizes[:3] == [16, 16, 8]


def test_an_array_and_an_error() -> None:
    async def predict() -> tuple[int, ...]:
        client, _ = connect(predictions(1, 2))
        async with client:
            return (await client.predict_array(np.zeros((2, 784), np.uint8))).digits

    async def fail() -> None:
        client, _ = connect(reject(429, **{"Retry-After": "1000"}))
        async with client:
            await client.predict(png(1))

    assert asyncio.run(predict()) == (1, 2)
    with pytest.raises(TooBusy):
        asyncio.run(fail())
