"""POST /predict under a WSGI server. Under gunicorn, service/server/asgi.py handles this route."""

from flask import Blueprint, Response, request

from service.prediction import body_parser
from service.prediction.admission import Admission
from service.prediction.predictor import Predictor
from service.responses import JSON
from service.settings import Settings


def blueprint(settings: Settings, admission: Admission, predictor: Predictor) -> Blueprint:
    """POST /predict."""
    routes = Blueprint("predict", __name__)

    @routes.post("/predict")
    def predict() -> Response:
        authorization = request.headers.get("Authorization", "").encode("latin-1")  # as WSGI decoded it
        admission.check(authorization, request.content_length or 0)
        with admission.limiter, admission.slow_limiter:
            body = request.get_data(cache=False)
            body_parser.check_body_size(len(body), settings, at_least=True)
            encoded = predictor.predict_json(body, request.headers.get("Content-Type", ""), request.query_string)
        return Response(encoded, mimetype=JSON)

    return routes
