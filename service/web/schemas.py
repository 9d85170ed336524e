"""The forms of JSON that the HTTP API takes and gives, as JSON Schemas (2020-12) for service/openapi.py."""

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]

BYTES = {"type": "string", "contentMediaType": "application/octet-stream"}
DIGIT = {"type": "integer", "minimum": 0, "maximum": 9}
SHARE = {"type": "number", "minimum": 0, "maximum": 1}
BASE64_PNG = {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/png"}
PIXELS = {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 255}, "minItems": 784, "maxItems": 784}
ROWS = {
    "type": "array",
    "items": {
        "type": "array",
        "items": {"type": "integer", "minimum": 0, "maximum": 255},
        "minItems": 28,
        "maxItems": 28,
    },
    "minItems": 28,
    "maxItems": 28,
}
IMAGE = {"oneOf": [{"type": "string", "contentEncoding": "base64"}, PIXELS, ROWS]}
IMAGES = {"type": "array", "items": IMAGE, "minItems": 1}


def component_schemas() -> Json:
    """Every schema, by its name."""
    prediction = {
        "digit": DIGIT,
        "confidence": SHARE,
        "uncertain": {"type": "boolean"},
        "probabilities": {"type": "array", "items": SHARE, "minItems": 10, "maxItems": 10},
        "picture": {"type": "integer", "minimum": 1, "description": "with split: its picture's number"},
        "box": {
            "type": "array",
            "items": {"type": "integer", "minimum": 0},
            "minItems": 4,
            "maxItems": 4,
            "description": "with split: left, top, right, bottom in pixels of the upload",
        },
        "image": BASE64_PNG | {"description": "with show: the 28x28 that the network saw"},
    }
    answer = {
        "model": {"const": "digits"},
        "version": {"type": "string"},
        "numbers": {
            "type": "array",
            "items": {"type": "string"},
            "description": "with split: each picture's row as text",
        },
        "predictions": {"type": "array", "items": _object(prediction, []), "minItems": 1},
    }
    feedback = {"image": IMAGE, "digit": DIGIT, "answered": DIGIT, "version": {"type": "string", "maxLength": 20}}
    model = {"version": {"type": "string"}, "manifest": {"type": ["object", "null"]}, "runtime": {"type": "string"}}
    return {
        "Images": {"oneOf": [_object({key: IMAGES}, [key]) for key in ("images", "instances")]},
        "Answer": _object(answer, ["model", "version", "predictions"]),
        "Feedback": _object(feedback, ["image", "digit"]),
        "Model": _object(model, list(model)),
        "Status": _object({"status": {"type": "string"}}, ["status"]),
        "Ready": _object({"status": {"type": "string"}, "version": {"type": "string"}}, ["status", "version"]),
        "Error": _object({"error": {"type": "string", "description": "one sentence"}}, ["error"]),
        "Contract": {"type": "object"},
    }


def _object(properties: Mapping[str, Any], required: list[str]) -> Json:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
