"""GET /openapi.json, the description of the API as OpenAPI, and GET /docs, the same as a page without JavaScript."""

import orjson
from flask import Blueprint, Response, render_template

from service.responses import JSON
from service.settings import Settings
from service.web.address import service_url
from service.web.headers import HTML, cacheable, with_security_headers
from service.web.openapi.document import build_document


def blueprint(settings: Settings) -> Blueprint:
    """GET /openapi.json and GET /docs."""
    routes = Blueprint("api_docs", __name__)

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
