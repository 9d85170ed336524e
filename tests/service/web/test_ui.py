import re
from html import unescape
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from service.web.headers import PAGE_POLICY
from service.web.ui import StaticFiles, confidence_label, format_percent
from tests.conftest import Serve, Versions, service_of
from tests.service.payloads import encode, form, stroke
from tests.service.test_app import samples

PICTURE = encode(stroke())
ASSET = re.compile(r'(?:href|src)="(/static/[^"]+)"')


def post(client: FlaskClient, *files: bytes, key: str | None = None) -> TestResponse:
    body = form(*files)
    if key is not None:
        body = f'--edge\r\nContent-Disposition: form-data; name="key"\r\n\r\n{key}\r\n'.encode() + body
    return client.post("/", data=body, content_type="multipart/form-data; boundary=edge")


def test_the_page_says_which_version_answers_and_how_well(serve: Serve, versions: Versions, models: Path) -> None:
    versions.put(models, 3, digit=7, metrics={"test_accuracy": 0.98765})
    html = unescape(serve(models).get("/").text)
    assert "Version 3 answers; it reads 98.77 % of MNIST's test images right." in " ".join(html.split())
    assert 'href="/docs"' in html
    assert 'href="/metrics"' in html
    assert "/report/" not in html  # this version has none


def test_without_a_model_the_page_is_there_and_says_so(serve: Serve, models: Path) -> None:
    response = serve(models).get("/")
    assert response.status_code == 200
    assert "No model is loaded yet." in response.text


def test_the_manifests_figures_are_not_told_where_a_key_is_asked_for(serve: Serve, one_version: Path) -> None:
    assert "10.00 %" in serve(one_version).get("/").text
    html = serve(one_version, api_key="secret").get("/").text
    assert "Version 1 answers" in html
    assert "10.00 %" not in html
    assert "secret" not in html


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_are_asked_for_again_and_bounded_in_what_they_may_do(client: FlaskClient, path: str) -> None:
    response = client.get(path)
    assert response.headers["Content-Security-Policy"] == PAGE_POLICY
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["Cache-Control"] == "no-cache"
    assert client.get(path, headers={"If-None-Match": response.headers["ETag"]}).status_code == 304
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=|https?://(?!127\.0\.0\.1)", response.text)


def test_all_that_the_page_loads_is_kept_for_ever(client: FlaskClient) -> None:
    paths = ASSET.findall(client.get("/").text)
    assert [path.rsplit("/", 1)[1] for path in paths] == ["icon.svg", "main.css", "main.js"]
    for path in paths:
        response = client.get(path)
        assert response.status_code == 200
        assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert client.get(path, headers={"If-None-Match": response.headers["ETag"]}).status_code == 304
    assert client.get(paths[2]).content_type == "text/javascript; charset=utf-8"


def test_every_module_that_is_imported_is_served(client: FlaskClient) -> None:
    page = ASSET.findall(client.get("/").text)[2]
    modules, imported = {"main.js"}, {"main.js"}
    while imported:
        response = client.get(page.replace("main.js", imported.pop()))
        assert response.status_code == 200
        found = set(re.findall(r'from "\./([\w-]+\.js)"', response.text))
        imported |= found - modules
        modules |= found
    assert modules == {name for name in StaticFiles().files if name.endswith(".js")}


def test_a_file_by_another_digest_is_served_but_not_kept(client: FlaskClient) -> None:
    response = client.get("/static/0123456789abcdef/main.css")
    assert (response.status_code, response.headers["Cache-Control"]) == (200, "no-cache")


def test_the_digest_follows_every_file(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text("a {}")
    before = StaticFiles(tmp_path).digest
    (tmp_path / "a.css").write_text("b {}")
    assert StaticFiles(tmp_path).digest != before


@pytest.mark.parametrize("name", ["nothing.css", "../app.py", "%2e%2e/app.py", "__init__.py"])
def test_nothing_else_is_served(client: FlaskClient, name: str) -> None:
    response = client.get(f"/static/{StaticFiles().digest}/{name}")
    assert response.status_code == 404
    assert list(response.get_json()) == ["error"]


def test_the_form_is_answered_for_people(serve: Serve, versions: Versions, models: Path) -> None:
    versions.put(models, 1, digit=7)
    client = serve(models)
    response = post(client, PICTURE, PICTURE)
    assert response.status_code == 200
    assert response.content_type == "text/html; charset=utf-8"
    assert response.headers["Content-Security-Policy"] == PAGE_POLICY
    assert response.headers["Cache-Control"] == "no-store"
    text = " ".join(re.sub("<[^>]+>", " ", response.text).split())
    assert re.search(r"Picture 1 7 7: (certain, over 99|very sure, 99)\.\d %", text)
    assert "Picture 2 7" in text
    assert response.text.count('src="data:image/png;base64,') == 2
    assert samples(client, "digits_predictions_total") == ['digits_predictions_total{digit="7"} 2.0']


def test_the_form_says_what_is_wrong(serve: Serve, one_version: Path) -> None:
    client = serve(one_version, max_body_bytes=4 * len(PICTURE))
    blank = encode(stroke()[:, :1].repeat(28, axis=1) * 0)
    for files, status, sentence in (
        ((blank,), 422, "no digit to read"),
        ((b"seven",), 415, "picture"),
        ((PICTURE * 4,), 413, f"{4 * len(PICTURE)} are allowed"),
        ((), 400, "the form has 0 file parts"),
    ):
        response = post(client, *files)
        assert response.status_code == status
        assert response.content_type == "text/html; charset=utf-8"
        notice = re.search(r'role="alert">([^<]*)<', response.text)
        assert notice
        assert sentence in unescape(notice[1])
    reasons = {line.split('"')[1] for line in samples(client, "digits_rejected_total")}
    assert reasons == {"no_digit", "unsupported_media_type", "payload_too_large", "bad_request"}


def test_the_form_asks_for_the_key_and_escapes_what_it_shows(serve: Serve, one_version: Path) -> None:
    client = serve(one_version, api_key="schlüssel")
    for key in (None, "", "wrong"):
        response = post(client, PICTURE, key=key)
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"
    assert post(client, PICTURE, key="schlüssel").status_code == 200
    response = client.post("/", data=b"x", content_type="<b>bold</b>")
    assert "<b>" not in response.text


def test_the_form_is_busy_with_the_rest(serve: Serve, one_version: Path) -> None:
    client = serve(one_version, max_in_flight=1)
    with service_of(client).admission.limiter:
        response = post(client, PICTURE)
        assert (response.status_code, response.headers["Retry-After"]) == (429, "1")
    assert post(client, PICTURE).status_code == 200


def test_confidence_in_words_and_per_cent() -> None:
    shown = [confidence_label(share, uncertain=False) for share in (1.0, 0.999, 0.99, 0.95, 0.1)]
    assert shown == ["Certain", "Certain", "Very sure", "Sure", "Fairly sure"]
    assert confidence_label(1.0, uncertain=True) == "Not sure"
    assert [format_percent(share) for share in (1.0, 0.999, 0.99899, 0.5, 0.0004)] == [
        "over 99.9 %",
        "over 99.9 %",
        "99.8 %",
        "50.0 %",
        "0.0 %",
    ]
