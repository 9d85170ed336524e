"""JSON Schemas (2020-12) of the bodies of the service's own routes; protocol_schemas.py has those of the protocols."""

from collections.abc import Mapping
from typing import Any

from service.web.openapi.protocol_schemas import protocol_schemas

Json = dict[str, Any]

BYTES = {"type": "string", "contentMediaType": "application/octet-stream"}
DIGIT = {"type": "integer", "minimum": 0, "maximum": 9}
PROBABILITY = {"type": "number", "minimum": 0, "maximum": 1}
BASE64_PNG = {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/png"}
BASE64_PICTURE = {"type": "string", "format": "picture", "description": "base64 of a picture, or a data URL"}
"""`format` is a word of this document: test tools generate pictures for it."""
FORM = {
    "type": "object",
    "properties": {"file": {"type": "string", "contentMediaType": "image/*"}},
    "required": ["file"],
    "additionalProperties": {"type": "string", "contentMediaType": "image/*"},
    "description": "any number of files with any names",
}
URL_ENCODED = {
    "type": "object",
    "properties": {"image": BASE64_PICTURE},
    "required": ["image"],
    "additionalProperties": False,
}


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
        "digits": {
            "type": "integer",
            "minimum": 2,
            "description": "without split=digits: how many digits the picture shows, if several",
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
        "image": REF_IMAGE,
        "digit": DIGIT | {"description": "the digit that the image shows"},
        "predicted": DIGIT | {"description": "the digit that the service predicted"},
        "version": {"type": "string", "maxLength": 20, "description": "the version that predicted it"},
    }
    model = {"version": {"type": "string"}, "manifest": {"type": ["object", "null"]}, "runtime": {"type": "string"}}
    own = {
        "Image": {"anyOf": [BASE64_PICTURE, {"$ref": "#/components/schemas/Pixels"}]},
        "Pixels": PIXELS,
        "PredictRequest": _predict_request(),
        "PredictResponse": _object(predict_response, ["model", "version", "predictions"]),
        "Feedback": _object(feedback, ["image", "digit"]),
        "Model": _object(model, list(model)),
        "Status": _object({"status": {"type": "string"}}, ["status"]),
        "Readiness": _object({"status": {"type": "string"}, "version": {"type": "string"}}, ["status", "version"]),
        "Error": _object({"error": {"type": "string", "description": "one sentence"}}, ["error"]),
        "OpenApiDocument": {"type": "object"},
    }
    return own | protocol_schemas()


def _predict_request() -> Json:
    entry = {"anyOf": [REF_IMAGE, _object({"b64": BASE64_PICTURE}, ["b64"])]}
    images = {"anyOf": [entry, {"type": "array", "items": entry, "minItems": 1}]}
    instances = {"instances": images, "signature_name": {"type": "string"}}
    return {
        "anyOf": [
            _object({"images": images}, ["images"]),
            _object({"image": images}, ["image"]),
            _object(instances, ["instances"]),
        ],
        "description": "one image or several. Without the object around them, they are read too",
    }


def _array(items: Json, count: int) -> Json:
    return {"type": "array", "items": items, "minItems": count, "maxItems": count}


PIXEL = {"type": "number", "minimum": 0, "maximum": 255}
PIXELS = {
    "anyOf": [
        _array(_array(PIXEL, 28), 28),
        _array(PIXEL, 784),
        _array(_array(_array(PIXEL, 1), 28), 28),
        _array(_array(_array(PIXEL, 28), 28), 1),
    ],
    "description": "28x28, 784, 28x28x1 or 1x28x28 numbers from 0 to 255, light ink on dark ground; or from 0 to 1, if "
    "there are fractions",
}
REF_IMAGE = {"$ref": "#/components/schemas/Image"}


def _object(properties: Mapping[str, Any], required: list[str]) -> Json:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
