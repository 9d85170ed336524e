"""GET /openapi.json, the contract for machines, and GET /docs, the same for people, without scripts."""

import orjson
from flask import Blueprint, Response, render_template

from service.responses import JSON
from service.settings import Settings
from service.web.headers import HTML, cacheable, with_security_headers
from service.web.openapi import build_document


def blueprint(settings: Settings) -> Blueprint:
    """GET /openapi.json and GET /docs."""
    routes = Blueprint("docs", __name__)
    contract = build_document(settings)

    @routes.get("/openapi.json")
    def openapi() -> Response:
        return with_security_headers(
            cacheable(Response(orjson.dumps(contract, option=orjson.OPT_INDENT_2), mimetype=JSON))
        )

    @routes.get("/docs")
    def docs() -> Response:
        return with_security_headers(
            cacheable(Response(render_template("docs.html", contract=contract), mimetype=HTML))
        )

    return routes
