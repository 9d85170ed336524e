import hashlib
import json
from base64 import b64encode
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from service.prediction.auth import basic_to_bearer
from service.web.headers import REPORT_POLICY
from tests.conftest import REPOSITORY, Serve, Versions

FILES = {"index.html": b"<h1>It learnt</h1>", "plot.png": b"\x89PNG", "recipe.toml": b"seed = 1", "notes.md": b"# n"}


@pytest.fixture
def reported(versions: Versions, models: Path) -> Path:
    """A model directory whose version 1 has a report, and a file in it that the manifest does not list."""
    version = versions.put(models, 1, digit=1)
    (version / "report").mkdir()
    manifest = json.loads((version / "manifest.json").read_text())
    for name, content in FILES.items():
        (version / "report" / name).write_bytes(content)
        manifest["files"][f"report/{name}"] = hashlib.sha256(content).hexdigest()
    (version / "manifest.json").write_text(json.dumps(manifest))
    (version / "report" / "secret.txt").write_text("not listed")
    return models


def test_the_report_is_served_as_it_was_published(serve: Serve, reported: Path) -> None:
    client = serve(reported)
    assert 'href="/report/"' in client.get("/").text
    kinds = {"index.html": "text/html; charset=utf-8", "plot.png": "image/png"}
    for name, content in FILES.items():
        response = client.get(f"/report/{name}")
        assert (response.status_code, response.data) == (200, content)
        assert response.content_type == kinds.get(name, "text/plain; charset=utf-8")
        assert response.headers["Content-Security-Policy"] == REPORT_POLICY
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert client.get(f"/report/{name}", headers={"If-None-Match": response.headers["ETag"]}).status_code == 304
    assert client.get("/report/").data == FILES["index.html"]
    assert client.get("/report").headers["Location"].endswith("/report/")


@pytest.mark.parametrize(
    "name", ["secret.txt", "../manifest.json", "..%2fmanifest.json", "%2e%2e/model.tflite", "/etc/passwd", "x", "%00"]
)
def test_nothing_that_the_manifest_does_not_list_as_report(serve: Serve, reported: Path, name: str) -> None:
    response = serve(reported).get(f"/report/{name}")
    assert response.status_code in {404, 308}
    assert b"not listed" not in response.data


def test_a_report_that_goes_away_with_its_version_is_404(serve: Serve, reported: Path) -> None:
    client = serve(reported)
    (reported / "1").rename(reported / ".retired-1")
    assert client.get("/report/").status_code == 404


def test_without_a_model_or_a_report(serve: Serve, models: Path, client: FlaskClient) -> None:
    assert serve(models).get("/report/").status_code == 503
    assert client.get("/report/").status_code == 404


def test_a_browser_may_send_the_key_as_a_password(serve: Serve, reported: Path) -> None:
    client = serve(reported, api_key="schlüssel")
    refused = client.get("/report/")
    assert refused.status_code == 401
    assert [header.split()[0] for header in refused.headers.getlist("WWW-Authenticate")] == ["Bearer", "Basic"]
    for authorization in (b"Bearer " + "schlüssel".encode(), b"Basic " + b64encode("anyone:schlüssel".encode())):
        environ = {"HTTP_AUTHORIZATION": authorization.decode("latin-1")}
        assert client.get("/report/plot.png", environ_overrides=environ).status_code == 200
        status = client.get("/model", environ_overrides=environ).status_code
        assert status == (200 if authorization.startswith(b"Bearer") else 401)  # Basic is for the report alone


def test_what_is_no_basic_stays_as_it_is() -> None:
    for header in (b"", b"Bearer x", b"Basic", b"Basic ###", b"Basic \xff"):
        assert basic_to_bearer(header) in {header, b"Bearer "}
    assert basic_to_bearer(b"bAsIc " + b64encode(b"a:b:c")) == b"Bearer b:c"


def test_the_committed_versions_report_needs_no_more_than_its_policy(serve: Serve) -> None:
    html = serve(REPOSITORY / "models" / "digits").get("/report/").text
    assert "<script" not in html
    assert "http-equiv" not in html
