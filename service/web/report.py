"""GET /report/: the report that was published with the version in use.

Only files that the manifest lists are served. A browser that follows a link cannot send a Bearer token: on these routes
alone, the API key is also accepted as the password of HTTP Basic authentication, with any user name.
"""

import mimetypes
from pathlib import PurePosixPath

from flask import Blueprint, Response, abort

from service.inference.model_store import ModelStore
from service.inference.version_files import UnusableFile, read_file
from service.settings import Settings
from service.web.headers import REPORT_POLICY, cacheable, with_security_headers

ROUTES = ("/report/", "/report/<path:name>")
BASIC_CHALLENGE = 'Basic realm="Digits: the password is the key", charset="UTF-8"'
PLAIN_TEXT_SUFFIXES = {".md", ".toml", ".csv"}


def blueprint(settings: Settings, store: ModelStore) -> Blueprint:
    """GET /report/ and GET /report/NAME."""
    routes = Blueprint("report", __name__)

    @routes.get(ROUTES[0])
    @routes.get(ROUTES[1])
    def report(name: str = "index.html") -> Response:
        model = store.require_current()
        sha256 = model.manifest.files.get(f"report/{name}") if model.manifest else None
        if sha256 is None:
            abort(404)
        try:
            content = read_file(settings.model_dir / model.version / "report" / name)
        except (OSError, UnusableFile):  # the version is being retired, or was changed
            abort(404)
        response = cacheable(Response(content, content_type=_content_type(name)), etag=sha256)
        return with_security_headers(response, REPORT_POLICY)

    return routes


def _content_type(name: str) -> str:
    if PurePosixPath(name).suffix in PLAIN_TEXT_SUFFIXES:
        return "text/plain; charset=utf-8"
    content_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return f"{content_type}; charset=utf-8" if content_type.startswith("text/") else content_type
