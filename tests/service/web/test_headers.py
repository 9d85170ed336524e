"""service/web/headers.py: caching and security headers, written out here, of every route for browsers."""

from pathlib import Path

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient
from werkzeug.wrappers import Response as AnyResponse

from service.web.headers import cacheable, with_security_headers
from service.web.ui import StaticFiles
from tests.conftest import REPOSITORY, Serve

WEB_UI_POLICY = {
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' blob: data:",
    "connect-src 'self'",
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
}
REPORT_POLICY = {
    "default-src 'none'",
    "style-src 'unsafe-inline'",
    "img-src 'self' data:",
    "form-action 'none'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
}
MAIN_CSS = f"/static/{StaticFiles().digest}/main.css"


NOT_PAGES = [
    ("GET", "/healthz", 200),
    ("HEAD", "/healthz", 200),
    ("GET", "/readyz", 200),
    ("GET", "/model", 200),
    ("GET", "/metrics", 200),
    ("POST", "/predict", 415),
    ("POST", "/feedback", 404),
    ("GET", "/nowhere", 404),
    ("GET", "/static/0/none.css", 404),
    ("GET", "/report/none", 404),
    ("DELETE", "/predict", 405),
    ("TRACE", "/predict", 405),
    ("BREW", "/", 405),
    ("OPTIONS", "/predict", 200),
    ("OPTIONS", "/", 200),
    ("GET", "/report", 308),
]


@pytest.fixture
def client(serve: Serve) -> FlaskClient:
    """A client of the service with the committed version, which has a report."""
    return serve(REPOSITORY / "models" / "digits")


def directives(response: AnyResponse) -> set[str]:
    """The directives of the only Content-Security-Policy; with several, browsers would apply them all."""
    (policy,) = response.headers.getlist("Content-Security-Policy")
    return set(policy.split("; "))


@pytest.mark.parametrize(
    ("method", "path", "policy", "cache_control"),
    [
        ("GET", "/", WEB_UI_POLICY, "no-cache"),
        ("POST", "/", WEB_UI_POLICY, "no-store"),
        ("GET", "/docs", WEB_UI_POLICY, "no-cache"),
        ("GET", "/openapi.json", WEB_UI_POLICY, "no-cache"),
        ("GET", MAIN_CSS, WEB_UI_POLICY, "public, max-age=31536000, immutable"),
        ("GET", "/report/", REPORT_POLICY, "no-cache"),
    ],
)
def test_every_page_has_its_policy_and_caching(
    client: FlaskClient, method: str, path: str, policy: set[str], cache_control: str
) -> None:
    response = client.open(path, method=method)
    assert directives(response) == policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["Cache-Control"] == cache_control


@pytest.mark.parametrize(("method", "path", "status"), NOT_PAGES)
def test_every_other_response_is_neither_sniffed_nor_stored(
    client: FlaskClient, method: str, path: str, status: int
) -> None:
    response = client.open(path, method=method, data=b"x" if method == "POST" else None)
    assert response.status_code == status
    assert response.headers.getlist("X-Content-Type-Options") == ["nosniff"]
    assert response.headers.getlist("Cache-Control") == ["no-store"]


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/report", "/report/"),
        ("/report?x=//a&y=%2F", "/report/?x=//a&y=%2F"),
        ("//report", "/report/"),
        ("//report//plot.png?a", "/report/plot.png?a"),
    ],
)
@pytest.mark.parametrize("host", ["attacker.example", "localhost:1", "[::1]:8000"])
def test_a_redirect_names_no_host(client: FlaskClient, path: str, location: str, host: str) -> None:
    path, _, query = path.partition("?")
    environ = {"PATH_INFO": path, "QUERY_STRING": query, "HTTP_HOST": host}
    response = client.get(environ_overrides=environ)
    assert (response.status_code, response.headers["Location"], response.data) == (308, location, b"")


@pytest.mark.parametrize("path", ["/", "/report", "/nowhere", "/report/"])
def test_no_response_but_the_contract_repeats_the_header_host(client: FlaskClient, path: str) -> None:
    response = client.get(path, headers={"Host": "attacker.example"})
    assert "attacker" not in f"{response.headers}{response.text}"


def test_options_lists_the_allowed_methods(client: FlaskClient) -> None:
    for path, methods in (("/predict", {"OPTIONS", "POST"}), ("/", {"GET", "HEAD", "OPTIONS", "POST"})):
        response = client.options(path)
        assert (response.status_code, response.data) == (200, b"")
        assert set(response.headers["Allow"].split(", ")) == methods


def test_head_has_the_headers_of_get_and_no_body(client: FlaskClient) -> None:
    for path in ("/", "/docs", "/healthz", "/model", "/nowhere", "/report/", MAIN_CSS):
        head, get = client.head(path), client.get(path)
        assert (head.status_code, head.data) == (get.status_code, b"")
        assert head.headers == get.headers


def test_a_response_that_is_not_modified_keeps_its_headers(client: FlaskClient) -> None:
    for path in ("/", "/docs", "/openapi.json", MAIN_CSS, "/report/"):
        first = client.get(path)
        second = client.get(path, headers={"If-None-Match": first.headers["ETag"]})
        assert (second.status_code, second.data) == (304, b"")
        for name in ("Cache-Control", "ETag", "Content-Security-Policy"):
            assert second.headers[name] == first.headers[name]


def test_the_etag_is_the_given_one_or_follows_the_body() -> None:
    with Flask(__name__).test_request_context():
        assert cacheable(Response("a"), etag="sha256").headers["ETag"] == '"sha256"'
        tags = [cacheable(Response(body)).headers["ETag"] for body in ("a", "b", "a")]
        assert tags[0] == tags[2] != tags[1]


def test_a_post_is_never_answered_with_304() -> None:
    with Flask(__name__).test_request_context(method="POST", headers={"If-None-Match": '"x"'}):
        assert cacheable(Response("a"), etag="x").status_code == 200


def test_a_given_policy_replaces_the_default() -> None:
    response = with_security_headers(with_security_headers(Response()), "default-src 'self'")
    assert directives(response) == {"default-src 'self'"}


def test_static_files_under_another_digest_are_not_immutable(client: FlaskClient) -> None:
    response = client.get(f"/static/{'0' * 16}/main.css")
    assert (response.status_code, response.headers["Cache-Control"]) == (200, "no-cache")
    assert response.data == Path(REPOSITORY, "service/web/static/main.css").read_bytes()
