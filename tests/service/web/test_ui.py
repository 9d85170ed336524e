"""service/web/ui.py: the page, its static files, and its form without JavaScript."""

import json
import re
from html import unescape
from io import BytesIO
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from service.imaging import reader
from service.imaging.reader import ExtractedDigit
from service.web.ui import StaticFiles, confidence_label, format_percent
from tests.conftest import Serve, Versions, service_of
from tests.service.payloads import FORM, encode, form, stroke
from tests.service.test_app import samples

PICTURE = encode(stroke())
STATIC_PATH = re.compile(r'(?:href|src)="(/static/[^"]+)"')

CONFIDENCE_CASES = [
    (1.0, "Certain", "over 99.9 %"),
    (0.999, "Certain", "over 99.9 %"),
    (0.99899, "Very sure", "99.8 %"),
    (0.99, "Very sure", "99.0 %"),
    (0.98999, "Sure", "98.9 %"),
    (0.95, "Sure", "95.0 %"),
    (0.94999, "Fairly sure", "94.9 %"),
    (0.4999, "Fairly sure", "49.9 %"),
    (0.1, "Fairly sure", "10.0 %"),
]
"""Confidence, label and percentage; tests/system/test_web_ui.py expects the same of the JavaScript."""


def post(client: FlaskClient, *files: bytes, key: str | None = None) -> TestResponse:
    body = form(*files)
    if key is not None:
        body = f'--edge\r\nContent-Disposition: form-data; name="key"\r\n\r\n{key}\r\n'.encode() + body
    return client.post("/", data=body, content_type=FORM)


def test_the_page_shows_the_version_and_its_accuracy(serve: Serve, versions: Versions, models: Path) -> None:
    versions.put(models, 3, digit=7, metrics={"test_accuracy": 0.98765})
    html = unescape(serve(models).get("/").text)
    assert "Version 3 answers; it reads 98.77 % of MNIST's test images right." in " ".join(html.split())
    assert 'href="/docs"' in html
    assert 'href="/metrics"' in html
    assert "/report/" not in html  # this version has none


@pytest.mark.parametrize(
    "manifest",
    [
        {"metrics": {}},
        {"metrics": {"test_accuracy": None}},
        {"metrics": {"test_accuracy": 0, "test_ece": "none"}},
        {"metrics": {"test_accuracy": 1.0}},
        {"thresholds": {}},
        {"name": None, "recipe": [], "temperature": "warm", "created_at": 7, "dataset": {}},
    ],
)
def test_every_page_works_with_every_accepted_manifest(
    serve: Serve, versions: Versions, models: Path, manifest: dict[str, object]
) -> None:
    versions.put(models, 3, digit=7, **manifest)
    client = serve(models)
    assert client.get("/readyz").get_json()["version"] == "3"
    for path in ("/", "/model", "/metrics", "/docs", "/openapi.json", "/healthz"):
        assert client.get(path).status_code == 200, path
    assert client.get("/report/").status_code == 404
    assert post(client, PICTURE).status_code == 200
    assert "Version 3 answers" in client.get("/").text


def test_the_page_works_without_a_model(serve: Serve, models: Path) -> None:
    response = serve(models).get("/")
    assert response.status_code == 200
    assert "No model is loaded yet." in response.text


def test_the_accuracy_is_not_shown_where_a_key_is_required(serve: Serve, one_version: Path) -> None:
    assert "10.00 %" in serve(one_version).get("/").text
    html = serve(one_version, api_key="secret").get("/").text
    assert "Version 1 answers" in html
    assert "10.00 %" not in html
    assert "secret" not in html


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_have_no_inline_script_or_style_and_no_other_host(client: FlaskClient, path: str) -> None:
    html = client.get(path).text
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=|https?://(?!localhost/)", html)


def test_the_page_passes_the_confidence_labels_to_the_script(client: FlaskClient) -> None:
    html = client.get("/").text
    labels = re.search(r"data-confidence-labels='([^']*)'", html)
    assert labels
    assert json.loads(unescape(labels[1])) == [
        [0.999, "Certain"],
        [0.99, "Very sure"],
        [0.95, "Sure"],
        [0.0, "Fairly sure"],
    ]
    assert 'data-uncertain-label="Not sure"' in html


def test_static_files_of_the_page_are_immutable(client: FlaskClient) -> None:
    paths = STATIC_PATH.findall(client.get("/").text)
    assert [path.rsplit("/", 1)[1] for path in paths] == ["icon.svg", "main.css", "main.js"]
    for path in paths:
        response = client.get(path)
        assert response.status_code == 200
        assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert client.get(path, headers={"If-None-Match": response.headers["ETag"]}).status_code == 304
    assert client.get(paths[2]).content_type == "text/javascript; charset=utf-8"


def test_every_imported_module_is_served_and_no_other_exists(client: FlaskClient) -> None:
    entry_point = STATIC_PATH.findall(client.get("/").text)[2]
    modules, pending = {"main.js", "try-it.js"}, {"main.js", "try-it.js"}
    assert entry_point.replace("main.js", "try-it.js") in client.get("/docs").text
    while pending:
        response = client.get(entry_point.replace("main.js", pending.pop()))
        assert response.status_code == 200
        imported = set(re.findall(r'from "\./([\w-]+\.js)"', response.text))
        pending |= imported - modules
        modules |= imported
    assert modules == {name for name in StaticFiles().files if name.endswith(".js")}


def test_a_static_file_under_another_digest_is_revalidated(client: FlaskClient) -> None:
    response = client.get("/static/0123456789abcdef/main.css")
    assert (response.status_code, response.headers["Cache-Control"]) == (200, "no-cache")


def test_the_digest_changes_with_names_and_contents(tmp_path: Path) -> None:
    digests = set()
    (tmp_path / "a.css").write_text("a {}")
    digests.add(StaticFiles(tmp_path).digest)
    (tmp_path / "a.css").write_text("b {}")
    digests.add(StaticFiles(tmp_path).digest)
    (tmp_path / "a.css").rename(tmp_path / "b.css")
    digests.add(StaticFiles(tmp_path).digest)
    assert len(digests) == 3


@pytest.mark.parametrize("name", ["nothing.css", "../app.py", "%2e%2e/app.py", "__init__.py"])
def test_an_unknown_static_file_is_404(client: FlaskClient, name: str) -> None:
    response = client.get(f"/static/{StaticFiles().digest}/{name}")
    assert response.status_code == 404
    assert list(response.get_json()) == ["error"]


def test_the_form_shows_the_predictions_of_each_picture(serve: Serve, versions: Versions, models: Path) -> None:
    versions.put(models, 1, digit=7)
    client = serve(models)
    response = post(client, PICTURE, PICTURE)
    assert response.status_code == 200
    assert response.content_type == "text/html; charset=utf-8"
    text = " ".join(re.sub("<[^>]+>", " ", response.text).split())
    assert re.search(r"Picture 1 7 7: (certain, over 99|very sure, 99)\.\d %", text)
    assert "Picture 2 7" in text
    assert response.text.count('src="data:image/png;base64,') == 2
    assert samples(client, "digits_predictions_total") == ['digits_predictions_total{digit="7"} 2.0']


def test_the_form_shows_each_line_of_writing(
    serve: Serve, versions: Versions, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader finds two lines on every picture, of which the second may have lost a digit."""
    versions.put(models, 1, digit=7)
    client = serve(models)
    digit = ExtractedDigit(stroke(), (0, 0, 28, 28))
    found = [digit, digit, digit._replace(line=2, is_incomplete=True)]
    monkeypatch.setattr(reader, "read_picture", lambda *_: found)
    one, two = (re.findall(r"<h2>(.*?)</h2>", post(client, *[PICTURE] * count).text, re.DOTALL) for count in (1, 2))
    headings = [" ".join(re.sub("<[^>]+>", " ", heading).split()) for heading in one + two]
    assert headings == [
        *("Line 1 77", "Line 2 7"),
        *("Picture 1, line 1 77", "Picture 1, line 2 7", "Picture 2, line 1 77", "Picture 2, line 2 7"),
    ]
    text = post(client, PICTURE).text
    assert text.count("a digit at the edge of the picture may be missing") == 1
    assert re.findall(r"7: (not sure)", text) == ["not sure"]


def test_the_form_shows_errors(serve: Serve, one_version: Path) -> None:
    client = serve(one_version, max_body_bytes=4 * len(PICTURE))
    blank = encode(stroke()[:, :1].repeat(28, axis=1) * 0)
    for files, status, message in (
        ((blank,), 422, "no digit"),
        ((b"seven",), 415, "picture"),
        ((PICTURE * 4,), 413, f"{4 * len(PICTURE)} are allowed"),
        ((), 400, "0 file parts"),
    ):
        response = post(client, *files)
        assert response.status_code == status
        assert response.content_type == "text/html; charset=utf-8"
        notice = re.search(r'role="alert">([^<]*)<', response.text)
        assert notice
        assert message in unescape(notice[1])
    reasons = {line.split('"')[1] for line in samples(client, "digits_rejected_total")}
    assert reasons == {"no_digit", "unsupported_media_type", "payload_too_large", "bad_request"}


def test_the_form_has_no_content_coding(serve: Serve, one_version: Path) -> None:
    response = serve(one_version).post("/", data=b"x", content_type=FORM, headers={"Content-Encoding": "gzip"})
    assert response.status_code == 415
    assert "the content encoding is" in response.text


def test_the_form_checks_the_declared_size(serve: Serve, one_version: Path) -> None:
    client = serve(one_version, max_body_bytes=1000)
    response = client.post("/", content_type=FORM, environ_overrides={"CONTENT_LENGTH": "5000"})
    assert response.status_code == 413
    assert "the body has 5000 bytes; 1000 are allowed" in response.text


def test_the_form_checks_the_size_of_a_chunked_body(serve: Serve, one_version: Path) -> None:
    body = form(PICTURE)
    for limit, status in ((len(body), 200), (len(body) - 1, 413)):
        response = serve(one_version, max_body_bytes=limit).post(
            "/",
            input_stream=BytesIO(body),
            content_type=FORM,
            environ_overrides={"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True},
        )
        assert (response.status_code, response.content_type) == (status, "text/html; charset=utf-8")
    assert f"{limit} are allowed" in response.text


def test_a_long_key_is_wrong(serve: Serve, one_version: Path) -> None:
    response = post(serve(one_version, api_key="secret"), PICTURE, key="x" * 600_000)
    assert (response.status_code, response.content_type) == (401, "text/html; charset=utf-8")


def test_the_form_accepts_a_key_beyond_ascii(serve: Serve, one_version: Path) -> None:
    client = serve(one_version, api_key="schlüssel")
    response = post(client, PICTURE, key="wrong")
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert post(client, PICTURE, key="schlüssel").status_code == 200
    response = post(client, PICTURE, key="schlüssel,schlüssel")
    assert (response.status_code, "with the right key" in response.text) == (401, True)


def test_the_form_escapes_what_the_client_sent(client: FlaskClient) -> None:
    response = client.post("/", data=b"x", content_type="<b>bold</b>")
    assert response.status_code == 415
    assert "bold" in response.text
    assert "<b>" not in response.text


def test_the_form_counts_towards_the_limit_of_requests_in_flight(serve: Serve, one_version: Path) -> None:
    client = serve(one_version, max_in_flight=1)
    with service_of(client).admission.limiter:
        response = post(client, PICTURE)
        assert (response.status_code, response.headers["Retry-After"]) == (429, "1")
    assert post(client, PICTURE).status_code == 200


@pytest.mark.parametrize(("confidence", "label", "percent"), CONFIDENCE_CASES)
def test_confidence_label_and_percent(confidence: float, label: str, percent: str) -> None:
    assert confidence_label(confidence, uncertain=False) == label
    assert confidence_label(confidence, uncertain=True) == "Not sure"
    assert format_percent(confidence) == percent
