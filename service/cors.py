"""Cross-origin resource sharing: which web pages of other origins a browser lets use the service.

https://fetch.spec.whatwg.org/#http-cors-protocol. Pages send the API key themselves, in a header: there are no cookies,
so no response allows credentials. Without a list of origins, no response has any of these headers.
"""

from collections.abc import Iterable

from service.settings import split_list

Headers = tuple[tuple[str, str], ...]

ANY = "*"
ALLOWED_HEADERS = "Authorization, Content-Type, Content-Encoding, Inference-Header-Content-Length"
EXPOSED_HEADERS = "Inference-Header-Content-Length, Retry-After, WWW-Authenticate"
"""Headers of responses that a page may read, besides those that every page may."""
MAX_AGE_SECONDS = 7200
"""How long a browser keeps the response to a preflight; none keeps it longer than Chromium, for two hours."""
DEFAULT_PORTS = {"http": ":80", "https": ":443"}

_VARY = ("Vary", "Origin")


def parse_origins(text: str) -> frozenset[str]:
    """The origins of a list, as browsers send them: in small letters, without the default port of the scheme."""
    return frozenset(_normalise_origin(origin) for origin in split_list(text))


def allow_origin(origins: frozenset[str], origin: str) -> Headers:
    """The headers of every response, errors included.

    Args:
        origins: those of the setting; empty: none is allowed.
        origin: the header Origin of the request; "" without one.
    """
    if not origins:
        return ()
    if ANY not in origins and origin not in origins:
        return (_VARY,)
    expose = ("Access-Control-Expose-Headers", EXPOSED_HEADERS)
    if ANY in origins:
        return (("Access-Control-Allow-Origin", ANY), expose)  # without Origin too: a cache may serve it to a page
    return (("Access-Control-Allow-Origin", origin), expose, _VARY)


def allow_request(origins: frozenset[str], origin: str, methods: Iterable[str]) -> Headers:
    """The headers of a response to a preflight, besides those of `allow_origin`.

    Args:
        origins: those of the setting.
        origin: the header Origin of the request; "" without one.
        methods: the methods of the route.
    """
    if not origin or not (ANY in origins or origin in origins):
        return ()
    return (
        ("Access-Control-Allow-Methods", ", ".join(sorted(methods))),
        ("Access-Control-Allow-Headers", ALLOWED_HEADERS),
        ("Access-Control-Max-Age", str(MAX_AGE_SECONDS)),
    )


def _normalise_origin(origin: str) -> str:
    origin = origin.lower()
    return origin.removesuffix(DEFAULT_PORTS.get(origin.partition(":")[0], ""))
