"""A model that returns NaN for one picture: that request alone gets 500, and no metric becomes NaN."""

import asyncio
import json
from dataclasses import replace

import numpy as np
import pytest
from flask.testing import FlaskClient

from service.server.asgi import Application
from service.types import Batch, Probabilities
from tests.conftest import service_of
from tests.exposition import samples
from tests.service.payloads import FORM, encode, form, idx3, stroke
from tests.service.server.test_asgi import PNG, call, read, scope

GOOD = stroke()
BAD = GOOD.copy()
BAD[14, 14] = 77
ERROR = "not one from 0 to 1; version 1 of the model has a fault"


class Runtime:
    """Returns NaN for images with a pixel of this value: no warm-up can try every picture."""

    name = "litert"

    def __init__(self, pixel: int) -> None:
        self.pixel = pixel

    def __call__(self, batch: Batch) -> Probabilities:
        probabilities = np.full((len(batch), 10), np.float32(0.1))
        probabilities[(batch == self.pixel).any(axis=(1, 2))] = np.nan
        return probabilities


@pytest.fixture
def faulty(client: FlaskClient) -> FlaskClient:
    """A client of a service whose model returns NaN for BAD."""
    store = service_of(client).store
    store.current = replace(store.require_current(), runtime=Runtime(77))
    return client


def counts(client: FlaskClient) -> dict[str, float]:
    """Values of the metrics that predictions change."""
    names = ("digits_predictions_total", "digits_prediction_confidence_", "digits_rejected", "digits_uncertain")
    lines = (line.rpartition(" ") for line in samples(client.get("/metrics").text, *names) if "_bucket" not in line)
    return {name: float(value) for name, _, value in lines}


def test_requests_of_the_same_batch_are_answered(faulty: FlaskClient) -> None:
    application = Application(faulty.application)
    pictures = [GOOD, GOOD, BAD, GOOD, BAD, GOOD]

    async def send_all() -> list[tuple[int, bytes]]:
        requests = (
            call(application, [encode(picture)], scope("POST", "/predict", PNG | {"Content-Length": "100"}))
            for picture in pictures
        )
        return [(status, body) for status, _, body in map(read, await asyncio.gather(*requests))]

    responses = asyncio.run(send_all())
    assert [status for status, _ in responses] == [200, 200, 500, 200, 500, 200]
    for status, body in responses:
        assert b"null" not in body
        assert status == 200 or json.loads(body) == {"error": f"the confidence of prediction 1 is nan, {ERROR}"}
    assert counts(faulty) == {
        'digits_predictions_total{digit="0"}': 4,
        "digits_prediction_confidence_count": 4,
        "digits_prediction_confidence_sum": pytest.approx(0.4),
        'digits_rejected_total{reason="invalid_prediction"}': 2,
        "digits_uncertain_predictions_total": 4,
    }


@pytest.mark.parametrize("query", ["", "?fields=digit", "?normalise=never", "?show=image"])
def test_one_of_many_pictures_fails_its_request(faulty: FlaskClient, query: str) -> None:
    bodies = [(form(encode(GOOD), encode(BAD)), FORM), (idx3(np.stack([GOOD, BAD])), "application/octet-stream")]
    for body, content_type in bodies:
        response = faulty.post(f"/predict{query}", data=body, content_type=content_type)
        assert response.status_code == 500
        assert response.get_json() == {"error": f"the confidence of prediction 2 is nan, {ERROR}"}
    assert counts(faulty) == {
        "digits_prediction_confidence_count": 0,
        "digits_prediction_confidence_sum": 0,
        'digits_rejected_total{reason="invalid_prediction"}': 2,
        "digits_uncertain_predictions_total": 0,
    }


def test_the_page_shows_the_error(faulty: FlaskClient) -> None:
    store = service_of(faulty).store
    store.current = replace(store.require_current(), runtime=Runtime(0))
    response = faulty.post("/", data=form(encode(GOOD)), content_type=FORM)
    assert response.status_code == 500
    assert ERROR in response.text
