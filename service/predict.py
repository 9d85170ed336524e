"""POST /predict: one or many pictures in, one prediction for each digit out, in order.

?fields=digit,confidence       only these of FIELDS
?normalise=auto|always|never   as service.pictures says
?split=digits                  every digit of a row on its own, with its picture's number and its box
?show=image                    the image that the network saw, as a PNG in base64
"""

import threading
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from itertools import groupby
from typing import Any, NamedTuple, Self

import numpy as np
import orjson
from flask import Blueprint, Response, request
from PIL import Image

from service import bodies, pictures
from service.bodies import Body
from service.errors import Malformed, NotReady, TooBusy
from service.metrics import Metrics
from service.model_store import Model, ModelStore
from service.pictures import AUTO, Reading
from service.runtimes import Batch
from service.settings import Settings

NAME = "digits"
FIELDS = ("digit", "confidence", "uncertain", "probabilities")
PLACE = ("picture", "box")


class Question(NamedTuple):
    """What a request asks for, besides its body: the query string, checked."""

    fields: Sequence[str] = FIELDS
    reading: Reading = AUTO
    show: bool = False

    @classmethod
    def of(cls, arguments: Mapping[str, str]) -> Self:
        """Read a query string; keys that nobody knows are left to whoever put them there.

        Raises:
            Malformed: a value is not one of those allowed.
        """
        if not arguments:
            return cls()
        normalise = _one_of("normalise", arguments.get("normalise", "auto"), pictures.WAYS)
        split = _one_of("split", arguments["split"], ("digits",)) == "digits" if "split" in arguments else False
        if split and normalise == "never":
            raise Malformed("split=digits normalises every digit; it does not go with normalise=never")
        show = _one_of("show", arguments["show"], ("image",)) == "image" if "show" in arguments else False
        fields = parse_fields(arguments["fields"]) if "fields" in arguments else FIELDS
        return cls(fields, Reading(normalise, split), show)


class Predictor:
    """The way from a body to an answer, without Flask."""

    def __init__(self, settings: Settings, store: ModelStore, metrics: Metrics) -> None:
        self._settings, self._store, self._metrics = settings, store, metrics
        self._places = threading.BoundedSemaphore(settings.max_in_flight)

    def answer(self, body: bytes, content_type: str, arguments: Mapping[str, str]) -> bytes:
        """The JSON answer to a body.

        Args:
            body: the whole request body.
            content_type: its Content-Type, with its options.
            arguments: the query string's.

        Raises:
            RequestError: what is wrong with the request, or with the time of it.
        """
        question = Question.of(arguments)
        model = self._store.current
        if model is None:
            raise NotReady("no model is loaded yet")
        with self._metrics.stage("decode"):
            read = bodies.read(body, content_type, self._settings, question.reading)
        return self._predict(model, read, question)

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

    def _predict(self, model: Model, read: Body, question: Question) -> bytes:
        with self._metrics.stage("infer"):
            probabilities = model(read.images)
        with self._metrics.stage("encode"):
            digits, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
            uncertain = confidence < model.uncertain_below
            columns = {"digit": digits.tolist(), "confidence": confidence, "uncertain": uncertain.tolist()}
            columns["probabilities"] = probabilities
            columns = {name: columns[name] for name in question.fields}
            answer: dict[str, Any] = {"model": NAME, "version": model.version}
            if question.reading.split and read.places is not None:
                columns |= dict(zip(PLACE, zip(*read.places, strict=True), strict=True))
                answer["numbers"] = _numbers(columns["picture"], digits.tolist())
            if question.show:
                columns["image"] = [png(image) for image in read.images]
            rows = zip(*columns.values(), strict=True)
            answer["predictions"] = [dict(zip(columns, row, strict=True)) for row in rows]
            encoded = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
        self._metrics.predicted(digits, confidence, int(np.count_nonzero(uncertain)))
        return encoded


def parse_fields(fields: str) -> Sequence[str]:
    """A comma-separated choice of FIELDS, in their own order.

    Raises:
        Malformed: an unknown field.
    """
    wanted = fields.split(",")
    if unknown := [name for name in wanted if name not in FIELDS]:
        raise Malformed(f"fields has {unknown[0][:50]!r}; allowed are {', '.join(FIELDS)}")
    return [name for name in FIELDS if name in wanted]


def png(image: Batch) -> str:
    """An image uint8 [28, 28] as a PNG file in base64."""
    file = BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return b64encode(file.getvalue()).decode()


def _one_of(key: str, value: str, allowed: Sequence[str]) -> str:
    if value not in allowed:
        raise Malformed(f"{key} is {value[:50]!r}; allowed is {' or '.join(allowed)}")
    return value


def _numbers(pictures: Sequence[int], digits: Sequence[int]) -> list[str]:
    """The digits of each picture, read as one number: ["2024"]."""
    pairs = zip(pictures, digits, strict=True)
    return ["".join(str(digit) for _, digit in row) for _, row in groupby(pairs, key=lambda pair: pair[0])]


def routes(predictor: Predictor) -> Blueprint:
    """The blueprint of this module."""
    blueprint = Blueprint("predict", __name__)

    @blueprint.post("/predict")
    def predict() -> Response:
        with predictor.place():
            body = request.get_data(cache=False)
            answer = predictor.answer(body, request.headers.get("Content-Type", ""), request.args)
        return Response(answer, mimetype="application/json")

    return blueprint
