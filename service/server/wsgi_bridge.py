"""Calls a WSGI application (PEP 3333) for an ASGI request whose body is complete."""

import sys
from collections.abc import Callable, Iterable
from io import BytesIO, RawIOBase
from typing import Any

from flask import Flask

from service.errors import RequestError
from service.server.asgi_types import Scope


class RejectedBody(RawIOBase):
    """Stands in for a body that could not be received; raises the error when the view reads it."""

    def __init__(self, error: RequestError | MemoryError) -> None:
        self._error = error

    def readable(self) -> bool:
        """Always true, so that reading raises the error and nothing else."""
        return True

    def readinto(self, _: object) -> int:
        """Raise the error."""
        raise self._error


def call_wsgi(flask: Flask, environ: dict[str, Any]) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Call Flask; returns status, headers and body."""
    started: list[Any] = []

    def start(status: str, headers: list[tuple[str, str]], _: object = None) -> Callable[[bytes], None]:
        started[:] = int(status[:3]), [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        return lambda _: None

    parts: Iterable[bytes] = flask.wsgi_app(environ, start)
    body = b"".join(parts)
    close = getattr(parts, "close", None)
    if close:
        close()
    return started[0], started[1], body


def build_environ(scope: Scope, body: bytes) -> dict[str, Any]:
    """The WSGI environment of a request with this body."""
    host, port = scope.get("server") or ("", 0)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": scope["path"].encode().decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": (scope.get("client") or ("",))[0],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": BytesIO(body),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in scope["headers"]:
        key = name.decode("latin-1").upper().replace("-", "_")
        key = key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"
        text = value.decode("latin-1")
        environ[key] = f"{environ[key]},{text}" if key in environ else text
    return environ
