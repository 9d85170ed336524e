"""What every answer to a browser says besides: what the page may load, and what others may not do with it.

https://www.w3.org/TR/CSP3/ has the words of a Content-Security-Policy.
"""

from flask import Response, request

HTML = "text/html"

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
"""A report has its styles within, so that it opens from disk, and its plots beside it. It has no scripts."""


def cacheable(response: Response, cache: str = "no-cache", etag: str | None = None) -> Response:
    """The response with leave to keep it, and 304 in its place for a client that has it.

    Args:
        response: a whole one.
        cache: the header Cache-Control; "no-cache" lets it be kept, but not used without asking.
        etag: what changes with the body, if that is known already.
    """
    response.headers["Cache-Control"] = cache
    if etag:
        response.set_etag(etag)
    else:
        response.add_etag()
    response.make_conditional(request)
    return response


def with_security_headers(response: Response, policy: str = PAGE_POLICY) -> Response:
    """The response with the headers that bound what a browser does with it."""
    response.headers["Content-Security-Policy"] = policy
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response
