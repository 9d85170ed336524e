"""The OpenAPI document as a whole; tests compare it with the routes and their responses."""

from typing import Any

from service.settings import Settings
from service.web.openapi import native, open_inference, operators, tensorflow_serving
from service.web.openapi.schemas import component_schemas

Json = dict[str, Any]

TAGS = (
    ("Predictions", "Read handwritten digits on pictures"),
    ("Open Inference Protocol", "Version 2 of KServe, Triton and MLServer, with the binary tensor extension"),
    ("TensorFlow Serving", "Its REST API"),
    ("Operation", "Health, metrics and the model in use"),
    ("Pages", "For people"),
)


def build_document(settings: Settings, url: str) -> Json:
    """The OpenAPI document, with the limits and optional routes of these settings.

    Args:
        settings: those of the service.
        url: the address of the service, without a slash at the end: "https://example.org/digits".
    """
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Digits",
            "version": "1",
            "description": "Reads handwritten digits on pictures.",
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": url}],
        "tags": [{"name": name, "description": description} for name, description in TAGS],
        "paths": native.paths(settings, url)
        | open_inference.paths(settings)
        | tensorflow_serving.paths(settings)
        | operators.paths(settings),
        "components": {
            "schemas": component_schemas(),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "DIGITS_API_KEY"}},
        },
    }
