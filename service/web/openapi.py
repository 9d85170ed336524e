"""The HTTP API as an OpenAPI 3.1 document; tests compare it with the routes and their responses."""

from collections.abc import Iterable
from typing import Any

from service import responses
from service.imaging.reader import NORMALISE_MODES
from service.prediction.options import FIELDS
from service.settings import Settings
from service.web import schemas

Json = dict[str, Any]

ERROR_DESCRIPTIONS = {
    "400": "malformed request",
    "401": "API key missing or wrong, or two Authorization headers",
    "403": "sent by a web page of another origin",
    "404": "not found",
    "408": "request body not received in time",
    "413": "body, picture or batch too large",
    "415": "unsupported media type",
    "422": "no digit found on the picture",
    "429": "too many requests in flight; retry after the seconds in Retry-After",
    "503": "no model loaded, the service is stopping, or out of memory",
    "507": "feedback storage full",
}

_RETRY_AFTER: Json = {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}
ERROR_HEADERS: dict[str, Json] = {
    "401": {"headers": {"WWW-Authenticate": {"schema": {"type": "string"}}}},
    "429": {"headers": _RETRY_AFTER},
    "503": {"headers": _RETRY_AFTER},
}
"""Headers of error responses; of 503 only if a request can soon be sent again."""


def build_document(settings: Settings) -> Json:
    """The OpenAPI document, with the limits and optional routes of these settings."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Digits", "version": "1", "description": "Reads handwritten digits on pictures."},
        "paths": {
            "/predict": {"post": _secured(_predict(settings), settings)},
            **({"/feedback": {"post": _secured(_feedback(), settings)}} if settings.feedback_dir else {}),
            "/model": {"get": _secured(_get("Manifest and runtime of the version in use", "Model", "503"), settings)},
            "/healthz": {"get": _get("Liveness: 200 while the process runs", "Status")},
            "/readyz": {"get": _get("Readiness: 200 while a model is loaded and warm", "Readiness", "503")},
            "/metrics": {"get": _text("Metrics of all workers in the Prometheus text format", "text/plain")},
            "/": {"get": _text("The web UI: draw digits or choose pictures", "text/html"), "post": _form()},
            "/report/": {"get": _secured(_text("Report of the version in use", "text/html", "404", "503"), settings)},
            "/report/{name}": {
                "get": _secured(_text("A file of the report", "*/*", "404", "503"), settings)
                | {"parameters": [_parameter("path", "name", "file name", {"type": "string"}, required=True)]}
            },
            "/docs": {"get": _text("This API description as a page", "text/html")},
            "/openapi.json": {"get": _get("This API description as OpenAPI", "OpenApiDocument")},
        },
        "components": {
            "schemas": schemas.component_schemas(),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _predict(settings: Settings) -> Json:
    return {
        "summary": "Predict the digit on each picture, in order",
        "description": (
            f"Limits: {settings.max_body_bytes} bytes and {settings.max_pictures} pictures a request, "
            f"{settings.max_pixels} pixels a picture, of a JPEG as it is decoded at a reduced scale. Formats of a "
            "picture: PNG, JPEG, GIF, BMP, WebP, TIFF, AVIF. If one of several pictures is rejected, the request "
            "is, and the error names the picture."
        ),
        "x-codeSamples": [{"lang": "Shell", "source": "curl -F file=@seven.png http://127.0.0.1:8000/predict"}],
        "parameters": [
            _parameter(
                "query",
                "fields",
                f"fields of each prediction, separated by commas, of {', '.join(FIELDS)}; all by default",
                {"type": "string"},
            ),
            _parameter(
                "query",
                "normalise",
                "which images are normalised; without it, pictures as with auto, and images of numbers are not",
                {"enum": list(NORMALISE_MODES)},
            ),
            _parameter("query", "split", "predict each digit of each line of writing", {"const": "digits"}),
            _parameter("query", "show", "add the image that the network was given", {"const": "image"}),
        ],
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": {"type": "object", "additionalProperties": schemas.BYTES}},
                "image/*": {"schema": schemas.BYTES},
                "application/json": {"schema": {"$ref": "#/components/schemas/PredictRequest"}},
                "application/octet-stream": {"schema": schemas.BYTES},
                "application/x-npy": {"schema": schemas.BYTES},
            },
        },
        "responses": _responses("PredictResponse", *_predict_errors(settings)),
    }


def _form() -> Json:
    html = {"text/html": {"schema": {"type": "string"}}}
    return {
        "summary": "The result as a page: the form of the web UI without JavaScript",
        "requestBody": {
            "content": {"multipart/form-data": {"schema": {"type": "object", "additionalProperties": schemas.BYTES}}}
        },
        "responses": {
            "200": {"description": "the page with the predictions", "content": html},
            "default": {"description": "the page with the error that /predict would return", "content": html},
        },
    }


def _feedback() -> Json:
    return {
        "summary": "Report the digit that a picture shows",
        "description": "Only as application/json, which a web page of another origin cannot send.",
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Feedback"}}},
        },
        "responses": _responses("Status", "400", "403", "413", "415", "422", "503", "507", success="201"),
    }


def _predict_errors(settings: Settings) -> list[str]:
    statuses = ["400", "408", "413", "415", "422", "429", "503"]
    return sorted([*statuses, "401"]) if settings.api_key else statuses


def _parameter(location: str, name: str, description: str, schema: Json, *, required: bool = False) -> Json:
    return {"name": name, "in": location, "description": description, "schema": schema, "required": required}


def _get(summary: str, schema: str, *errors: str) -> Json:
    return {"summary": summary, "responses": _responses(schema, *errors)}


def _text(summary: str, media_type: str, *errors: str) -> Json:
    success = {"200": {"description": "success", "content": {media_type: {"schema": {"type": "string"}}}}}
    return {"summary": summary, "responses": success | _error_responses(errors)}


def _secured(operation: Json, settings: Settings) -> Json:
    if not settings.api_key:
        return operation
    with_401 = dict(sorted((operation["responses"] | _error_responses(["401"])).items()))
    return operation | {"security": [{"key": []}], "responses": with_401}


def _responses(schema: str, *errors: str, success: str = "200") -> Json:
    return {success: {"description": "success", "content": _json(schema)}} | _error_responses(errors)


def _error_responses(statuses: Iterable[str]) -> Json:
    return {
        status: {"description": ERROR_DESCRIPTIONS[status], "content": _json("Error")} | ERROR_HEADERS.get(status, {})
        for status in statuses
    }


def _json(schema: str) -> Json:
    return {responses.JSON: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
