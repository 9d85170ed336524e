"""GET /openapi.json, the contract for machines, and GET /docs, the same for people, without scripts."""

import orjson
from flask import Blueprint, Response, render_template

from service.responses import JSON
from service.settings import Settings
from service.web.headers import HTML, guarded, kept
from service.web.openapi import document


def routes(settings: Settings) -> Blueprint:
    """GET /openapi.json and GET /docs."""
    blueprint = Blueprint("docs", __name__)
    contract = document(settings)

    @blueprint.get("/openapi.json")
    def openapi() -> Response:
        return guarded(kept(Response(orjson.dumps(contract, option=orjson.OPT_INDENT_2), mimetype=JSON)))

    @blueprint.get("/docs")
    def docs() -> Response:
        return guarded(kept(Response(render_template("docs.html", contract=contract), mimetype=HTML)))

    return blueprint
