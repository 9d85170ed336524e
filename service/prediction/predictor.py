"""Answers predict requests without a server, whatever their protocol.

request, body  ->  Predictor.predict  ->  PredictResult  ->  Predictor.encode  ->  response
"""

import time

from service.errors import NotFound, PayloadTooLarge
from service.inference.model import Model
from service.inference.model_store import ModelStore
from service.inference.predictions import Predictions
from service.monitoring.metrics import Metrics
from service.prediction.body_parser import ParsedBody
from service.prediction.inline_parser import BodyParser
from service.prediction.protocol import FastBody, PredictRequest, PredictResult
from service.responses import HttpResponse
from service.settings import Settings

MAX_SHOWN_IMAGES = 1000
"""In one response: each is encoded as a PNG in 10 us, and takes 0.5 KB."""


class Predictor:
    """Predicts with the current model. Thread-safe."""

    def __init__(self, settings: Settings, store: ModelStore, metrics: Metrics, parser: BodyParser) -> None:
        self._settings, self._store, self._metrics, self._parser = settings, store, metrics, parser

    def require_model(self, request: PredictRequest) -> Model:
        """The current model.

        Raises:
            ModelNotReady: no model is loaded.
            NotFound: the request names another version.
        """
        model = self._store.require_current()
        if request.version is not None and request.version != model.version:
            raise version_not_found(request.version, model.version)
        return model

    def predict(self, request: PredictRequest, body: bytes) -> PredictResult:
        """Parse a complete body and run the model, in a thread other than that of the event loop.

        Raises:
            RequestError: the request is wrong, or no model is loaded.
        """
        self.require_model(request)
        with self._metrics.time_stage("decode"):
            if self.is_plain_bulk(request, body):
                parsed = request.protocol.parse(body, request.body_format, self._settings)
            else:
                parsed = self._parser.parse_blocking(body, request.body_format)
        return self.predict_parsed(request, parsed)

    async def parse(self, request: PredictRequest, body: bytes) -> ParsedBody:
        """Parse a complete body without blocking the event loop; a cancelled call ends its work.

        Raises:
            RequestError: the request is wrong, or takes more time or memory than is allowed.
        """
        with self._metrics.time_stage("decode"):
            return await self._parser.parse(body, request.body_format)

    def predict_parsed(self, request: PredictRequest, parsed: ParsedBody) -> PredictResult:
        """Run the model on a parsed body.

        Raises:
            PayloadTooLarge: the response would show too many images.
            ModelNotReady, NotFound: as `require_model` raises them.
        """
        count = len(parsed.images)
        if request.options.include_image and count > MAX_SHOWN_IMAGES:
            raise PayloadTooLarge(
                f"a response shows {MAX_SHOWN_IMAGES} images at most; the body has {count}; send fewer"
            )
        model = self.require_model(request)
        started = time.perf_counter()
        predictions = model.predict(parsed.images)
        self._metrics.inference_completed(len(parsed.images), time.perf_counter() - started)
        result = build_result(request, model.version, predictions, parsed)
        self.record(result)
        return result

    def respond(self, request: PredictRequest, body: bytes) -> HttpResponse:
        """Predict, and encode the result.

        Raises:
            RequestError: as `predict` does.
        """
        return self.encode(self.predict(request, body))

    def respond_parsed(self, request: PredictRequest, parsed: ParsedBody) -> HttpResponse:
        """Run the model on a parsed body, and encode the result.

        Raises:
            RequestError: as `predict_parsed` raises it.
        """
        return self.encode(self.predict_parsed(request, parsed))

    def is_plain_bulk(self, request: PredictRequest, body: bytes) -> bool:
        """Whether a body is parsed in constant time, and so in a thread instead of a parser process."""
        return not request.head.content_encoding and request.protocol.is_plain_bulk(body, request)

    def read_fast(self, request: PredictRequest, body: bytes) -> FastBody | None:
        """Parse a body on the fast path; None: `predict` has to parse it."""
        if request.head.content_encoding:
            return None
        started = time.perf_counter()
        fast = request.protocol.read_fast(body, request, self._settings)
        if fast is not None:
            self._metrics.stage_completed("decode", time.perf_counter() - started)
        return fast

    def record(self, result: PredictResult) -> None:
        """Count the predictions of one request.

        Raises:
            InvalidPrediction: a confidence is not a number from 0 to 1. Nothing is counted: a NaN would stay in a
                metric for good.
        """
        predictions = result.predictions
        uncertain = sum(predictions.uncertain)
        if uncertain:
            predictions.check(result.version)
        self._metrics.predictions_made(predictions.digits, predictions.confidence, uncertain)

    def encode(self, result: PredictResult) -> HttpResponse:
        """Encode the response by the protocol of the request, and record the duration of the stage."""
        started = time.perf_counter()
        response = result.request.protocol.encode(result)
        self._metrics.stage_completed("encode", time.perf_counter() - started)
        return response


def version_not_found(version: str, current: str) -> NotFound:
    """The error for a request that names another version than the current one."""
    return NotFound(f"version {version[:50]} is not served; the version in use is {current}")


def build_result(
    request: PredictRequest, version: str, predictions: Predictions, body: ParsedBody | FastBody
) -> PredictResult:
    """The result of one request.

    A prediction becomes uncertain if its line may have lost a digit, or if its picture shows several digits.
    """
    if isinstance(body, FastBody):
        return PredictResult(request, version, predictions, envelope=body.envelope)
    result = PredictResult(request, version, predictions, body, body.envelope)
    doubtful = [source.is_incomplete or source.digit_count > 1 for source in result.sources]
    if not any(doubtful):
        return result
    uncertain = [one or other for one, other in zip(predictions.uncertain, doubtful, strict=True)]
    return result._replace(predictions=predictions._replace(uncertain=uncertain))
