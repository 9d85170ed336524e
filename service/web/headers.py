"""Response headers for browsers: caching, redirects, and what a page may load and be embedded in.

Content-Security-Policy: https://www.w3.org/TR/CSP3/
"""

from urllib.parse import urlsplit

from flask import Response, request
from werkzeug.routing import RequestRedirect

from service.responses import DEFAULT_HEADERS

HTML = "text/html"

WEB_UI_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
"""A report has inline styles, so that it can be opened from disk, and no scripts."""


def cacheable(response: Response, cache_control: str = "no-cache", etag: str | None = None) -> Response:
    """Add caching headers, and return 304 if the request has the current ETag.

    Args:
        response: a complete response.
        cache_control: the header Cache-Control; "no-cache" permits storing, but requires revalidation.
        etag: an identifier that changes with the body; a hash of the body unless given.
    """
    response.headers["Cache-Control"] = cache_control
    if etag:
        response.set_etag(etag)
    else:
        response.add_etag()
    response.make_conditional(request)
    return response


def with_security_headers(response: Response, policy: str = WEB_UI_POLICY) -> Response:
    """Add a Content-Security-Policy, and forbid MIME sniffing and the Referer header."""
    response.headers["Content-Security-Policy"] = policy
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def with_default_headers(response: Response) -> Response:
    """Add the headers of every response, where the route has not set them."""
    for name, value in DEFAULT_HEADERS:
        response.headers.setdefault(name, value)
    return response


def with_relative_redirect(response: Response) -> Response:
    """Replace a redirect of the router, to a missing slash or away from a double one, by one without a host.

    The router builds an absolute URL of the header Host, which a client chooses, and repeats it in a page.
    """
    redirect = request.routing_exception
    if not isinstance(redirect, RequestRedirect):
        return response
    target = urlsplit(redirect.new_url)
    location = "/" + target.path.lstrip("/") + (f"?{target.query}" if target.query else "")
    return Response(status=redirect.code, headers={"Location": location})
