"""JSON Schemas (2020-12) of the request and response bodies, for service/web/openapi.py."""

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]

BYTES = {"type": "string", "contentMediaType": "application/octet-stream"}
DIGIT = {"type": "integer", "minimum": 0, "maximum": 9}
PROBABILITY = {"type": "number", "minimum": 0, "maximum": 1}
BASE64_PNG = {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/png"}
PIXEL = {"type": "integer", "minimum": 0, "maximum": 255}
PIXELS = {"type": "array", "items": PIXEL, "minItems": 784, "maxItems": 784}
ROW = {"type": "array", "items": PIXEL, "minItems": 28, "maxItems": 28}
ROWS = {"type": "array", "items": ROW, "minItems": 28, "maxItems": 28}
IMAGE = {"oneOf": [{"type": "string", "contentEncoding": "base64"}, PIXELS, ROWS]}
IMAGES = {"type": "array", "items": IMAGE, "minItems": 1}


def component_schemas() -> Json:
    """All schemas, by name."""
    prediction = {
        "digit": DIGIT,
        "confidence": PROBABILITY,
        "uncertain": {
            "type": "boolean",
            "description": "whether the confidence is below the threshold of the version, or the line of writing may "
            "have lost a digit at the border of the picture",
        },
        "probabilities": {"type": "array", "items": PROBABILITY, "minItems": 10, "maxItems": 10},
        "picture": {"type": "integer", "minimum": 1, "description": "with split=digits: the number of the picture"},
        "line": {
            "type": "integer",
            "minimum": 1,
            "description": "with split=digits: the number of the line of writing on its picture, from the top",
        },
        "box": {
            "type": "array",
            "items": {"type": "integer", "minimum": 0},
            "minItems": 4,
            "maxItems": 4,
            "description": "with split=digits: left, top, right, bottom in pixels of the picture",
        },
        "image": BASE64_PNG | {"description": "with show=image: the 28x28 image that the network was given"},
    }
    predict_response = {
        "model": {"const": "digits"},
        "version": {"type": "string"},
        "numbers": {
            "type": "array",
            "items": {"type": "string"},
            "description": "with split=digits: the digits of each line of writing from left to right, as one string; "
            "the lines of a picture from top to bottom, one picture after the other",
        },
        "predictions": {"type": "array", "items": _object(prediction, []), "minItems": 1},
    }
    feedback = {
        "image": IMAGE | {"description": "a picture in base64, or 28x28 or 784 integers from 0 to 255"},
        "digit": DIGIT | {"description": "the digit that the image shows"},
        "predicted": DIGIT | {"description": "the digit that the service predicted"},
        "version": {"type": "string", "maxLength": 20, "description": "the version that predicted it"},
    }
    model = {"version": {"type": "string"}, "manifest": {"type": ["object", "null"]}, "runtime": {"type": "string"}}
    return {
        "PredictRequest": {"oneOf": [_object({key: IMAGES}, [key]) for key in ("images", "instances")]},
        "PredictResponse": _object(predict_response, ["model", "version", "predictions"]),
        "Feedback": _object(feedback, ["image", "digit"]),
        "Model": _object(model, list(model)),
        "Status": _object({"status": {"type": "string"}}, ["status"]),
        "Readiness": _object({"status": {"type": "string"}, "version": {"type": "string"}}, ["status", "version"]),
        "Error": _object({"error": {"type": "string", "description": "one sentence"}}, ["error"]),
        "OpenApiDocument": {"type": "object"},
    }


def _object(properties: Mapping[str, Any], required: list[str]) -> Json:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
