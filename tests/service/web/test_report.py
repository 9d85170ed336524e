"""service/web/report.py: the report of the version in use, file by file as its manifest lists them."""

import hashlib
import json
import os
from base64 import b64encode
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tests.conftest import REPOSITORY, Serve, Versions

FILES = {"index.html": b"<h1>It learnt</h1>", "plot.png": b"\x89PNG", "recipe.toml": b"seed = 1", "notes.md": b"# n"}


@pytest.fixture
def models_with_report(versions: Versions, models: Path) -> Path:
    """A model directory whose version 1 has a report, and in it one file that the manifest does not list."""
    version = versions.put(models, 1, digit=1)
    (version / "report").mkdir()
    manifest = json.loads((version / "manifest.json").read_text())
    for name, content in FILES.items():
        (version / "report" / name).write_bytes(content)
        manifest["files"][f"report/{name}"] = hashlib.sha256(content).hexdigest()
    (version / "manifest.json").write_text(json.dumps(manifest))
    (version / "report" / "secret.txt").write_text("not listed")
    return models


def test_serves_the_files_as_published(serve: Serve, models_with_report: Path) -> None:
    client = serve(models_with_report)
    assert 'href="/report/"' in client.get("/").text
    content_types = {"index.html": "text/html; charset=utf-8", "plot.png": "image/png"}
    for name, content in FILES.items():
        response = client.get(f"/report/{name}")
        assert (response.status_code, response.data) == (200, content)
        assert response.content_type == content_types.get(name, "text/plain; charset=utf-8")
        assert response.headers["ETag"] == f'"{hashlib.sha256(content).hexdigest()}"'
    assert client.get("/report/").data == FILES["index.html"]


@pytest.mark.parametrize(
    "name", ["secret.txt", "../manifest.json", "..%2fmanifest.json", "%2e%2e/model.tflite", "/etc/passwd", "x", "%00"]
)
def test_does_not_serve_a_file_that_the_manifest_does_not_list(
    serve: Serve, models_with_report: Path, name: str
) -> None:
    response = serve(models_with_report).get(f"/report/{name}")
    assert response.status_code in {404, 308}
    assert b"not listed" not in response.data


def test_a_report_whose_version_was_just_retired_is_404(serve: Serve, models_with_report: Path) -> None:
    client = serve(models_with_report)
    (models_with_report / "1").rename(models_with_report / ".retired-1")
    assert client.get("/report/").status_code == 404


def test_a_report_that_became_a_fifo_is_404(serve: Serve, models_with_report: Path) -> None:
    """Opening it must not wait for a writer: the event loop reads it."""
    client = serve(models_with_report)
    (models_with_report / "1" / "report" / "plot.png").unlink()
    os.mkfifo(models_with_report / "1" / "report" / "plot.png")
    assert client.get("/report/plot.png").status_code == 404


def test_without_a_model_is_503_and_without_a_report_404(serve: Serve, models: Path, client: FlaskClient) -> None:
    assert serve(models).get("/report/").status_code == 503
    assert client.get("/report/").status_code == 404


def test_a_browser_may_send_the_key_as_a_password(serve: Serve, models_with_report: Path) -> None:
    client = serve(models_with_report, api_key="schlüssel")
    for authorization in (b"Bearer " + "schlüssel".encode(), b"Basic " + b64encode("anyone:schlüssel".encode())):
        environ = {"HTTP_AUTHORIZATION": authorization.decode("latin-1")}
        assert client.get("/report/plot.png", environ_overrides=environ).status_code == 200


def test_the_committed_report_needs_no_script(serve: Serve) -> None:
    html = serve(REPOSITORY / "models" / "digits").get("/report/").text
    assert "<h1>" in html
    assert "<script" not in html
    assert "http-equiv" not in html
