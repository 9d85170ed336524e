"""service/web/api_docs.py: GET /openapi.json and GET /docs. tests/service/web/openapi tests the document."""

from pathlib import Path

from flask.testing import FlaskClient

from service.settings import Settings
from service.web.openapi.document import build_document
from tests.conftest import Serve


def test_openapi_json_is_the_document_for_the_settings(serve: Serve, one_version: Path) -> None:
    response = serve(one_version, max_pictures=123).get("/openapi.json")
    assert response.content_type == "application/json"
    assert response.get_json() == build_document(Settings(model_dir=one_version, max_pictures=123), "http://localhost")


def test_docs_show_every_operation_and_parameter(serve: Serve, one_version: Path, tmp_path: Path) -> None:
    client = serve(one_version, feedback_dir=tmp_path / "feedback", api_key="secret")
    html = client.get("/docs").text.replace("&#39;", "'")
    document = client.get("/openapi.json").get_json()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert f"{method.upper()} {path}" in html
            assert operation["summary"] in html
            for parameter in operation.get("parameters", []):
                assert f"<code>{parameter['name']}</code>" in html
                assert parameter["description"] in html
    assert "<code>split=digits</code>" in html
    assert ": auto, always, never<" in html
    assert html.count("Requires the API key") == 23


def test_docs_show_every_key_of_the_schemas(client: FlaskClient) -> None:
    html = client.get("/docs").text
    for key in ("digit", "version", "manifest", "status", "error", "predictions[].confidence", "predictions[].box"):
        assert f"<code>{key}</code>" in html
    assert "with split=digits: left, top, right, bottom in pixels of the picture" in html
