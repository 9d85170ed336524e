"""Every private name of gunicorn that the server uses, behind a few public methods.

gunicorn does not promise to keep these names, so they are checked at import against the version that was tested. Where
they do not fit, `INCOMPATIBILITIES` lists the differences, and service/gunicorn.conf.py runs the service on gunicorn's
own asgi worker, slower.

To port the server to another version of gunicorn, change this file only: TESTED_VERSION first, then what
tests/service/server/test_gunicorn_compat.py and tests/system/http find.
"""

import inspect
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import gunicorn

from service.responses import DEFAULT_HEADERS, JsonResponse, asgi_headers, error_response

TESTED_VERSION = "27.0.1"

SIGNATURES: dict[str, dict[str, tuple[str, ...]]] = {
    "gunicorn.asgi.protocol:ASGIProtocol": {
        "_arm_keepalive_timer": ("self",),
        "_close_transport": ("self",),
        "_get_reason_phrase": ("self", "status"),
        "_handle_http_request": ("self", "request", "sockname", "peername", "complete"),
        "_keepalive_timeout": ("self",),
        "_on_headers_complete": ("self",),
        "_pause_reading": ("self",),
        "_resume_reading": ("self",),
        "_safe_write": ("self", "data"),
        "_send_body": ("self", "body", "chunked", "last", "size"),
        "_send_error_response": ("self", "status", "message", "extra_headers"),
        "_send_response_start": ("self", "status", "headers", "request", "close"),
        "_serve_http_request": ("self", "request", "sockname", "peername"),
        "_check_h1c_protocol_available": (),
    },
    "gunicorn.workers.gasgi:ASGIWorker": {
        "_serve": ("self",),
        "_shutdown": ("self",),
        "init_signals": ("self",),
        "handle_exit_signal": ("self",),
        "handle_quit_signal": ("self",),
        "load_wsgi": ("self",),
    },
    "gunicorn.sock:ssl_context": {"": ("conf",)},
}
"""The parameters of each function that is called or overridden; "" is the object itself."""

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "gunicorn.asgi.protocol:ASGIProtocol": (
        *("_awaiting_request", "_callback_parser", "_closed", "_conn_lost_handled", "_flow_control", "_keepalive"),
        *("_keepalive_handle", "_post_request", "_pre_request", "log", "worker"),
    ),
    "gunicorn.workers.gasgi:ASGIWorker": ("_quick_shutdown", "lifespan", "loop"),
    "gunicorn.asgi.parser:PythonProtocol": (
        *("content_length", "headers", "http_version", "is_chunked", "method", "path", "should_keep_alive"),
    ),
    "gunicorn.arbiter:Arbiter": ("SIG_QUEUE",),
}
"""The attributes that each class sets in __init__."""


def find_incompatibilities(version: str = gunicorn.__version__) -> list[str]:
    """What differs between the installed gunicorn and the tested one, one sentence each; empty if nothing does."""
    if version != TESTED_VERSION:
        return [f"gunicorn {version} is installed, {TESTED_VERSION} is tested"]
    problems = []
    for path, functions in SIGNATURES.items():
        owner = _load(path)
        for name, expected in functions.items():
            function = getattr(owner, name, None) if name else owner
            found = tuple(inspect.signature(function).parameters) if function else None
            if found != expected:
                problems.append(f"{path}.{name} has the parameters {found}, not {expected}")
    for path, names in ATTRIBUTES.items():
        owner = _load(path)
        code = getattr(getattr(owner, "__init__", None), "__code__", None)
        assigned = code.co_names if code else ()
        problems += [f"{path} has no attribute {name}" for name in names if name not in assigned]
    return problems


def _load(path: str) -> Any:
    module, _, name = path.partition(":")
    try:
        return getattr(import_module(module), name, None)
    except ImportError:
        return None


INCOMPATIBILITIES = find_incompatibilities()

ASGIProtocol: Any = _load("gunicorn.asgi.protocol:ASGIProtocol") or object
ASGIWorker: Any = _load("gunicorn.workers.gasgi:ASGIWorker") or object

_HTTP_1_1 = SimpleNamespace(version=(1, 1))
"""Stands in for the request, of which a response needs only the version."""


class HttpConnection(ASGIProtocol):  # type: ignore[misc]
    """gunicorn's HTTP/1.1 connection under public names. Subclasses may override methods that are "called when"."""

    def __init__(self, worker: Any) -> None:
        super().__init__(worker)
        self.has_hooks = bool(self.log.access_log_enabled or self._pre_request or self._post_request)
        """Whether each request has to be given to the access log or to a hook of the configuration."""
        self.keepalive_seconds = float(self._keepalive)

    @property
    def parser(self) -> Any:
        """The parser of the current request: method, path, http_version, content_length, is_chunked, ..."""
        return self._callback_parser

    @property
    def request_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers that the parser has read, names in small letters. The C parser has them under another name."""
        headers: list[tuple[bytes, bytes]] = getattr(self.parser, "asgi_headers", None) or self.parser.headers
        return headers

    @property
    def is_closed(self) -> bool:
        """Whether the server has closed the connection."""
        return bool(self._closed)

    @property
    def is_lost(self) -> bool:
        """Whether `connection_lost` was called."""
        return bool(self._conn_lost_handled)

    @property
    def is_waiting_for_request(self) -> bool:
        """Whether no request is being received or handled by gunicorn."""
        return bool(self._awaiting_request)

    def set_timeout(self, seconds: float) -> None:
        """Have `timed_out` called after so many seconds, unless the next request arrives."""
        self._keepalive_handle = self.worker.loop.call_later(seconds, self._keepalive_timeout)

    def arm_keepalive(self) -> None:
        """Have `timed_out` called after `keepalive_seconds`; cancels the timeout before."""
        self._arm_keepalive_timer()

    def pause_reading(self) -> None:
        """Receive nothing more until `resume_reading`."""
        self._pause_reading()

    def resume_reading(self) -> None:
        """Receive again."""
        self._resume_reading()

    def write_response(self, response: JsonResponse, *, close: bool) -> None:
        """Write a complete response; with `close`, announce and close the connection after it."""
        self._send_response_start(response.status, asgi_headers(response), _HTTP_1_1, close)
        self._send_body(response.body)
        if close:
            self._close_transport()

    async def drain_writes(self) -> None:
        """Wait until the client has read enough of what was written."""
        if self._flow_control.write_paused:
            await self._flow_control.drain()

    def close_when_idle(self) -> None:
        """Close the connection as after a keep-alive timeout."""
        super()._keepalive_timeout()

    def headers_complete(self) -> bool:
        """Called when the head of a request is parsed; returns whether the parser is to skip its body."""
        return bool(super()._on_headers_complete())

    def timed_out(self) -> None:
        """Called when a timeout has passed."""
        self.close_when_idle()

    def _on_headers_complete(self) -> bool:
        return self.headers_complete()

    def _keepalive_timeout(self) -> None:
        self.timed_out()

    async def _serve_http_request(self, request: Any, sockname: Any, peername: Any) -> Any:
        """Handle a request in the task of its connection: one task fewer than gunicorn's."""
        return await self._handle_http_request(request, sockname, peername)

    def _send_error_response(self, status: int, message: str, extra_headers: Any = ()) -> None:
        """Responses to what is not valid HTTP are JSON too."""
        body = error_response(status, message).body
        head = (
            f"HTTP/1.1 {status} {self._get_reason_phrase(status)}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n"
        )
        head += "".join(f"{name}: {value}\r\n" for name, value in (*DEFAULT_HEADERS, *extra_headers))
        self._safe_write(head.encode("latin-1") + b"\r\n" + body)


class EventLoopWorker(ASGIWorker):  # type: ignore[misc]
    """gunicorn's asgi worker under public names. Subclasses implement `serve`."""

    async def serve(self) -> None:
        """Accept connections until the worker is to stop.

        Signals are handled as `init_signals` left them until `handle_signals_in_loop` is called.
        """
        raise NotImplementedError

    async def _serve(self) -> None:
        # Called on a subclass, it caches that the C parser is available, without its class.
        ASGIProtocol._check_h1c_protocol_available()  # noqa: SLF001
        await self.serve()

    def handle_signals_in_loop(self) -> None:
        """Have the event loop call gunicorn's signal handlers from now on."""
        ASGIWorker.init_signals(self)

    @property
    def is_quick_shutdown(self) -> bool:
        """Whether the worker received SIGQUIT or SIGINT: it stops without waiting for requests in flight."""
        return bool(self._quick_shutdown)

    async def wait_for_connections(self) -> None:
        """Wait for connections to end, at most the graceful timeout; not in a quick shutdown."""
        await self._shutdown()


def ssl_context(config: Any) -> Any:
    """The ssl.SSLContext of --certfile, --keyfile and the like; None without them.

    Raises:
        OSError, ssl.SSLError, ValueError: a file cannot be read, or is not what it should be.
    """
    from gunicorn import sock  # noqa: PLC0415 - not needed without TLS

    return sock.ssl_context(config) if config.is_ssl else None


def bound_address(server: Any) -> tuple[str, int]:
    """Host and port of the arbiter's first listening socket."""
    host, port, *_ = server.LISTENERS[0].sock.getsockname()
    return host, port


def running_workers(server: Any) -> list[Any]:
    """The arbiter's workers."""
    return list(server.WORKERS.values())


def queued_signals(server: Any) -> Any:
    """The arbiter's queue of signals that it has not handled yet: SimpleQueue[int]."""
    return server.SIG_QUEUE
