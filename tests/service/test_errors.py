"""Tests the status and the metrics label of every RequestError."""

import re
from http import HTTPStatus

import pytest

from service import errors
from service.errors import RequestError

EXPECTED = {
    "RequestError": (400, "bad_request"),
    "BadRequest": (400, "bad_request"),
    "Unauthorised": (401, "unauthorised"),
    "Forbidden": (403, "forbidden"),
    "NotFound": (404, "not_found"),
    "RequestTimeout": (408, "request_timeout"),
    "PayloadTooLarge": (413, "payload_too_large"),
    "UnsupportedMediaType": (415, "unsupported_media_type"),
    "NoDigitFound": (422, "no_digit"),
    "ParserTimeout": (422, "parser_timeout"),
    "ParserCrashed": (422, "parser_crashed"),
    "TooManyRequests": (429, "too_many_requests"),
    "InvalidPrediction": (500, "invalid_prediction"),
    "ModelNotReady": (503, "model_not_ready"),
    "OutOfMemory": (503, "out_of_memory"),
    "InsufficientStorage": (507, "insufficient_storage"),
}
CLASSES = {
    name: item for name, item in vars(errors).items() if isinstance(item, type) and issubclass(item, RequestError)
}


def test_every_error_has_its_status_and_reason() -> None:
    assert {name: (error.status, error.reason) for name, error in CLASSES.items()} == EXPECTED


@pytest.mark.parametrize("name", CLASSES)
def test_an_error_is_a_request_error_with_a_message(name: str) -> None:
    error = CLASSES[name]("what is wrong")
    assert isinstance(error, RequestError)
    assert str(error) == "what is wrong"
    assert 400 <= HTTPStatus(error.status) < 600
    assert re.fullmatch(r"[a-z_]+", error.reason)


def test_out_of_memory_has_a_sentence_of_its_own() -> None:
    assert str(errors.OutOfMemory()) == "the service has no memory left for this request; send it again"
