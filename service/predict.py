"""POST /predict: one or many pictures in, one prediction for each out, in order."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import orjson
from flask import Blueprint, Response, request

from service import bodies
from service.errors import Malformed, NotReady, TooBusy
from service.metrics import Metrics
from service.model_store import Model, ModelStore
from service.runtimes import Batch
from service.settings import Settings

NAME = "digits"
FIELDS = ("digit", "confidence", "uncertain", "probabilities")


class Predictor:
    """The way from a body to an answer, without Flask."""

    def __init__(self, settings: Settings, store: ModelStore, metrics: Metrics) -> None:
        self._settings, self._store, self._metrics = settings, store, metrics
        self._places = threading.BoundedSemaphore(settings.max_in_flight)

    def answer(self, body: bytes, content_type: str, fields: str | None) -> bytes:
        """The JSON answer to a body.

        Args:
            body: the whole request body.
            content_type: its Content-Type, with its options.
            fields: a comma-separated choice of FIELDS; None for all of them.

        Raises:
            RequestError: what is wrong with the request, or with the time of it.
        """
        wanted = parse_fields(fields)
        model = self._store.current
        if model is None:
            raise NotReady("no model is loaded yet")
        with self._metrics.stage("decode"):
            batch = bodies.read(body, content_type, self._settings)
        return self._predict(model, batch, wanted)

    @contextmanager
    def place(self) -> Iterator[None]:
        """One of the places for requests in flight.

        Raises:
            TooBusy: all of them are taken.
        """
        if not self._places.acquire(blocking=False):
            raise TooBusy(f"{self._settings.max_in_flight} requests are being answered, which is the limit")
        try:
            yield
        finally:
            self._places.release()

    def _predict(self, model: Model, batch: Batch, wanted: Sequence[str]) -> bytes:
        with self._metrics.stage("infer"):
            probabilities = model(batch)
        with self._metrics.stage("encode"):
            digits, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
            uncertain = confidence < model.uncertain_below
            columns = {"digit": digits.tolist(), "confidence": confidence, "uncertain": uncertain.tolist()}
            columns["probabilities"] = probabilities
            rows = zip(*(columns[name] for name in wanted), strict=True)
            predictions = [dict(zip(wanted, row, strict=True)) for row in rows]
            answer = {"model": NAME, "version": model.version, "predictions": predictions}
            encoded = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
        self._metrics.predicted(digits, confidence, int(uncertain.sum()))
        return encoded


def parse_fields(fields: str | None) -> Sequence[str]:
    """A comma-separated choice of FIELDS, in their own order.

    Raises:
        Malformed: an unknown field.
    """
    if fields is None:
        return FIELDS
    wanted = fields.split(",")
    if unknown := [name for name in wanted if name not in FIELDS]:
        raise Malformed(f"fields has {unknown[0][:50]!r}; allowed are {', '.join(FIELDS)}")
    return [name for name in FIELDS if name in wanted]


def routes(predictor: Predictor) -> Blueprint:
    """The blueprint of this module."""
    blueprint = Blueprint("predict", __name__)

    @blueprint.post("/predict")
    def predict() -> Response:
        with predictor.place():
            body = request.get_data(cache=False)
            answer = predictor.answer(body, request.headers.get("Content-Type", ""), request.args.get("fields"))
        return Response(answer, mimetype="application/json")

    return blueprint
