"""Every private name of gunicorn that the server uses, behind a few public methods.

gunicorn does not promise to keep these names, so they are checked at import against the version that was tested. Where
they do not fit, `INCOMPATIBILITIES` lists the differences, and service/gunicorn.conf.py runs the service on gunicorn's
own asgi worker, slower.

To port the server to another version of gunicorn, change this file only: TESTED_VERSION first, then what
tests/service/server/test_gunicorn_compat.py and tests/system/http find.
"""

import functools
import inspect
import logging
import os
import select
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gunicorn

from service.responses import DEFAULT_HEADERS, JsonResponse, asgi_headers, error_response

log = logging.getLogger(__name__)

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
    "gunicorn.arbiter:Arbiter": {"spawn_worker": ("self",), "stop": ("self", "graceful")},
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
    "gunicorn.arbiter:Arbiter": ("SIG_QUEUE", "master_pid", "reexec_pid", "systemd"),
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

    @property
    def unsent_bytes(self) -> int:
        """Bytes that were written, and that the kernel has not taken yet."""
        return int(self.transport.get_write_buffer_size())

    def abort(self) -> None:
        """Close the connection at once, and discard what is unsent."""
        self.transport.abort()

    def has_unread_data(self) -> bool:
        """Whether something has arrived, data or the end, that the event loop has not read yet."""
        opened = self.transport.get_extra_info("socket")
        if opened is None:
            return False
        poll = select.poll()
        poll.register(opened, select.POLLIN)
        return bool(poll.poll(0))

    def closed_by_server(self) -> None:
        """Called when the server has closed the connection; it ends when the client has read what was written."""

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

    def _close_transport(self) -> None:
        if self.transport and not self._closed:
            super()._close_transport()
            self.closed_by_server()

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


def call_before_stop(server: Any, callback: Callable[[], None]) -> None:
    """Have `callback` called when the arbiter stops the service, before it closes its listening sockets.

    Not if something else accepts from them: systemd, or another arbiter, which SIGUSR2 has started.
    """
    stop = server.stop

    def stop_service(graceful: bool = True) -> None:  # noqa: FBT001, FBT002 - as gunicorn calls it
        if server.reexec_pid == server.master_pid == 0 and not server.systemd:
            callback()
        stop(graceful)

    server.stop = stop_service


def is_second_arbiter(server: Any) -> bool:
    """Whether another arbiter has started this one, which accepts from the same sockets."""
    return bool(server.master_pid)


def is_usable_directory(directory: Path) -> bool:
    """Whether a worker can have its heartbeat file there: a file is created, and removed."""
    try:
        with tempfile.TemporaryFile(dir=directory):
            return True
    except OSError:
        return False


def never_raises(hook: Callable[..., None]) -> Callable[..., None]:
    """Log the exceptions of a hook that the arbiter calls: they would end the arbiter, and all workers with it."""

    @functools.wraps(hook)
    def guarded(*arguments: Any) -> None:
        try:
            hook(*arguments)
        except Exception:  # whatever it is, the workers go on
            log.exception("gunicorn's hook %s failed", hook.__name__)

    return guarded


def retry_failed_starts(server: Any, was_ready: Callable[[], bool]) -> None:
    """Have the arbiter try again, within a second, to fork a worker that it could not fork.

    Without file descriptors, processes, memory, or space for the heartbeat file, gunicorn would end the service: one
    killed worker would take the others with it. Until `was_ready` returns True, the start of the service fails as in
    gunicorn.
    """
    spawn = server.spawn_worker

    def spawn_worker() -> int | None:
        try:
            return int(spawn())
        except (OSError, RuntimeError) as error:
            if os.getpid() != server.pid or not was_ready():
                raise
            server.log.warning("cannot start a worker: %s; the next attempt is within a second", error)
            return None

    server.spawn_worker = spawn_worker
