"""TensorFlow Serving's REST API: POST /v1/models/digits:predict and :classify, for any version or the one in the path.

    predict    {"instances": [image, ...]}, or each as {"images": image}   ->  {"predictions": [[p0 ... p9], ...]}
               {"inputs": [image, ...]}, or all as {"images": [...]}       ->  {"outputs": [[p0 ... p9], ...]}
    classify   {"examples": [{"images": image}, ...]}                      ->  {"results": [[["0", p0] ...], ...]}

An image is pixels or {"b64": base64 of a picture}, as json_images.py reads them, and "signature_name" may be in each
body. As in TensorFlow Serving, the content type is not checked, and unknown keys of a body are ignored. The numbers of
a body are a tensor: an image of one grey level is predicted, not rejected as by /predict.

The specification is https://www.tensorflow.org/tfx/serving/api_rest ; where that is silent, json_tensor.cc and
http_rest_api_handler.cc of https://github.com/tensorflow/serving decide. service/web/tensorflow_serving.py has the
routes for status and metadata.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from service.errors import BadRequest, NoDigitFound, RequestError
from service.imaging.file_signatures import identify_file
from service.prediction import body_parser, fast_path, json_images
from service.prediction.body_kind import BodyKind
from service.prediction.body_parser import ParsedBody
from service.prediction.client_slips import check_slips
from service.prediction.json_pixels import describe_json
from service.prediction.numbered import parse_numbered
from service.prediction.options import TENSOR_PARAMETERS, PredictOptions, parse_query
from service.prediction.protocol import BodyFormat, FastBody, PredictRequest, PredictResult
from service.responses import HttpResponse, dump_json
from service.settings import Settings
from service.types import DigitImage

SIGNATURE, INPUT, OUTPUT = "serving_default", "images", "probabilities"
"""The names in the SavedModel: of its signature, of the only input and of the only output of that signature."""
LABELS = tuple("0123456789")

FoundImages = tuple[Mapping[str, Any] | None, list[Any]]
"""The envelope, and the images as JSON values."""


class _JsonProtocol(ABC):
    """What predict and classify have in common: a body of JSON with a list of images."""

    expected = ""
    """An example of a body, for errors."""

    def parse_options(self, query: bytes) -> PredictOptions:
        """Parse the raw query string; it may have `normalise`, as that of /predict.

        Raises:
            BadRequest: it has another parameter, or another value.
        """
        return parse_query(query, TENSOR_PARAMETERS)

    def read_fast(self, body: bytes, request: PredictRequest, settings: Settings) -> FastBody | None:
        """Parse a small body."""
        if not 0 < len(body) <= fast_path.MAX_BODY_BYTES or not request.options.allows_fast_path:
            return None
        try:
            envelope, images = self.find_images(_parse_document(body, settings, self.expected), settings)
            booleans = json_images.may_have_booleans(body)
            pixels = fast_path.read_json_images(images, _is_readable, booleans=booleans)
        except RequestError:
            return None  # `parse` raises the error again
        return None if pixels is None else FastBody(pixels, envelope)

    def is_plain_bulk(self, body: bytes, request: PredictRequest) -> bool:  # noqa: ARG002
        """JSON never is."""
        return False

    def parse(self, body: bytes, body_format: BodyFormat, settings: Settings) -> ParsedBody:
        """Parse a body, whatever its content type.

        Raises:
            RequestError: the body is malformed or too large, or a picture has no digit.
            MemoryError: the process may not allocate what parsing takes.
        """
        _check_is_text(body, self.expected)
        envelope, images = self.find_images(_parse_document(body, settings, self.expected), settings)
        entries = json_images.parse_entries(images, booleans=json_images.may_have_booleans(body))
        parsed = body_parser.read_json_entries(entries, settings, body_format.options, _check_image)
        return parsed._replace(envelope=envelope)

    @abstractmethod
    def find_images(self, document: Mapping[str, Any], settings: Settings) -> FoundImages:
        """The envelope, and the images as JSON values.

        Raises:
            BadRequest: the document has none, or has others than images.
            PayloadTooLarge: it has too many.
        """


class PredictProtocol(_JsonProtocol):
    """:predict; an InferenceProtocol. The envelope has `is_columnar`: whether the images are in `inputs`."""

    name = "tensorflow_serving_predict"
    expected = '{"instances": [...]} or {"inputs": ...}'

    def find_images(self, document: Mapping[str, Any], settings: Settings) -> FoundImages:
        """The envelope, and the images as JSON values, in row or column form."""
        keys = [key for key in ("instances", "inputs") if key in document]
        if len(keys) > 1:
            raise BadRequest("the JSON is not formatted correctly, expecting only one of 'inputs' or 'instances' keys")
        if not keys:
            raise BadRequest(f"Missing 'inputs' or 'instances' key; {_describe_keys(document)}; send {self.expected}")
        key, is_columnar = keys[0], keys[0] == "inputs"
        value = _take_input(document[key]) if is_columnar else document[key]
        return {"is_columnar": is_columnar}, _take_inputs(json_images.list_images(key, value, settings))

    def encode(self, result: PredictResult) -> HttpResponse:
        """Encode the probabilities, float32 [N, 10]."""
        key = "outputs" if result.envelope and result.envelope.get("is_columnar") else "predictions"
        return HttpResponse(200, dump_json({key: result.predictions.probabilities}))


class ClassifyProtocol(_JsonProtocol):
    """:classify; an InferenceProtocol. Each result is ten pairs of label and score, by label."""

    name = "tensorflow_serving_classify"
    expected = '{"examples": [{"images": ...}]}'

    def find_images(self, document: Mapping[str, Any], settings: Settings) -> FoundImages:
        """The images as JSON values; the response needs no envelope."""
        if document.get("context"):
            raise BadRequest("the JSON has a context, which no image can be shared by; send each image in 'examples'")
        if "examples" not in document:
            found = _describe_keys(document)
            raise BadRequest(f"When method is classify, key 'examples' is expected; {found}; send {self.expected}")
        return None, _take_inputs(json_images.list_images("examples", document["examples"], settings))

    def encode(self, result: PredictResult) -> HttpResponse:
        """Encode the probabilities as pairs of label and score."""
        rows = [list(zip(LABELS, row, strict=True)) for row in result.predictions.probabilities]
        return HttpResponse(200, dump_json({"results": rows}))


def _check_is_text(body: bytes, expected: str) -> None:
    """Check for what clients send instead of JSON."""
    if not body:
        raise BadRequest(f"the body has 0 bytes; send {expected}")
    if name := identify_file(body):
        advice = '{"instances": [{"b64": "..."}]}'
        raise BadRequest(f"the body is a file, {name}; send {advice} with its base64, or the file to /predict")
    check_slips(body, "", BodyKind.UNKNOWN)


def _parse_document(body: bytes, settings: Settings, expected: str) -> Mapping[str, Any]:
    """Parse the JSON, and check the name of the signature."""
    document = json_images.parse_json(body, settings)
    if not isinstance(document, dict):
        raise BadRequest(f"the JSON is {describe_json(document)}; send {expected}")
    signature = document.get("signature_name", "")
    if not isinstance(signature, str):
        found = describe_json(signature)
        raise BadRequest(f"'signature_name' key must be a string value; it is {found}")
    if signature not in {"", SIGNATURE}:
        raise BadRequest(f"Serving signature name: {signature[:50]!r} not found in signature def; there is {SIGNATURE}")
    return document


def _take_inputs(entries: list[Any]) -> list[Any]:
    """The images of a list in which they may be named."""
    if not any(isinstance(entry, dict) for entry in entries):
        return entries
    count = len(entries)
    return [parse_numbered(entry, number, count, _take_input) for number, entry in enumerate(entries, 1)]


def _take_input(value: object) -> object:
    """The value of {"images": value}, and the text of {"b64": text}; anything but an object is returned unchanged."""
    if not isinstance(value, dict):
        return value
    if value.keys() == {INPUT}:
        value = value[INPUT]
        return _take_base64(value) if isinstance(value, dict) else value
    return _take_base64(value)


def _take_base64(value: Mapping[str, Any]) -> str:
    if value.keys() != {"b64"}:
        raise BadRequest(f"{_describe_keys(value)}; the only named input is {INPUT!r}, the key of base64 is 'b64'")
    if not isinstance(value["b64"], str):
        raise BadRequest(f"'b64' is {describe_json(value['b64'])}; expected: base64 of a picture")
    return value["b64"]


def _describe_keys(document: Mapping[str, Any]) -> str:
    keys = ", ".join(repr(key[:30]) for key in list(document)[:4]) or "none"
    return f"the JSON object has the keys {keys}"


def _is_readable(pixels: bytes) -> bool:
    """Whether pixels have another value than 0 and 1, or no 1: else they probably are a mask, whose white is 1."""
    return 1 not in pixels or bool(pixels.translate(None, b"\0\1"))


def _check_image(image: DigitImage) -> None:
    if not _is_readable(image.tobytes()):
        raise NoDigitFound("no digit to read: the pixels are 0 and 1; white is 255, or 1 if there are fractions")
