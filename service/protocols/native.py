"""The service's own protocol: POST /predict.

body_parser.py has its bodies, options.py its query string, docs/api.md both. The response is
{"model", "version", "predictions"}, with "numbers" if lines were split.
"""

from base64 import b64encode
from itertools import groupby
from typing import Any

from service.imaging import minimal_png
from service.prediction import body_parser, fast_path
from service.prediction.body_parser import ParsedBody
from service.prediction.options import PredictOptions, parse_query
from service.prediction.protocol import MODEL_NAME, BodyFormat, FastBody, PredictRequest, PredictResult
from service.responses import HttpResponse, dump_json
from service.settings import Settings
from service.types import DigitImage

SOURCE_FIELDS = ("picture", "line", "box")

_COLUMNS = {"digit": "digits", "confidence": "confidence", "uncertain": "uncertain", "probabilities": "probabilities"}
_DIGIT_ROWS = [{"digit": digit} for digit in range(10)]


class NativeProtocol:
    """POST /predict; an InferenceProtocol."""

    name = "native"

    def parse_options(self, query: bytes) -> PredictOptions:
        """Parse the raw query string, as `parse_query` does."""
        return parse_query(query)

    def read_fast(self, body: bytes, request: PredictRequest, settings: Settings) -> FastBody | None:
        """Parse a cheap body, as `fast_path.try_read` does."""
        if not request.options.allows_fast_path:
            return None
        images = fast_path.try_read(body, request.head.content_type, settings)
        return None if images is None else FastBody(images)

    def is_plain_bulk(self, body: bytes, request: PredictRequest) -> bool:
        """Whether the body is an array that is not normalised."""
        return body_parser.is_plain_bulk(body, request.head.content_type.decode("latin-1"), request.options.normalise)

    def parse(self, body: bytes, body_format: BodyFormat, settings: Settings) -> ParsedBody:
        """Parse a body, as `body_parser.parse_body` does."""
        return body_parser.parse_body(body, body_format.content_type, settings, body_format.options)

    def encode(self, result: PredictResult) -> HttpResponse:
        """Encode the response as JSON."""
        return HttpResponse(200, encode_json(result))


def encode_json(result: PredictResult) -> bytes:
    """Encode the JSON response: {"model", "version", "predictions"}, with "numbers" if lines were split."""
    document: dict[str, Any] = {"model": MODEL_NAME, "version": result.version}
    if result.request.options.normalise.split and result.sources:
        document["numbers"] = join_digits(result)
    document["predictions"] = prediction_rows(result)
    return dump_json(document)


def prediction_rows(result: PredictResult) -> list[dict[str, Any]]:
    """Build one object for each image, with the fields of the options."""
    options, predictions, body = result.request.options, result.predictions, result.body
    if options.fields == ["digit"] and options.allows_fast_path:
        return [_DIGIT_ROWS[digit] for digit in predictions.digits]
    columns: dict[str, Any] = {name: getattr(predictions, _COLUMNS[name]) for name in options.fields}
    if options.normalise.split and result.sources:
        columns |= {field: [getattr(source, field) for source in result.sources] for field in SOURCE_FIELDS}
    if body and options.include_image:
        columns["image"] = [png_base64(image) for image in body.images]
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if body and "uncertain" in options.fields and result.sources:
        _add_digit_counts(rows, result)
    return rows


def _add_digit_counts(rows: list[dict[str, Any]], result: PredictResult) -> None:
    """Add how many digits a picture shows, if there is more than the one that was predicted."""
    for row, source in zip(rows, result.sources, strict=True):
        if source.digit_count > 1:
            row["digits"] = source.digit_count


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
