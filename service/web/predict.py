"""The routes of predict requests under a WSGI server. Under gunicorn, service/server/asgi.py handles them."""

from flask import Blueprint, Response, request

from service.prediction import body_parser
from service.prediction.admission import Admission
from service.prediction.predictor import Predictor
from service.prediction.protocol import RequestHead
from service.protocols import ROUTES, Endpoint
from service.responses import HttpResponse, dump_json
from service.settings import Settings


def blueprint(settings: Settings, admission: Admission, predictor: Predictor) -> Blueprint:
    """POST of every route of `protocols.ROUTES`."""
    routes = Blueprint("predict", __name__)

    def predict(version: str | None = None) -> Response:
        rule = request.url_rule.rule if request.url_rule else ""
        endpoint = Endpoint(rule, ROUTES[rule], version)
        head = _request_head()
        admission.check(head.authorization, head.content_length)
        with admission.limiter, admission.slow_limiter:
            body = request.get_data(cache=False)
            body_parser.check_body_size(len(body), settings, at_least=True)
            return flask_response(predictor.respond(endpoint.parse_request(head, request.query_string), body))

    for route in ROUTES:
        routes.add_url_rule(route, view_func=predict, methods=["POST"])
    return routes


def flask_response(response: HttpResponse) -> Response:
    """The same response for Flask."""
    return Response(response.body, response.status, response.headers, content_type=response.content_type)


def json_response(document: object) -> Response:
    """A response with a document as JSON."""
    return flask_response(HttpResponse(200, dump_json(document)))


def _request_head() -> RequestHead:
    """The head of the current request; WSGI decodes headers as Latin-1, and any server may pass a wrong length."""
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in request.headers]
    known = [header for header in headers if header[0] != b"content-length"]
    return RequestHead.from_headers(known)._replace(content_length=request.content_length or 0)
