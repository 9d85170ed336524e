"""POST /predict: one or many pictures in, one prediction for each digit out, in order.

?fields=digit,confidence       only these of FIELDS
?normalise=auto|always|never   as service.imaging.reader says
?split=digits                  every digit of a row on its own, with its picture's number and its box
?show=image                    the image that the network saw, as a PNG in base64
"""

import hmac
from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import lru_cache
from io import BytesIO
from itertools import groupby
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import orjson
from flask import Blueprint, Response, request
from PIL import Image
from werkzeug.wrappers import Request

from service.errors import BadRequest, Unauthorised
from service.imaging import reader
from service.imaging.reader import DEFAULT_OPTIONS, NormaliseOptions
from service.inference.model_store import Model, ModelStore
from service.inference.runtimes import Batch, Probabilities
from service.monitoring.metrics import Metrics
from service.prediction import body_parser
from service.prediction.body_parser import ParsedBody
from service.prediction.concurrency import ConcurrencyLimiter
from service.responses import JSON
from service.settings import Settings

MODEL_NAME = "digits"
FIELDS = ("digit", "confidence", "uncertain", "probabilities")
SOURCE_FIELDS = ("picture", "box")


class PredictOptions(NamedTuple):
    """What a request asks for, besides its body: the query string, checked."""

    fields: Sequence[str] = FIELDS
    normalise: NormaliseOptions = DEFAULT_OPTIONS
    include_image: bool = False

    @property
    def allows_fast_path(self) -> bool:
        """Whether images pass as usual, and nothing is answered that a picture's pixels or place are needed for."""
        return self.normalise == DEFAULT_OPTIONS and not self.include_image

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, str]) -> Self:
        """Read a query; keys that nobody knows are left to whoever put them there.

        Raises:
            Malformed: a value is not one of those allowed.
        """
        if not arguments:
            return cls()
        normalise = _one_of("normalise", arguments.get("normalise", "auto"), reader.NORMALISE_MODES)
        split = _one_of("split", arguments["split"], ("digits",)) == "digits" if "split" in arguments else False
        if split and normalise == "never":
            raise BadRequest("split=digits normalises every digit; it does not go with normalise=never")
        show = _one_of("show", arguments["show"], ("image",)) == "image" if "show" in arguments else False
        fields = parse_fields(arguments["fields"]) if "fields" in arguments else FIELDS
        return cls(fields, NormaliseOptions(normalise, split), show)


@lru_cache(maxsize=256)
def parse_query(query: bytes) -> PredictOptions:
    """Read a query string as it came, which few clients vary.

    Raises:
        Malformed: as Question.of says.
    """
    return PredictOptions.from_arguments(Request({"QUERY_STRING": query.decode("latin-1")}).args)


class Predictions(NamedTuple):
    """What a model says to a batch: digits, confidence float32 [N], uncertain or not, probabilities float32 [N, 10]."""

    digits: Sequence[int]
    confidence: npt.NDArray[np.float32]
    uncertain: Sequence[bool]
    probabilities: Probabilities

    @classmethod
    def from_probabilities(cls, model: Model, probabilities: Probabilities) -> Self:
        """Read probabilities [N, 10] off."""
        if len(probabilities) == 1:  # the same in half the time
            digit = int(probabilities.argmax())
            confidence = probabilities[0, digit : digit + 1]
            return cls((digit,), confidence, (bool(confidence[0] < model.confidence_threshold),), probabilities)
        confidence = probabilities.max(axis=1)
        uncertain = (confidence < model.confidence_threshold).tolist()
        return cls(probabilities.argmax(axis=1).tolist(), confidence, uncertain, probabilities)

    def slice(self, start: int, stop: int) -> "Predictions":
        """Those from `start`, before `stop`."""
        digits, confidence, uncertain, probabilities = self
        return Predictions(digits[start:stop], confidence[start:stop], uncertain[start:stop], probabilities[start:stop])


class Predictor:
    """The way from a body to an answer, without a server."""

    def __init__(self, settings: Settings, store: ModelStore, metrics: Metrics) -> None:
        self._settings, self._store, self._metrics = settings, store, metrics
        self.limiter = ConcurrencyLimiter(settings.max_in_flight)
        self._key = f"Bearer {settings.api_key}".encode() if settings.api_key else None

    def check_key(self, authorization: bytes) -> None:
        """Let a request pass whose header Authorization has the key, if one is asked for.

        Raises:
            Unauthorised: it has no key, or a wrong one.
        """
        if self._key is not None and not hmac.compare_digest(authorization, self._key):
            raise Unauthorised("the header Authorization is not `Bearer KEY` with the right key")

    def predict_json(self, body: bytes, content_type: str, query: bytes) -> bytes:
        """The JSON answer to a body.

        Args:
            body: the whole request body.
            content_type: its Content-Type, with its options.
            query: the query string.

        Raises:
            RequestError: what is wrong with the request, or with the time of it.
        """
        asked = parse_query(query)
        model = self._store.require_current()
        with self._metrics.time_stage("decode"):
            read = body_parser.parse_body(body, content_type, self._settings, asked.normalise)
        with self._metrics.time_stage("infer"):
            probabilities = model(read.images)
        with self._metrics.time_stage("encode"):
            answers = Predictions.from_probabilities(model, probabilities)
            encoded = encode_json(asked, model.version, answers, read)
        self.record(answers)
        return encoded

    def record(self, answers: Predictions) -> None:
        """Count answers that were given to one request."""
        self._metrics.predictions_made(answers.digits, answers.confidence, sum(answers.uncertain))


def encode_json(
    options: PredictOptions, version: str, predictions: Predictions, body: ParsedBody | None = None
) -> bytes:
    """The JSON of answers; `read` is what they answer, which a plain question does not ask for."""
    answer: dict[str, Any] = {"model": MODEL_NAME, "version": version}
    if options.fields == ["digit"] and options.allows_fast_path:
        answer["predictions"] = [_DIGIT[digit] for digit in predictions.digits]
        return orjson.dumps(answer)
    given = (predictions.digits, predictions.confidence, predictions.uncertain, predictions.probabilities)
    columns: dict[str, Any] = {
        name: column for name, column in zip(FIELDS, given, strict=True) if name in options.fields
    }
    if body and options.normalise.split and body.sources is not None:
        columns |= dict(zip(SOURCE_FIELDS, zip(*body.sources, strict=True), strict=True))
        answer["numbers"] = _join_digits(columns["picture"], predictions.digits)
    if body and options.include_image:
        columns["image"] = [png_base64(image) for image in body.images]
    answer["predictions"] = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def parse_fields(fields: str) -> Sequence[str]:
    """A comma-separated choice of FIELDS, in their own order.

    Raises:
        Malformed: an unknown field.
    """
    wanted = fields.split(",")
    if unknown := [name for name in wanted if name not in FIELDS]:
        raise BadRequest(f"fields has {unknown[0][:50]!r}; allowed are {', '.join(FIELDS)}")
    return [name for name in FIELDS if name in wanted]


def png_base64(image: Batch) -> str:
    """An image uint8 [28, 28] as a PNG file in base64."""
    file = BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return b64encode(file.getvalue()).decode()


def _one_of(key: str, value: str, allowed: Sequence[str]) -> str:
    if value not in allowed:
        raise BadRequest(f"{key} is {value[:50]!r}; allowed is {' or '.join(allowed)}")
    return value


def _join_digits(pictures: Sequence[int], digits: Sequence[int]) -> list[str]:
    """The digits of each picture, read as one number: ["2024"]."""
    pairs = zip(pictures, digits, strict=True)
    return ["".join(str(digit) for _, digit in row) for _, row in groupby(pairs, key=lambda pair: pair[0])]


_DIGIT = [{"digit": digit} for digit in range(10)]


def blueprint(predictor: Predictor, settings: Settings) -> Blueprint:
    """The routes of this module."""
    routes = Blueprint("predict", __name__)

    @routes.post("/predict")
    def predict() -> Response:
        with predictor.limiter.acquired():
            body_parser.check_body_size(request.content_length or 0, settings)
            body = request.get_data(cache=False)
            body_parser.check_body_size(len(body), settings, at_least=True)
            answer = predictor.predict_json(body, request.headers.get("Content-Type", ""), request.query_string)
        return Response(answer, mimetype=JSON)

    return routes
