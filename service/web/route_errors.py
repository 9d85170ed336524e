"""The sentences of 404 and 405: what a client sent, and what to send instead."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from flask import current_app, request
from werkzeug.exceptions import HTTPException, InternalServerError, MethodNotAllowed, NotFound

from service.responses import INTERNAL_ERROR
from service.web.address import curl_line

MAX_SHOWN = 100
"""Characters of a path that an error repeats."""
MIN_SIMILARITY = 0.7
"""Between 0 and 1, of a path and the route that it may mean: /predit and /heatlh are above it, /wp-admin below."""
OTHER_NAMES = {
    "/health": "/healthz",
    "/ready": "/readyz",
    "/live": "/healthz",
    "/classify": "/predict",
    "/infer": "/predict",
    "/swagger": "/docs",
    "/redoc": "/docs",
    "/api": "/docs",
    "/swagger.json": "/openapi.json",
}
"""Routes of other services, and those of this one that do the same."""


def describe_http_error(error: HTTPException, *, requires_key: bool) -> str:
    """One sentence for an error that Flask or the router raised for the current request.

    Args:
        error: the error.
        requires_key: whether the service requires an API key.
    """
    match error:
        case NotFound() if request.url_rule is None:
            routes = {rule.rule for rule in current_app.url_map.iter_rules() if "<" not in rule.rule}
            return describe_unknown_route(request.path, routes)
        case NotFound():
            return f"there is no {request.path[:MAX_SHOWN]}"
        case MethodNotAllowed():
            allowed = error.valid_methods or ()
            return describe_method(request.path, request.method, allowed, requires_key=requires_key)
        case InternalServerError():
            return INTERNAL_ERROR
        case _:
            return str(error.description)


def describe_unknown_route(path: str, routes: Iterable[str]) -> str:
    """One sentence: there is no such route, and the one that the client may mean.

    Args:
        path: the path of the request.
        routes: the routes without variable parts: "/predict".
    """
    shown = path[:MAX_SHOWN]
    nearest = find_nearest_route(shown, sorted(routes))
    return f"there is no route {shown}" + (f"; did you mean {nearest}?" if nearest else "")


def find_nearest_route(path: str, routes: Sequence[str]) -> str | None:
    """The route that differs from a path by case, slashes, leading segments or a few letters; None: there is none."""
    by_key = {_key(name): route for name, route in OTHER_NAMES.items() if route in routes}
    by_key |= {_key(route): route for route in routes}
    segments = _key(path).split("/")
    for start in range(len(segments)):
        if route := by_key.get("/".join(segments[start:])):
            return route
    similar = get_close_matches(_key(path), by_key, n=1, cutoff=MIN_SIMILARITY)
    return by_key[similar[0]] if similar else None


def describe_method(path: str, method: str, allowed: Iterable[str], *, requires_key: bool) -> str:
    """One sentence: the route does not allow the method; for /predict, what to type, else the methods that it allows.

    Args:
        path: the path of the request.
        method: its method.
        allowed: the methods of the route.
        requires_key: whether the service requires an API key.
    """
    sentence = f"{path[:MAX_SHOWN]} does not allow {method[:20]}"
    if path == "/predict":
        return f"{sentence}; send a picture by POST: {curl_line('/predict', requires_key=requires_key)}"
    others = sorted(set(allowed) - {"HEAD", "OPTIONS"})  # the router adds these to every route, or to none
    return f"{sentence}; allowed: {', '.join(others)}"


def _key(path: str) -> str:
    return "/".join(segment for segment in path.lower().split("/") if segment)
