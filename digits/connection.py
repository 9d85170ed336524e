"""The settings of a connection, which `Client` and `AsyncClient` share."""

from typing import Any

import httpx

from digits.exchange import Call

DEFAULT_URL = "http://127.0.0.1:8000"
DEFAULT_TIMEOUT_SECONDS = 30.0
USER_AGENT = "digits-client"


def http_options(url: str, key: str | None, timeout: float, connections: int) -> dict[str, Any]:
    """The arguments of httpx.Client and httpx.AsyncClient.

    Raises:
        ValueError: the address is not one of HTTP, or the key has characters that a header cannot have.
    """
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ValueError(f"the address is {url!r}: {error}") from None
    if address.scheme not in {"http", "https"} or not address.host or address.query or address.fragment:
        raise ValueError(f"the address is {url!r}; expected: http://HOST:PORT or https://HOST")
    if key and not (key.isascii() and key.isprintable()):
        raise ValueError("the key has characters that are not printable ASCII")
    return {
        "base_url": address,
        "headers": {"User-Agent": USER_AGENT} | ({"Authorization": f"Bearer {key}"} if key else {}),
        "timeout": timeout,
        "limits": httpx.Limits(max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=4),
    }


def request_arguments(call: Call) -> dict[str, Any]:
    """The arguments of `build_request` of a client of httpx."""
    return {
        "method": call.method,
        "url": call.path,
        "params": call.params or None,
        "content": call.content,
        "headers": {"Content-Type": call.content_type} if call.content_type else None,
    }
