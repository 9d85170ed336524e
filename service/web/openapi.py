"""The contract of the HTTP API as an OpenAPI 3.1 document; a test holds it against the routes and their answers."""

from typing import Any

from service import responses
from service.imaging.reader import NORMALISE_MODES
from service.prediction.options import FIELDS
from service.settings import Settings
from service.web import schemas

Json = dict[str, Any]

ERROR_DESCRIPTIONS = {
    "400": "malformed",
    "401": "no key, or a wrong one",
    "404": "not there",
    "408": "the body takes too long to arrive",
    "413": "too large",
    "415": "a type that is not read",
    "422": "no digit to read",
    "429": "too busy; Retry-After says for how long",
    "503": "no model is loaded, or the service is stopping",
    "507": "no room for more",
}


def build_document(settings: Settings) -> Json:
    """The whole of it, with the limits of these settings."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Digits", "version": "1", "description": "Reads handwritten digits on pictures."},
        "paths": {
            "/predict": {"post": _secured(_predict(settings), settings)},
            **({"/feedback": {"post": _secured(_feedback(), settings)}} if settings.feedback_dir else {}),
            "/model": {
                "get": _secured(_get("The version in use: its manifest and its runtime", "Model", "503"), settings)
            },
            "/healthz": {"get": _get("Whether the process lives", "Status")},
            "/readyz": {"get": _get("Whether a model is loaded and warm", "Ready", "503")},
            "/metrics": {"get": _html("Metrics of all workers together, for Prometheus", "text/plain")},
            "/": {
                "get": _html("The page: draw or drop a picture, see the answer"),
                "post": _form(),
            },
            "/report/": {
                "get": _secured(_html("The report of the version in use", "text/html", "404", "503"), settings)
            },
            "/report/{name}": {
                "get": _secured(_html("A file of the report", "*/*", "404", "503"), settings)
                | {"parameters": [_parameter("path", "name", "the file's name", {"type": "string"}, required=True)]}
            },
            "/docs": {"get": _html("This contract, for people")},
            "/openapi.json": {"get": _get("This contract", "Contract")},
        },
        "components": {
            "schemas": schemas.component_schemas(),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _predict(settings: Settings) -> Json:
    return {
        "summary": "Pictures in, one prediction each out, in order",
        "description": (
            f"At most {settings.max_body_bytes} bytes and {settings.max_pictures} pictures, each of at most "
            f"{settings.max_pixels} pixels. A picture may be PNG, JPEG, GIF, BMP, WebP or TIFF. One bad picture of "
            "many fails the request, and the sentence says which."
        ),
        "x-codeSamples": [{"lang": "Shell", "source": "curl -F file=@seven.png http://127.0.0.1:8000/predict"}],
        "parameters": [
            _parameter("query", "fields", f"only these of {', '.join(FIELDS)}, with commas", {"type": "string"}),
            _parameter(
                "query",
                "normalise",
                "whether images of 28x28 are normalised too",
                {"enum": list(NORMALISE_MODES), "default": NORMALISE_MODES[0]},
            ),
            _parameter("query", "split", "every digit of a row on its own", {"const": "digits"}),
            _parameter("query", "show", "adds the image that the network saw", {"const": "image"}),
        ],
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": {"type": "object", "additionalProperties": schemas.BYTES}},
                "image/*": {"schema": schemas.BYTES},
                "application/json": {"schema": {"$ref": "#/components/schemas/Images"}},
                "application/octet-stream": {"schema": schemas.BYTES},
                "application/x-npy": {"schema": schemas.BYTES},
            },
        },
        "responses": _responses("Answer", *_predict_errors(settings)),
    }


def _form() -> Json:
    html = {"text/html": {"schema": {"type": "string"}}}
    return {
        "summary": "The page's form, without scripts: an answer for people",
        "requestBody": {
            "content": {"multipart/form-data": {"schema": {"type": "object", "additionalProperties": schemas.BYTES}}}
        },
        "responses": {
            "200": {"description": "the page with the answer", "content": html},
            "default": {"description": "the page with the sentence that /predict would answer", "content": html},
        },
    }


def _feedback() -> Json:
    return {
        "summary": "Say which digit a picture shows",
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Feedback"}}},
        },
        "responses": _responses("Status", "400", "413", "415", "422", "507", success="201"),
    }


def _predict_errors(settings: Settings) -> list[str]:
    statuses = ["400", "408", "413", "415", "422", "429", "503"]
    return sorted([*statuses, "401"]) if settings.api_key else statuses


def _parameter(place: str, name: str, meaning: str, schema: Json, *, required: bool = False) -> Json:
    return {"name": name, "in": place, "description": meaning, "schema": schema, "required": required}


def _get(summary: str, schema: str, *refusals: str) -> Json:
    return {"summary": summary, "responses": _responses(schema, *refusals)}


def _html(summary: str, kind: str = "text/html", *refusals: str) -> Json:
    answers = {"200": {"description": "found", "content": {kind: {"schema": {"type": "string"}}}}}
    return {"summary": summary, "responses": answers | _error_responses(refusals)}


def _secured(operation: Json, settings: Settings) -> Json:
    if not settings.api_key:
        return operation
    responses = dict(sorted((operation["responses"] | _error_responses(["401"])).items()))
    return operation | {"security": [{"key": []}], "responses": responses}


def _responses(schema: str, *refusals: str, success: str = "200") -> Json:
    return {success: {"description": "answered", "content": _json(schema)}} | _error_responses(refusals)


def _error_responses(statuses: tuple[str, ...] | list[str]) -> Json:
    return {status: {"description": ERROR_DESCRIPTIONS[status], "content": _json("Error")} for status in statuses}


def _json(schema: str) -> Json:
    return {responses.JSON: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
