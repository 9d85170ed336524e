"""The address of the service as the client of the current request reached it, for documents and examples."""

import re

from flask import request

PLAIN_HOST = re.compile(r"(?:[\w.-]+|\[[0-9A-Fa-f:.]+\])(?::\d+)?", re.ASCII)
"""Hosts that a shell and a page take as they are. The header Host may have more characters, and is up to the client."""


def service_url() -> str:
    """Scheme, host and path prefix, without a slash at the end: "https://example.org/digits"."""
    host = request.host
    return f"{request.scheme}://{host if PLAIN_HOST.fullmatch(host) else 'localhost'}{request.script_root}"


def curl_line(path: str, *, requires_key: bool, file: str = "digit.png") -> str:
    """The command that sends a picture to a route: "curl -F file=@digit.png http://localhost:8000/predict".

    Args:
        path: route, and query if there is one.
        requires_key: whether the route requires an API key: then the command sends one.
        file: the name of the picture.
    """
    key = "-H 'Authorization: Bearer KEY' " if requires_key else ""
    url = f"{service_url()}{path}"
    return f"curl {key}-F file=@{file} {url if '?' not in url else f"'{url}'"}"
