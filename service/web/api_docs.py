"""GET /openapi.json, the description of the API as OpenAPI, and GET /docs, the same as a page.

The page works without JavaScript: "try it" opens the web page with the predictions then.
"""

from typing import Any

import orjson
from flask import Blueprint, Response, render_template

from service.responses import JSON
from service.settings import Settings
from service.web.address import service_url
from service.web.headers import HTML, cacheable, with_security_headers
from service.web.openapi.document import build_document

MAX_EXAMPLE_CHARACTERS = 40
MAX_EXAMPLE_ITEMS = 10
DESCRIPTIONS = {"string": "the bytes of a file", "object": "fields"}


def blueprint(settings: Settings) -> Blueprint:
    """GET /openapi.json and GET /docs."""
    routes = Blueprint("api_docs", __name__)
    routes.app_template_filter("example_json")(shorten_json)
    routes.app_template_filter("describe_content")(describe_content)

    @routes.get("/openapi.json")
    def openapi() -> Response:
        body = orjson.dumps(
            build_document(settings, service_url()), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        )
        return with_security_headers(cacheable(Response(body, mimetype=JSON)))

    @routes.get("/docs")
    def docs() -> Response:
        html = render_template("docs.html", openapi=build_document(settings, service_url()))
        return with_security_headers(cacheable(Response(html, mimetype=HTML)))

    return routes


def shorten_json(value: object) -> str:
    """An example as JSON for people: long texts and lists end with "…"."""
    return orjson.dumps(_shorten(value), option=orjson.OPT_INDENT_2).decode()


def describe_content(content: dict[str, Any]) -> str:
    """What a body of a media type is: the description of its schema, else what its kind is."""
    schema = content["schema"]
    if "$ref" in schema:
        return f"JSON: {schema['$ref'].rpartition('/')[2]}"
    return str(schema.get("description", DESCRIPTIONS.get(schema.get("type"), "JSON")))


def _shorten(value: object) -> object:
    match value:
        case str() if len(value) > MAX_EXAMPLE_CHARACTERS:
            return f"{value[:MAX_EXAMPLE_CHARACTERS]}…"
        case list() if len(value) > MAX_EXAMPLE_ITEMS:
            return [*map(_shorten, value[:2]), f"… {len(value)} in all"]
        case list():
            return [_shorten(item) for item in value]
        case dict():
            return {key: _shorten(item) for key, item in value.items()}
        case _:
            return value
