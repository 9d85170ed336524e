"""The Open Inference Protocol V2, as KServe, Triton and MLServer speak it: POST /v2/models/digits/infer.

    JSON                                     the whole request
    JSON, then the binary data of its input  with Inference-Header-Content-Length, the bytes of the JSON
    raw bytes of UINT8 images, without JSON  with Inference-Header-Content-Length: 0

open_inference_tensors.py has the input, open_inference_outputs.py the outputs. Images of numbers pass unchanged, as in
every bulk format, unless the request has normalise=auto or normalise=always.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from service.errors import BadRequest, RequestError
from service.imaging import reader
from service.prediction import body_parser
from service.prediction.base64_text import decode_base64
from service.prediction.body_parser import ParsedBody
from service.prediction.fast_path import MAX_BODY_BYTES, MAX_IMAGES
from service.prediction.json_images import check_json_structure
from service.prediction.numbered import parse_numbered
from service.prediction.options import PredictOptions, parse_query
from service.prediction.protocol import BodyFormat, FastBody, PredictRequest, PredictResult
from service.protocols import open_inference_tensors as tensors
from service.protocols.open_inference_outputs import ALL_BINARY, encode_response, parse_outputs
from service.protocols.open_inference_tensors import BYTES, InputTensor, describe_value
from service.responses import HttpResponse
from service.settings import Settings
from service.types import Batch

MAX_ID_CHARACTERS = 1000
MAX_LENGTH_DIGITS = 11
"""Of the length of the JSON before binary data."""
MAX_CACHED_HEADER_BYTES = 4096
"""Of the JSON before binary data that is parsed in the event loop, and kept."""


class InferenceHeader(NamedTuple):
    """The JSON of a request without its data. `envelope`: what the response needs of it."""

    tensor: InputTensor
    envelope: dict[str, Any]


class OpenInferenceProtocol:
    """POST /v2/models/digits/infer; an InferenceProtocol."""

    name = "open_inference"

    def parse_options(self, query: bytes) -> PredictOptions:
        """Parse the raw query string: `normalise` as for /predict.

        Raises:
            BadRequest: it has another parameter, or a value that is not allowed.
        """
        options = parse_query(query)
        if options != PredictOptions(normalise=reader.NormaliseOptions(options.normalise.normalise)):
            raise BadRequest("the Open Inference Protocol has one parameter in the query: normalise")
        return options

    def read_fast(self, body: bytes, request: PredictRequest, settings: Settings) -> FastBody | None:
        """Parse a small body of numbers."""
        if len(body) > MAX_BODY_BYTES or request.options.normalise.normalise:
            return None
        try:
            header, data = _read_parts(body, request.head.inference_header_length, settings)
            if header.tensor.datatype == BYTES or header.tensor.images > MAX_IMAGES:
                return None
            return FastBody(_decode_numbers(header.tensor, data).tobytes(), header.envelope)
        except RequestError:
            return None  # `parse` raises the error again

    def is_plain_bulk(self, body: bytes, request: PredictRequest) -> bool:
        """Whether the input is binary numbers that are not normalised."""
        length = request.head.inference_header_length
        if not length or request.options.normalise.normalise:
            return False
        try:
            size = _parse_header_length(length, body)
            if size > MAX_CACHED_HEADER_BYTES:
                return False
            return size == 0 or _parse_cached(body[:size]).tensor.datatype != BYTES
        except RequestError:
            return False  # `parse` raises the error again

    def parse(self, body: bytes, body_format: BodyFormat, settings: Settings) -> ParsedBody:
        """Parse any body.

        Raises:
            RequestError: it is malformed or too large, or a picture has no digit.
        """
        header, data = _read_parts(body, body_format.inference_header_length.encode("latin-1"), settings)
        if header.tensor.datatype == BYTES:
            parsed = body_parser.read_files(_decode_files(header.tensor, data), settings, body_format.options)
        else:
            parsed = body_parser.read_batch(_decode_numbers(header.tensor, data), settings, body_format.options)
        return parsed._replace(envelope=header.envelope)

    def encode(self, result: PredictResult) -> HttpResponse:
        """Encode the outputs that the client wants."""
        return encode_response(result)


def parse_header(document: Any) -> InferenceHeader:
    """Parse the JSON of a request, without its data.

    Raises:
        BadRequest: it is not a request of the protocol, or does not fit the model.
    """
    if not isinstance(document, dict):
        raise BadRequest('the JSON is not an object {"inputs": [...]}')
    tensor = tensors.parse_input(document)
    envelope: dict[str, Any] = {"outputs": parse_outputs(document)}
    if "id" in document:
        identifier = document["id"]
        if not isinstance(identifier, str) or len(identifier) > MAX_ID_CHARACTERS:
            shown = describe_value(identifier)
            raise BadRequest(f"id is {shown!r}; expected: a string of at most {MAX_ID_CHARACTERS} characters")
        envelope["id"] = identifier
    return InferenceHeader(tensor, envelope)


def _read_parts(body: bytes, header_length: bytes, settings: Settings) -> tuple[InferenceHeader, Any]:
    """The header of a body, and the data of its input: a memoryview of binary data, or a JSON value."""
    size = _parse_header_length(header_length, body) if header_length else len(body)
    header, data = _read_json(body, settings) if size == len(body) else _split_binary(body, size, settings)
    tensors.check_image_count(header.tensor, settings.max_pictures)
    return header, data


def _parse_header_length(header_length: bytes, body: bytes) -> int:
    size = int(header_length) if header_length.isdigit() and len(header_length) <= MAX_LENGTH_DIGITS else -1
    if not 0 <= size <= len(body):
        shown = header_length[:20].decode("latin-1")
        raise BadRequest(f"Inference-Header-Content-Length is {shown!r}; the body has {len(body)} bytes")
    return size


def _read_json(body: bytes, settings: Settings) -> tuple[InferenceHeader, Any]:
    check_json_structure(body, settings)
    document = _load_json(body)
    header = parse_header(document)
    if header.tensor.binary_size is not None:
        raise BadRequest(
            f"binary_data_size is {header.tensor.binary_size}; no bytes follow the JSON, "
            "or Inference-Header-Content-Length is missing"
        )
    return header, document["inputs"][0].get("data")


def _split_binary(body: bytes, size: int, settings: Settings) -> tuple[InferenceHeader, memoryview]:
    """Split a body whose JSON has `size` bytes; without JSON, all outputs are wanted in binary, as Triton does."""
    data = memoryview(body)[size:]
    if size == 0:
        return InferenceHeader(tensors.describe_raw_input(len(data)), {"outputs": ALL_BINARY}), data
    if size <= MAX_CACHED_HEADER_BYTES:
        header = _parse_cached(body[:size])
    else:
        check_json_structure(body[:size], settings)
        header = _parse_binary_header(body[:size])
    if header.tensor.binary_size != len(data):
        raise BadRequest(f"binary_data_size is {header.tensor.binary_size}; {len(data)} bytes follow the JSON")
    return header, data


def _parse_binary_header(head: bytes) -> InferenceHeader:
    header = parse_header(_load_json(head))
    if header.tensor.binary_size is None:
        raise BadRequest("the input has no binary_data_size; for data in the JSON, leave out the header of its length")
    return header


_parse_cached = lru_cache(maxsize=256)(_parse_binary_header)
"""A client sends the same header with every request, unless it numbers them."""


def _load_json(head: bytes) -> Any:
    try:
        return orjson.loads(head)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the JSON cannot be read: {error}") from None


def _decode_numbers(tensor: InputTensor, data: Any) -> Batch:
    if isinstance(data, memoryview):
        return tensors.decode_binary(tensor, data)
    return tensors.decode_values(tensor, data)


def _decode_files(tensor: InputTensor, data: Any) -> list[bytes]:
    """The pictures of an input of BYTES: in JSON, N texts in base64 or N lists of one."""
    if isinstance(data, memoryview):
        return tensors.decode_binary_strings(tensor, data)
    entries = data if isinstance(data, list) else []
    texts = [entry[0] if isinstance(entry, list) and len(entry) == 1 else entry for entry in entries]
    if len(texts) != tensor.images or not all(isinstance(text, str) for text in texts):
        raise BadRequest(f"the data of {tensors.INPUT_NAME!r} is not a list of {tensor.images} texts in base64")
    return [parse_numbered(text, number, len(texts), decode_base64) for number, text in enumerate(texts, 1)]
