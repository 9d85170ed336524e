"""The address of the service as the client of the current request reached it, for documents and examples."""

from flask import request

HOST = "localhost"
"""Stands for a host that the request does not name, or names in characters that a shell or a page might read."""


def service_url() -> str:
    """Scheme, host and path prefix, without a slash at the end: "https://example.org/digits"."""
    return f"{request.scheme}://{request.host or HOST}{request.script_root}"  # Werkzeug checks the characters


def curl_line(path: str, *, requires_key: bool, file: str = "digit.png") -> str:
    """The command that sends a picture to a route: "curl -F file=@digit.png http://localhost:8000/predict".

    Args:
        path: route, and query if there is one.
        requires_key: whether the route requires an API key: then the command sends one.
        file: the name of the picture.
    """
    key = "-H 'Authorization: Bearer KEY' " if requires_key else ""
    url = f"{service_url()}{path}"
    return f"curl {key}-F file=@{file} " + (f"'{url}'" if "?" in url else url)
