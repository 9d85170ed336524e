"""JSON Schemas (2020-12) of the Open Inference Protocol V2 and of TensorFlow Serving, as far as they are used."""

from collections.abc import Mapping
from typing import Any

from service.protocols.open_inference_outputs import OUTPUTS
from service.protocols.open_inference_tensors import BYTES, DATATYPES

Json = dict[str, Any]

_TEXT: Json = {"type": "string"}
_SHAPE: Json = {"type": "array", "items": {"type": "integer"}, "minItems": 1}
_PROBABILITIES: Json = {
    "type": "array",
    "items": {"type": "number", "minimum": 0, "maximum": 1},
    "minItems": 10,
    "maxItems": 10,
}
_IMAGE: Json = {"$ref": "#/components/schemas/Image"}


def protocol_schemas() -> Json:
    """All schemas, by name."""
    return _open_inference() | _tensorflow_serving()


def _open_inference() -> Json:
    names = list(OUTPUTS)
    tensor = {"name": _TEXT, "datatype": _TEXT, "shape": _SHAPE}
    metadata = {
        "name": {"const": "digits"},
        "versions": _list(_TEXT),
        "platform": _TEXT,
        "inputs": _list(_object(tensor)),
        "outputs": _list(_object(tensor)),
    }
    infer_input = {
        "name": {"const": "images"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1, "maxItems": 4},
        "datatype": {"enum": [*DATATYPES, BYTES]},
        "data": {"type": "array", "items": {}, "minItems": 1},
        "parameters": {
            "type": "object",
            "properties": {
                "scale": {
                    "type": "number",
                    "exclusiveMinimum": 0,
                    "maximum": 255,
                    "description": "factor for every value; 255 for values from 0 to 1",
                },
                "binary_data_size": {"type": "integer", "minimum": 0},
            },
        },
    }
    infer_output = {
        "name": {"enum": names},
        "parameters": {
            "type": "object",
            "properties": {
                "binary_data": {"type": "boolean"},
                "classification": {"type": "integer", "minimum": 0, "maximum": 10},
            },
        },
    }
    infer_request = {
        "id": {"type": "string", "maxLength": 1000},
        "parameters": {"type": "object", "properties": {"binary_data_output": {"type": "boolean"}}},
        "inputs": _list(_object(infer_input, ["name", "shape", "datatype"])) | {"minItems": 1, "maxItems": 1},
        "outputs": _list(_object(infer_output, ["name"])) | {"maxItems": len(names)},
    }
    infer_response = {
        "model_name": {"const": "digits"},
        "model_version": _TEXT,
        "id": _TEXT,
        "outputs": _list(
            _object(
                tensor | {"data": {"type": "array"}, "parameters": {"type": "object"}}, ["name", "datatype", "shape"]
            )
        ),
    }
    entry = {"name": _TEXT, "version": _TEXT, "state": _TEXT, "reason": _TEXT}
    return {
        "ServerMetadata": _object({"name": _TEXT, "version": _TEXT, "extensions": _list(_TEXT)}),
        "ServerLive": _object({"live": {"type": "boolean"}}),
        "ServerReady": _object({"ready": {"type": "boolean"}}),
        "ModelReady": _object({"name": _TEXT, "ready": {"type": "boolean"}}),
        "ModelMetadata": _object(metadata),
        "ModelConfig": _object({"name": _TEXT, "platform": _TEXT, "max_batch_size": {"type": "integer"}}),
        "ModelStats": _object({"model_stats": _list({"type": "object"})}),
        "RepositoryIndex": _list(_object(entry, ["name", "state", "reason"])),
        "InferRequest": _object(infer_request, ["inputs"]),
        "InferResponse": _object(infer_response, ["model_name", "model_version", "outputs"]),
    }


def _tensorflow_serving() -> Json:
    base64 = _object({"b64": {"type": "string", "format": "picture"}})
    image = {"anyOf": [_IMAGE, base64]}
    named = _object({"images": image})
    rows = {"anyOf": [image, _list({"anyOf": [image, named]}) | {"minItems": 1}]}
    images = {"anyOf": [image, _list(image) | {"minItems": 1}]}
    columns = {"anyOf": [images, _object({"images": images})]}
    signature = {"enum": ["serving_default", ""], "description": "the only signature"}
    status = {"version": _TEXT, "state": _TEXT, "status": {"type": "object"}}
    pair = {"type": "array", "prefixItems": [_TEXT, {"type": "number"}], "minItems": 2, "maxItems": 2}
    return {
        "TensorFlowPredictRequest": {
            "anyOf": [
                _object({"signature_name": signature, "instances": rows, "inputs": False}, ["instances"]),
                _object({"signature_name": signature, "inputs": columns, "instances": False}, ["inputs"]),
            ]
        },
        "TensorFlowPredictResponse": {
            "anyOf": [_object({"predictions": _list(_PROBABILITIES)}), _object({"outputs": _list(_PROBABILITIES)})]
        },
        "TensorFlowClassifyRequest": _object(
            {"signature_name": signature, "examples": _list(named) | {"minItems": 1}}, ["examples"]
        ),
        "TensorFlowClassifyResponse": _object({"results": _list(_list(pair))}),
        "TensorFlowModelStatus": _object({"model_version_status": _list(_object(status))}),
        "TensorFlowModelMetadata": _object({"model_spec": {"type": "object"}, "metadata": {"type": "object"}}),
    }


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


def _object(properties: Mapping[str, Any], required: list[str] | None = None) -> Json:
    """An object that may have further keys; all properties are required unless a list says which."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties) if required is None else required,
    }
