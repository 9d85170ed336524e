"""A predict request without a server: body and query in, a result out; encoding is apart.

body, query  ->  Predictor.predict  ->  PredictResult  ->  encode_json  ->  JSON
"""

import time
from base64 import b64encode
from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

import orjson

from service.errors import PayloadTooLarge
from service.imaging import minimal_png
from service.inference.model_store import ModelStore
from service.inference.predictions import Predictions
from service.monitoring.metrics import Metrics
from service.prediction import fast_path
from service.prediction.body_parser import ParsedBody, Source, is_plain_bulk, parse_body
from service.prediction.inline_parser import BodyParser
from service.prediction.options import PredictOptions, parse_query
from service.settings import Settings
from service.types import DigitImage

MODEL_NAME = "digits"
MAX_SHOWN_IMAGES = 1000
"""In one response: each is encoded as a PNG in 10 us, and takes 0.5 KB."""
SOURCE_FIELDS = ("picture", "line", "box")

_COLUMNS = {"digit": "digits", "confidence": "confidence", "uncertain": "uncertain", "probabilities": "probabilities"}
_DIGIT_ROWS = [{"digit": digit} for digit in range(10)]


class PredictResult(NamedTuple):
    """The result of one request: the predictions of one version, and the parsed body.

    `body` is None on the fast path, whose responses need neither images nor boxes.
    """

    options: PredictOptions
    version: str
    predictions: Predictions
    body: ParsedBody | None = None

    @property
    def sources(self) -> Sequence[Source]:
        """The sources of the images; none on the fast path, and for a bulk body that was not normalised."""
        return (self.body and self.body.sources) or ()


class Predictor:
    """Predicts with the current model. Thread-safe."""

    def __init__(self, settings: Settings, store: ModelStore, metrics: Metrics, parser: BodyParser) -> None:
        self._settings, self._store, self._metrics, self._parser = settings, store, metrics, parser

    def predict(self, body: bytes, content_type: str, query: bytes) -> PredictResult:
        """Parse a complete request and run the model.

        Args:
            body: the complete request body.
            content_type: the value of Content-Type, with its parameters.
            query: the raw query string.

        Raises:
            RequestError: the request is wrong, or no model is loaded.
        """
        options = parse_query(query)
        self._store.require_current()
        with self._metrics.time_stage("decode"):
            if is_plain_bulk(content_type, options.normalise):
                parsed = parse_body(body, content_type, self._settings)
            else:
                parsed = self._parser.parse_blocking(body, content_type, options.normalise)
        return self.predict_parsed(parsed, options)

    async def parse(self, body: bytes, content_type: str, options: PredictOptions) -> ParsedBody:
        """Parse a complete body without blocking the event loop; a cancelled call ends its work.

        Raises:
            RequestError: the request is wrong, or takes more time or memory than is allowed.
        """
        with self._metrics.time_stage("decode"):
            return await self._parser.parse(body, content_type, options.normalise)

    def predict_parsed(self, parsed: ParsedBody, options: PredictOptions) -> PredictResult:
        """Run the model on a parsed body.

        Raises:
            PayloadTooLarge: the response would show too many images.
            ModelNotReady: no model is loaded.
        """
        count = len(parsed.images)
        if options.include_image and count > MAX_SHOWN_IMAGES:
            raise PayloadTooLarge(
                f"a response shows {MAX_SHOWN_IMAGES} images at most; the body has {count}; send fewer"
            )
        model = self._store.require_current()
        started = time.perf_counter()
        predictions = model.predict(parsed.images)
        self._metrics.inference_completed(len(parsed.images), time.perf_counter() - started)
        result = build_result(options, model.version, predictions, parsed)
        self.record(result)
        return result

    def predict_json(self, body: bytes, content_type: str, query: bytes) -> bytes:
        """Predict, and encode the result as JSON.

        Raises:
            RequestError: as `predict` does.
        """
        return self.encode(self.predict(body, content_type, query))

    def predict_parsed_json(self, parsed: ParsedBody, options: PredictOptions) -> bytes:
        """Run the model on a parsed body, and encode the result as JSON.

        Raises:
            RequestError: as `predict_parsed` raises it.
        """
        return self.encode(self.predict_parsed(parsed, options))

    def read_fast(self, body: bytes, content_type: bytes, options: PredictOptions) -> bytes | None:
        """Parse a body on the fast path to N x 784 bytes; None: `predict` has to parse it."""
        if not options.allows_fast_path:
            return None
        started = time.perf_counter()
        images = fast_path.try_read(body, content_type, self._settings)
        if images is not None:
            self._metrics.stage_completed("decode", time.perf_counter() - started)
        return images

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

    def encode(self, result: PredictResult) -> bytes:
        """Call `encode_json`, and record the duration of the stage."""
        started = time.perf_counter()
        encoded = encode_json(result)
        self._metrics.stage_completed("encode", time.perf_counter() - started)
        return encoded


def build_result(
    options: PredictOptions, version: str, predictions: Predictions, body: ParsedBody | None = None
) -> PredictResult:
    """The result of one request; every prediction of a line that may have lost a digit becomes uncertain."""
    result = PredictResult(options, version, predictions, body)
    if body is None or not any(source.is_incomplete for source in result.sources):
        return result
    pairs = zip(predictions.uncertain, result.sources, strict=True)
    uncertain = [is_uncertain or source.is_incomplete for is_uncertain, source in pairs]
    return result._replace(predictions=predictions._replace(uncertain=uncertain))


def encode_json(result: PredictResult) -> bytes:
    """Encode the JSON response: {"model", "version", "predictions"}, with "numbers" if lines were split."""
    document: dict[str, Any] = {"model": MODEL_NAME, "version": result.version}
    if result.sources and result.options.normalise.split:
        document["numbers"] = join_digits(result)
    document["predictions"] = prediction_rows(result)
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def prediction_rows(result: PredictResult) -> list[dict[str, Any]]:
    """Build one object for each image, with the fields of the options."""
    options, predictions, body = result.options, result.predictions, result.body
    if options.fields == ["digit"] and options.allows_fast_path:
        return [_DIGIT_ROWS[digit] for digit in predictions.digits]
    columns: dict[str, Any] = {name: getattr(predictions, _COLUMNS[name]) for name in options.fields}
    if result.sources and options.normalise.split:
        columns |= {field: [getattr(source, field) for source in result.sources] for field in SOURCE_FIELDS}
    if body and options.include_image:
        columns["image"] = [png_base64(image) for image in body.images]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def join_digits(result: PredictResult) -> list[str]:
    """Join the digits of each line of writing, from left to right, to one string: ["2024", "17"].

    The lines of the first picture come first, from top to bottom; [] if the body has no sources.
    """
    if not result.sources:
        return []
    digits = zip(result.sources, result.predictions.digits, strict=True)
    lines = groupby(digits, key=lambda pair: (pair[0].picture, pair[0].line))
    return ["".join(str(digit) for _, digit in line) for _, line in lines]


def png_base64(image: DigitImage) -> str:
    """Encode an image uint8 [28, 28] as a PNG file in base64."""
    return b64encode(minimal_png.encode_minimal_png(image)).decode()
