"""How both clients connect: address, limits and headers for httpx."""

from typing import Any
from urllib.parse import urlsplit

import httpx

from digits import requests
from digits.errors import InvalidAddress
from digits.requests import Request

ADDRESS = "http://127.0.0.1:8000"
CONNECTIONS = 8
TIMEOUT_SECONDS = 30.0


def http_options(url: str, key: str | None, timeout: float, connections: int) -> dict[str, Any]:
    """Return the arguments of httpx's clients.

    Raises:
        InvalidAddress: the address is no URL of HTTP.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise InvalidAddress(f"the address is {url!r}; expected: http://HOST:PORT or https://HOST/PREFIX")
    return {
        "base_url": url,
        "headers": requests.headers(key),
        "timeout": timeout,
        "limits": httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
    }


def build_request(http: httpx.Client | httpx.AsyncClient, request: Request) -> httpx.Request:
    """Return a request as httpx sends it."""
    return http.build_request(
        request.method, request.path, params=dict(request.query), headers=dict(request.headers), content=request.body
    )
