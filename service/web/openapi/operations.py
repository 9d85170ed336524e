"""Builders of the operations of an OpenAPI document."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from service.responses import JSON
from service.settings import Settings

Json = dict[str, Any]

ERROR_DESCRIPTIONS = {
    "400": "malformed request",
    "401": "API key missing or wrong, or two Authorization headers",
    "403": "sent by a web page of another origin",
    "404": "not found",
    "408": "request body not received in time",
    "413": "body, picture or batch too large",
    "415": "unsupported media type or content coding",
    "422": "no digit found on the picture",
    "429": "too many requests in flight; retry after the seconds in Retry-After",
    "500": "the model returned no probabilities for this picture, or the service has a defect",
    "503": "no model loaded, the service is stopping, or out of memory",
    "507": "feedback storage full",
}
PREDICT_ERRORS = ("400", "408", "413", "415", "422", "429", "503")
"""Statuses of every predict request that fails, without those of the API key and of versions."""

_RETRY_AFTER: Json = {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}
ERROR_HEADERS: dict[str, Json] = {
    "401": {"headers": {"WWW-Authenticate": {"schema": {"type": "string"}}}},
    "429": {"headers": _RETRY_AFTER},
    "503": {"headers": _RETRY_AFTER},
}
"""Headers of error responses."""


class Operation(NamedTuple):
    """What every operation has. `name`: its operationId, which generated clients take for the name of a function."""

    name: str
    tag: str
    summary: str

    def build(self, responses: Mapping[str, Any], **more: Any) -> Json:
        """The operation, with these responses and further keys of it."""
        head = {"operationId": self.name, "tags": [self.tag], "summary": self.summary}
        return head | more | {"responses": dict(sorted(responses.items()))}


def require_key(operation: Json, settings: Settings) -> Json:
    """The operation with the API key and 401, if the settings have a key."""
    if not settings.api_key:
        return operation
    responses = dict(sorted((operation["responses"] | describe_errors(["401"])).items()))
    return operation | {"security": [{"key": []}], "responses": responses}


def parameter(location: str, name: str, description: str, schema: Json, example: object = None) -> Json:
    """A parameter in the path, which is required, or in the query or a header, which is not."""
    built: Json = {"name": name, "in": location, "description": description, "schema": schema}
    built |= {"required": True} if location == "path" else {}
    return built if example is None else built | {"example": example}


def describe_success(schema: str, examples: Mapping[str, object], *, status: str = "200") -> Json:
    """A successful response in JSON, with examples by name."""
    return {status: {"description": "success", "content": json_content(schema, examples)}}


def describe_text(media_type: str) -> Json:
    """A successful response in text of a media type, which has no schema."""
    return {"200": {"description": "success", "content": {media_type: {"schema": {"type": "string"}}}}}


def describe_errors(statuses: Iterable[str]) -> Json:
    """Error responses."""
    return {
        status: {"description": ERROR_DESCRIPTIONS[status], "content": json_content("Error")}
        | ERROR_HEADERS.get(status, {})
        for status in statuses
    }


def json_content(schema: str, examples: Mapping[str, object] | None = None) -> Json:
    """The content of a body in JSON that fits a schema of the components."""
    content: Json = {"schema": {"$ref": f"#/components/schemas/{schema}"}}
    return {JSON: content | name_examples(examples or {})}


def name_examples(examples: Mapping[str, object]) -> Json:
    """The key `examples` of a media type; none without an example."""
    return {"examples": {name: {"value": value} for name, value in examples.items()}} if examples else {}


def for_versions(path: str, operation: Json, version_path: str) -> Json:
    """The same operation for the current version and for the one that the path names.

    Its operationId gets `Version` at the end there.
    """
    version = parameter("path", "version", "the version in use; another one is 404", {"type": "string"})
    with_404 = dict(sorted((operation["responses"] | describe_errors(["404"])).items()))
    of_version = operation | {
        "operationId": f"{operation['operationId']}Version",
        "parameters": [version, *operation.get("parameters", [])],
        "responses": with_404,
    }
    method = "post" if "requestBody" in operation else "get"
    return {path: {method: operation}, version_path: {method: of_version}}
