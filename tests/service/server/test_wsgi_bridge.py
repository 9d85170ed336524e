"""The WSGI environment of an ASGI request, held against werkzeug's reading of it, and the call of Flask."""

from io import BytesIO

import pytest
from flask import Flask, Response, request
from werkzeug.wrappers import Request

from service.errors import PayloadTooLarge
from service.server.asgi_types import Scope
from service.server.wsgi_bridge import RejectedBody, build_environ, call_wsgi

SCOPE: Scope = {
    "type": "http",
    "http_version": "1.1",
    "method": "POST",
    "scheme": "https",
    "path": "/grün",
    "query_string": b"a=1&b=%2F",
    "server": ("127.0.0.1", 8443),
    "client": ("10.0.0.7", 1234),
    "headers": [
        (b"host", b"digits:8443"),
        (b"content-type", b"image/png"),
        (b"content-length", b"3"),
        (b"x-forwarded-for", b"1.1.1.1"),
        (b"x-forwarded-for", b"2.2.2.2"),
        (b"x-latin", b"caf\xe9"),
    ],
}


def test_werkzeug_reads_the_request_that_asgi_described() -> None:
    read = Request(build_environ(SCOPE, b"abc"))
    assert (read.method, read.path, read.url) == ("POST", "/grün", "https://digits:8443/grün?a=1&b=/")
    assert read.args.to_dict() == {"a": "1", "b": "/"}
    assert (read.content_type, read.content_length, read.get_data()) == ("image/png", 3, b"abc")
    assert read.headers["X-Forwarded-For"] == "1.1.1.1,2.2.2.2"
    assert read.headers["X-Latin"] == "café"
    assert (read.remote_addr, read.environ["SERVER_PROTOCOL"]) == ("10.0.0.7", "HTTP/1.1")
    assert read.environ["wsgi.input_terminated"] is True


def test_two_headers_authorization_become_none_of_them() -> None:
    keys = [(b"authorization", b"Bearer a"), (b"authorization", b"Bearer a")]
    environ = build_environ({**SCOPE, "headers": [*SCOPE["headers"], *keys]}, b"")
    assert environ["HTTP_AUTHORIZATION"] == "Bearer a,Bearer a"


def test_a_request_without_addresses_has_empty_ones() -> None:
    environ = build_environ({**SCOPE, "server": None, "client": None}, b"")
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"], environ["REMOTE_ADDR"]) == ("", "0", "")


@pytest.fixture
def app() -> Flask:
    made = Flask("test")

    @made.post("/grün")
    def echo() -> Response:
        response = Response(iter([request.get_data(), b"!"]), 201, headers={"X-Latin": "é"})
        response.call_on_close(lambda: closed.append(True))
        return response

    closed: list[bool] = []
    made.extensions["closed"] = closed
    return made


def test_flask_is_called_and_its_response_closed(app: Flask) -> None:
    status, headers, body = call_wsgi(app, build_environ(SCOPE, b"abc"))
    assert (status, body, app.extensions["closed"]) == (201, b"abc!", [True])
    assert (b"X-Latin", b"\xe9") in headers


def test_a_rejected_body_raises_its_error_when_it_is_read(app: Flask) -> None:
    environ = build_environ(SCOPE, b"")
    environ["wsgi.input"] = RejectedBody(PayloadTooLarge("too large"))
    app.register_error_handler(PayloadTooLarge, lambda error: (str(error), error.status))
    status, _, body = call_wsgi(app, environ)
    assert (status, body) == (413, b"too large")
    with pytest.raises(PayloadTooLarge):
        BytesIO().write(RejectedBody(PayloadTooLarge("again")).read(1) or b"")
