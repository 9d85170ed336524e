"""GET /report/: the report of the version in use, as it was published with it.

Only what the manifest vouches for is served. A browser that follows a link cannot send a Bearer key: here, and only
here, the key may also be the password of HTTP's Basic scheme, under any name.
"""

import mimetypes
from pathlib import PurePosixPath

from flask import Blueprint, Response, abort

from service.inference.model_store import ModelStore
from service.settings import Settings
from service.web.headers import REPORT_POLICY, cacheable, with_security_headers

ROUTES = ("/report/", "/report/<path:name>")
BASIC_CHALLENGE = 'Basic realm="Digits: the password is the key", charset="UTF-8"'
PLAIN_TEXT_SUFFIXES = {".md", ".toml", ".csv"}


def blueprint(settings: Settings, store: ModelStore) -> Blueprint:
    """GET /report/ and the files beside its page."""
    routes = Blueprint("reports", __name__)

    @routes.get(ROUTES[0])
    @routes.get(ROUTES[1])
    def report(name: str = "index.html") -> Response:
        model = store.require_current()
        sha256 = (model.manifest or {}).get("files", {}).get(f"report/{name}")
        if sha256 is None:
            abort(404)
        try:
            content = (settings.model_dir / model.version / "report" / name).read_bytes()
        except OSError:  # the version is being retired
            abort(404)
        return with_security_headers(
            cacheable(Response(content, content_type=_content_type(name)), etag=sha256), REPORT_POLICY
        )

    return routes


def _content_type(name: str) -> str:
    if PurePosixPath(name).suffix in PLAIN_TEXT_SUFFIXES:
        return "text/plain; charset=utf-8"
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
