"""service/web/prefix.py: the service under the path of a proxy, and which proxies are believed."""

import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from service.app import create_app
from service.settings import SettingError, Settings
from service.web.prefix import check_prefix, is_trusted, remove_prefix
from tests.conftest import REPOSITORY, Serve
from tests.service.payloads import FORM, encode, form, stroke

MODELS = REPOSITORY / "models" / "digits"  # with a report
PICTURE = encode(stroke())
FORWARDED = {"X-Forwarded-Prefix": "/digits"}
LINKS = re.compile(r'(?:href|src|action)="(/[^"]*)"')


@pytest.fixture
def client(serve: Serve) -> FlaskClient:
    return serve(MODELS, prefix="/digits")


@pytest.mark.parametrize(
    ("path", "prefix", "rest"),
    [
        ("/digits/predict", "/digits", "/predict"),
        ("/digits/", "/digits", "/"),
        ("/digits", "/digits", "/"),
        ("/predict", "/digits", "/predict"),
        ("/digitsx/predict", "/digits", "/digitsx/predict"),
        ("/digits/digits/predict", "/digits", "/digits/predict"),
        ("/a/digits/predict", "/digits", "/a/digits/predict"),
        ("/a/b/c", "/a/b", "/c"),
        ("/predict", "", "/predict"),
        ("", "", ""),
    ],
)
def test_removes_a_prefix_of_whole_segments_once(path: str, prefix: str, rest: str) -> None:
    assert remove_prefix(path, prefix) == rest


@pytest.mark.parametrize("prefix", ["/digits", ""])
def test_every_route_is_answered_with_the_prefix_and_without(client: FlaskClient, prefix: str) -> None:
    for path in ("/", "/docs", "/openapi.json", "/report/", "/model", "/healthz", "/readyz", "/metrics"):
        assert client.get(prefix + path).status_code == 200, path
    assert client.post(f"{prefix}/predict", data=PICTURE, content_type="image/png").status_code == 200
    assert client.post(f"{prefix}/", data=form(PICTURE), content_type=FORM).status_code == 200


def test_every_link_of_the_pages_has_the_prefix_and_leads_somewhere(client: FlaskClient) -> None:
    for path in ("/digits/", "/digits", "/", "/digits/docs"):
        links = LINKS.findall(client.get(path).text)
        assert len(links) >= 5
        for link in links:
            assert link.startswith("/digits/")
            assert client.get(link).status_code == 200, link


def test_a_redirect_keeps_the_prefix(client: FlaskClient) -> None:
    for path in ("/digits/report", "/report"):
        response = client.get(path)
        assert (response.status_code, response.headers["Location"]) == (308, "/digits/report/")


def test_errors_name_the_route_and_the_address_with_the_prefix(client: FlaskClient) -> None:
    error = client.get("/digits/predict").get_json()["error"]
    assert error.endswith("curl -F file=@digit.png http://localhost/digits/predict")
    error = client.get("/digits/predict/").get_json()["error"]
    assert error == "there is no route /predict/; did you mean /predict?"


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_a_trusted_proxy_names_the_prefix(serve: Serve, peer: str) -> None:
    client = serve(MODELS)
    for path in ("/", "/digits/"):
        response = client.get(path, headers=FORWARDED, environ_overrides={"REMOTE_ADDR": peer})
        assert response.status_code == 200
        assert all(link.startswith("/digits/") for link in LINKS.findall(response.text))


@pytest.mark.parametrize("peer", ["10.0.0.7", "", "unix:", "::ffff:10.0.0.7", "fd00::1"])
def test_the_header_of_any_other_client_is_ignored(serve: Serve, peer: str) -> None:
    client = serve(MODELS)
    response = client.get("/", headers=FORWARDED, environ_overrides={"REMOTE_ADDR": peer})
    assert "/digits/" not in str(LINKS.findall(response.text))
    response = client.get("/digits/", headers=FORWARDED, environ_overrides={"REMOTE_ADDR": peer})
    assert response.status_code == 404


@pytest.mark.parametrize(
    "value", ["", "/", "digits", "//attacker.example", "/a, /b", '/"><script>', "/..", "/é", "/" + "x" * 200]
)
def test_a_header_that_is_no_prefix_is_ignored(client: FlaskClient, value: str) -> None:
    links = LINKS.findall(client.get("/", headers={"X-Forwarded-Prefix": value}).text)
    assert all(link.startswith("/digits/") for link in links), "that of the setting stays"


def test_the_header_replaces_the_setting(client: FlaskClient) -> None:
    links = LINKS.findall(client.get("/", headers={"X-Forwarded-Prefix": "/a/b/"}).text)
    assert all(link.startswith("/a/b/") for link in links)


@pytest.mark.parametrize(
    ("address", "proxies", "trusted"),
    [
        ("10.1.2.3", "10.0.0.0/8", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("::ffff:10.1.2.3", "fd00::/8, 10.1.2.3", True),
        ("fd00::1", "10.0.0.0/8 fd00::/8", True),
        ("10.1.2.3", "", False),
        ("10.1.2.3", "*", True),
        ("", "*", True),
        ("", "0.0.0.0/0", False),
    ],
)
def test_trusts_the_networks_of_the_setting(address: str, proxies: str, *, trusted: bool) -> None:
    assert is_trusted(address, proxies) is trusted


@pytest.mark.parametrize("prefix", ["/predict", "/report", "/report/x", "/static", "/static/a/b", "/openapi.json"])
def test_a_prefix_that_is_a_route_prevents_the_start(one_version: Path, prefix: str) -> None:
    with pytest.raises(SettingError, match=rf"DIGITS_PREFIX is '{prefix}'; allowed: a path with which no route begins"):
        create_app(Settings(model_dir=one_version, prefix=prefix))


def test_a_prefix_that_shares_letters_with_a_route_is_allowed() -> None:
    for prefix in ("", "/predictor", "/reports", "/v1", "/v1/model", "/statics/a"):
        check_prefix(prefix, ["/", "/predict", "/report/<path:name>", "/static/<digest>/<name>", "/v2/models/digits"])
