"""Outputs of the Open Inference Protocol: which a client wants, and their encoding in JSON or as binary data."""

import struct
import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from gzip import compress
from math import prod
from typing import Any, NamedTuple

import numpy as np
import orjson

from service.errors import BadRequest
from service.inference.predictions import Predictions
from service.prediction.json_pixels import describe_value
from service.prediction.protocol import MODEL_NAME, PredictResult
from service.protocols.open_inference_tensors import parse_parameters
from service.responses import HttpResponse, dump_json
from service.types import Probabilities

OUTPUTS: dict[str, tuple[str, tuple[int, ...]]] = {
    "probabilities": ("FP32", (10,)),
    "digit": ("INT64", ()),
    "confidence": ("FP32", ()),
    "uncertain": ("BOOL", ()),
}
"""Name -> datatype and shape for each image. The first is the output of the SavedModel."""
ALL_JSON = tuple((name, False, 0) for name in OUTPUTS)
ALL_BINARY = tuple((name, True, 0) for name in OUTPUTS)
"""All outputs, as `parse_outputs` returns them."""
CLASSIFIED_OUTPUT = "probabilities"
CLASSES = 10
BINARY = "application/octet-stream"
INFERENCE_HEADER_LENGTH = "Inference-Header-Content-Length"
MIN_COMPRESSED_BYTES = 1024
"""A smaller response is compressed only for a client that names one coding: libraries name all that they know."""
COMPRESSION_LEVEL = 1

_DTYPES = {"probabilities": "<f4", "digit": "<i8", "confidence": "<f4", "uncertain": "?"}


class Output(NamedTuple):
    """An output that a client wants. `top`: how many classes the classification extension returns; 0: the tensor."""

    name: str
    is_binary: bool
    top: int


def parse_outputs(document: Mapping[str, Any]) -> tuple[tuple[str, bool, int], ...]:
    """Parse `outputs` of a request; all of them, in the order of OUTPUTS, if it has none.

    Returns:
        The fields of an `Output` for each, as tuples, which JSON can represent.

    Raises:
        BadRequest: an output or one of its parameters does not exist.
    """
    by_default = parse_parameters(document).get("binary_data_output", False) is True
    entries = document.get("outputs")
    if not entries and entries in (None, []):
        return ALL_BINARY if by_default else ALL_JSON
    if not isinstance(entries, list) or len(entries) > len(OUTPUTS):
        raise BadRequest(f"outputs is {describe_value(entries)}; expected: a list of at most {len(OUTPUTS)} objects")
    return tuple(_parse_output(entry, by_default=by_default) for entry in entries)


def _parse_output(entry: object, *, by_default: bool) -> tuple[str, bool, int]:
    name = entry.get("name") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(name, str) or name not in OUTPUTS:
        raise BadRequest(f"the output is {describe_value(name)!r}; the model has {', '.join(OUTPUTS)}")
    parameters = parse_parameters(entry)
    top = parameters.get("classification", 0)
    if type(top) is not int or top < 0:
        raise BadRequest(f"classification is {describe_value(top)}; expected: a number of classes")
    if top and name != CLASSIFIED_OUTPUT:
        raise BadRequest(f"the output {name!r} has no classes; classification is for {CLASSIFIED_OUTPUT!r}")
    return (name, parameters.get("binary_data", by_default) is True, min(top, CLASSES))  # as Triton: no error


def encode_response(result: PredictResult) -> HttpResponse:
    """Encode the outputs that the envelope names."""
    envelope = result.envelope or {}
    if envelope.get("outputs") == ALL_BINARY and "id" not in envelope:
        return _compress(_encode_all_binary(result.version, result.predictions), result.request.head.accept_encoding)
    outputs = [Output(*output) for output in envelope.get("outputs", ALL_JSON)]
    document: dict[str, Any] = {"model_name": MODEL_NAME, "model_version": result.version}
    if "id" in envelope:
        document["id"] = envelope["id"]
    entries, binaries = [], []
    for output in outputs:
        entry, binary = _encode_output(output, result.predictions)
        entries.append(entry)
        if binary is not None:
            binaries.append(binary)
    document["outputs"] = entries
    return _compress(_join(document, binaries), result.request.head.accept_encoding)


def _encode_all_binary(version: str, predictions: Predictions) -> HttpResponse:
    """What Triton's client wants by default: its JSON depends on the version and the number of images only."""
    probabilities, digits, confidence, uncertain = (
        np.asarray(values, _DTYPES[name]).tobytes() for name, values in _columns(predictions).items()
    )
    head, header = _describe_all_binary(version, len(predictions.digits))
    return HttpResponse(200, b"".join([head, probabilities, digits, confidence, uncertain]), (header,), BINARY)


@lru_cache(maxsize=64)
def _describe_all_binary(version: str, count: int) -> tuple[bytes, tuple[str, str]]:
    """The JSON of a response with all outputs in binary, and the header with its length."""
    entries = [
        {"name": name, "datatype": datatype, "shape": [count, *sides]}
        | {"parameters": {"binary_data_size": count * prod(sides) * np.dtype(_DTYPES[name]).itemsize}}
        for name, (datatype, sides) in OUTPUTS.items()
    ]
    head = orjson.dumps({"model_name": MODEL_NAME, "model_version": version, "outputs": entries})
    return head, (INFERENCE_HEADER_LENGTH, str(len(head)))


def _encode_output(output: Output, predictions: Predictions) -> tuple[dict[str, Any], bytes | None]:
    """The entry of an output, and its binary data if it is binary."""
    count = len(predictions.digits)
    datatype, sides = OUTPUTS[output.name]
    entry: dict[str, Any] = {"name": output.name, "datatype": datatype, "shape": [count, *sides]}
    values: Any = _columns(predictions)[output.name]
    if output.top:
        values = _classify(predictions.probabilities, output.top)
        entry |= {"datatype": "BYTES", "shape": [count, output.top]}
    if not output.is_binary:
        return entry | {"data": values.reshape(-1) if isinstance(values, np.ndarray) else values}, None
    if output.top:
        binary = b"".join(struct.pack("<I", len(text)) + text.encode() for text in values)
    else:
        binary = np.asarray(values, _DTYPES[output.name]).tobytes()
    return entry | {"parameters": {"binary_data_size": len(binary)}}, binary


def _columns(predictions: Predictions) -> dict[str, Any]:
    return {
        "probabilities": predictions.probabilities,
        "digit": predictions.digits,
        "confidence": predictions.confidence,
        "uncertain": predictions.uncertain,
    }


def _classify(probabilities: Probabilities, top: int) -> list[str]:
    """The `top` most probable digits of each image as Triton writes them: "probability:index:label"."""
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
    rows = zip(probabilities.tolist(), order.tolist(), strict=True)
    return [f"{row[digit]:.6f}:{digit}:{digit}" for row, digits in rows for digit in digits]


def _join(document: dict[str, Any], binaries: Sequence[bytes]) -> HttpResponse:
    if not binaries:
        return HttpResponse(200, dump_json(document))
    head = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    return HttpResponse(200, b"".join([head, *binaries]), ((INFERENCE_HEADER_LENGTH, str(len(head))),), BINARY)


def _compress(response: HttpResponse, accept_encoding: bytes) -> HttpResponse:
    if not accept_encoding:
        return response
    codings = [coding.strip().partition(b";") for coding in accept_encoding.lower().split(b",")]
    wanted = [name.strip() for name, _, weight in codings if weight.replace(b" ", b"") not in (b"q=0", b"q=0.0")]
    if len(response.body) < MIN_COMPRESSED_BYTES and len(wanted) != 1:
        return response
    if b"gzip" in wanted:
        body, coding = compress(response.body, COMPRESSION_LEVEL, mtime=0), "gzip"
    elif b"deflate" in wanted:
        body, coding = zlib.compress(response.body, COMPRESSION_LEVEL), "deflate"
    else:
        return response
    headers = (*response.headers, ("Content-Encoding", coding), ("Vary", "Accept-Encoding"))
    return HttpResponse(200, body, headers, response.content_type)
