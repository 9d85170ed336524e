"""Every private name of gunicorn that the server uses, behind a few public methods.

gunicorn does not promise to keep these names, so they are checked at import against the version that was tested. Where
they do not fit, `INCOMPATIBILITIES` lists the differences, and service/gunicorn.conf.py runs the service on gunicorn's
own asgi worker, slower.

To port the server to another version of gunicorn, change this file only: TESTED_VERSION first, then what
tests/service/server/test_gunicorn_compat.py and tests/system/http find.
"""

import asyncio
import functools
import inspect
import logging
import os
import select
import tempfile
from collections.abc import Callable
from http import HTTPStatus
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote_to_bytes

import gunicorn

from service.responses import HttpResponse, asgi_headers, error_response
from service.server.request_head import InvalidHead, Target

log = logging.getLogger(__name__)

TESTED_VERSION = "27.0.1"

SIGNATURES: dict[str, dict[str, tuple[str, ...]]] = {
    "gunicorn.asgi.protocol:ASGIProtocol": {
        "_arm_keepalive_timer": ("self",),
        "_cancel_keepalive_timer": ("self",),
        "_close_transport": ("self",),
        "_effective_peername": ("self", "peername"),
        "_feed_callback_parser": ("self", "data"),
        "_get_reason_phrase": ("self", "status"),
        "_handle_connection": ("self",),
        "_handle_http_request": ("self", "request", "sockname", "peername", "complete"),
        "_http1_buffered": ("self",),
        "_keepalive_timeout": ("self",),
        "_maybe_resume_reading": ("self",),
        "_on_body": ("self", "chunk"),
        "_on_headers_complete": ("self",),
        "_on_message_complete": ("self",),
        "_pause_reading": ("self",),
        "_resume_reading": ("self",),
        "_safe_write": ("self", "data"),
        "_send_body": ("self", "body", "chunked", "last", "size"),
        "_send_error_response": ("self", "status", "message", "extra_headers"),
        "_send_response_start": ("self", "status", "headers", "request", "close"),
        "_will_close": ("self", "request", "response_requires_close"),
        "_check_h1c_protocol_available": (),
    },
    "gunicorn.asgi.protocol:BodyReceiver": {
        "set_complete": ("self",),
        "signal_disconnect": ("self",),
    },
    "gunicorn.asgi.parser:CallbackRequest": {"may_upgrade": ("self",)},
    "gunicorn.asgi.parser:PythonProtocol": {"feed": ("self", "data"), "remaining": ("self",), "reset": ("self",)},
    "gunicorn.asgi.protocol:_get_cached_status_line": {"": ("version", "status", "reason")},
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
        *("_body_receiver", "_callback_parser", "_closed", "_conn_lost_handled", "_current_request", "_flow_control"),
        *("_h2c_upgrade_ok", "_is_ssl", "_keepalive", "_keepalive_handle", "_max_buffer_size"),
        *("_post_request", "_pre_request", "_reading_paused", "_request_ready", "log", "transport", "worker"),
    ),
    "gunicorn.asgi.protocol:BodyReceiver": ("_body_wait_expired", "expect_continue"),
    "gunicorn.asgi.parser:CallbackRequest": ("headers_bytes", "method", "path", "query", "raw_path", "uri"),
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

PARSE_ERRORS: tuple[type[Exception], ...] = tuple(
    found
    for path in (
        "gunicorn.asgi.parser:ParseError",
        "gunicorn.http.errors:ParseException",
        "gunicorn_h1c:ParseError",
        "gunicorn_h1c._protocol:ParseError",
    )
    if (found := _load(path))
)
"""What the parsers, in Python and in C, raise for bytes that are not a valid request."""
STATUS_OF_PARSE_ERRORS = {"LimitRequestLine": 414, "LimitRequestHeaders": 431, "UnsupportedTransferCoding": 501}
"""By the name of the class, which both parsers share. Every other parse error is 400."""
MESSAGE_OF_PARSE_ERRORS = {
    "InvalidHTTPVersion": "the request line does not end with a version of HTTP",
    "InvalidHeaderName": "the name of a header or trailer is invalid",
    "InvalidRequestMethod": "the method is invalid; methods are in capital letters",
    "UnsupportedTransferCoding": "the transfer coding is not supported; use chunked",
}
"""Where the Python parser has the value alone. The messages of the other errors are sentences."""

_HTTP_1_1 = SimpleNamespace(version=(1, 1))
"""Stands in for the request, of which a response needs only the version."""


_status_line: Any = _load("gunicorn.asgi.protocol:_get_cached_status_line")


def add_reason_phrases() -> None:
    """Give gunicorn the reason phrases that it lacks; it would write "431 Unknown"."""
    for status in HTTPStatus:
        if ASGIProtocol._get_reason_phrase(None, status) == "Unknown":  # noqa: SLF001
            for version in ((1, 0), (1, 1)):
                _status_line(version, status.value, status.phrase)


if not INCOMPATIBILITIES:
    add_reason_phrases()


class HttpConnection(ASGIProtocol):  # type: ignore[misc]
    """gunicorn's HTTP/1.1 connection under public names. Subclasses may override methods that are "called when"."""

    _current_request: Any
    _body_receiver: Any

    def __init__(self, worker: Any) -> None:
        super().__init__(worker)
        self.has_hooks = bool(self.log.access_log_enabled or self._pre_request or self._post_request)
        """Whether each request has to be given to the access log or to a hook of the configuration."""
        self.keepalive_seconds = float(self._keepalive)
        self.is_request_complete = False
        """Whether the current request has arrived completely; true of a closed connection, too."""
        self.has_responded = False
        """Whether a response to the current request has begun."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to receive requests."""
        super().connection_made(transport)
        self._h2c_upgrade_ok = False  # Upgrade: h2c is ignored
        self._addresses = transport.get_extra_info("sockname"), transport.get_extra_info("peername")

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
    def has_request(self) -> bool:
        """Whether gunicorn receives or handles a request: its head has arrived."""
        return self._current_request is not None

    @property
    def is_closed(self) -> bool:
        """Whether the server has closed the connection."""
        return bool(self._closed)

    @property
    def is_closing(self) -> bool:
        """Whether the connection is lost, or is about to be: its socket cannot be used any more."""
        return bool(self._closed or self.transport.is_closing())

    @property
    def is_lost(self) -> bool:
        """Whether `connection_lost` was called."""
        return bool(self._conn_lost_handled)

    @property
    def is_encrypted(self) -> bool:
        """Whether the connection is encrypted by TLS."""
        return bool(self._is_ssl)

    @property
    def is_reading(self) -> bool:
        """Whether bytes are received, unless `pause_reading` was called last."""
        return not self._reading_paused

    def set_timeout(self, seconds: float) -> None:
        """Have `timed_out` called after so many seconds; cancels the timeout before."""
        self._cancel_keepalive_timer()
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

    def feed(self, data: bytes) -> None:
        """Parse bytes, and pause reading while too much of a body waits for the application."""
        parser = self._callback_parser
        if parser is None:  # HTTP/2
            super().data_received(data)
            return
        try:
            parser.feed(data)
        except InvalidHead as error:
            self.fail(error.status, str(error))
        except PARSE_ERRORS as error:
            self.fail(*describe_parse_error(error, data))
        if self._body_receiver is not None and not self._closed and self._http1_buffered() > self._max_buffer_size:
            self._pause_reading()

    def write_response(self, response: HttpResponse, *, close: bool) -> None:
        """Write a complete response; with `close`, announce and close the connection after it."""
        super()._send_response_start(response.status, asgi_headers(response), _HTTP_1_1, close)
        self._send_body(response.body)
        if close:
            self.close()

    def write_continue(self) -> None:
        """Have a client that waits for it send the body of the current request (RFC 9110, section 10.1.1)."""
        if self._body_receiver.expect_continue:
            self._body_receiver.expect_continue = False
            self._safe_write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def write_error(self, status: int, message: str) -> None:
        """Write the response to what is not a valid request; it announces that the connection is closed."""
        response = error_response(status, message)
        head = b"".join(b"%b: %b\r\n" % header for header in asgi_headers(response))
        self._safe_write(_status_line((1, 1), status) + head + b"Connection: close\r\n\r\n" + response.body)

    async def drain_writes(self) -> None:
        """Wait until the client has read enough of what was written."""
        if self._flow_control.write_paused:
            await self._flow_control.drain()

    async def wait_for_request(self) -> bool:
        """Wait for a request that the application is to handle; False: the connection is closed."""
        while not (self.is_closing or (self.has_request and self.is_ready)):
            self._request_ready.clear()
            await self._request_ready.wait()
        return not self.is_closing

    async def respond(self) -> bool:
        """Have the application respond to the current request; returns whether the connection is kept."""
        sockname, peername = self._addresses
        request, peername = self._current_request, self._effective_peername(peername)
        keep = await self._handle_http_request(request, sockname, peername)
        worker = self.worker
        worker.nr += 1
        if worker.nr >= worker.max_requests:
            self.log.info("Autorestarting worker after current request.")
            worker.alive = False
        return bool(keep and worker.alive and self._keepalive and self.is_request_complete and not self._closed)

    def forget_request(self) -> bytes:
        """Make the parser ready for the next request; returns the bytes behind the last one that it has received."""
        rest: bytes = self._callback_parser.remaining()
        self._callback_parser.reset()
        self._current_request = self._body_receiver = None
        self.is_request_complete = self.has_responded = False
        return rest

    def set_target(self, target: Target) -> None:
        """Replace the target of the current request, and its header Host (RFC 9112, section 3.2.2)."""
        request = self._current_request
        request.raw_path, _, query = target.origin_form.partition(b"?")
        request.path = unquote_to_bytes(request.raw_path).decode("utf-8", "replace")
        request.query, request.uri = query.decode("latin-1"), target.origin_form.decode("latin-1")
        request.headers_bytes = [(b"host", target.host), *(_without(request.headers_bytes, b"host"))]

    def ignore_upgrade(self) -> None:
        """Remove the header Upgrade of the current request."""
        request = self._current_request
        if request.may_upgrade():
            request.headers_bytes = _without(request.headers_bytes, b"upgrade")

    @property
    def rest(self) -> bytes:
        """What the parser has received behind the current request."""
        parser = self._callback_parser
        return bytes(parser.remaining()) if parser is not None else b""

    def wake(self) -> None:
        """End a `wait_for_request` if it has nothing to wait for."""
        if self._request_ready is not None:
            self._request_ready.set()

    def close(self) -> None:
        """Called when the connection is to be closed after what was written."""
        super()._close_transport()

    def close_for_writing(self) -> None:
        """Write nothing more, and go on receiving; the application is told that the client has disconnected."""
        self._closed = self.is_request_complete = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
        if self._body_receiver is not None:
            self._body_receiver.signal_disconnect()
        self._resume_reading()
        self.wake()

    def close_when_idle(self) -> None:
        """Close the connection as after a keep-alive timeout."""
        self.close()
        self.wake()

    async def serve_requests(self) -> None:
        """Called when a connection begins: handle the requests until it ends."""
        raise NotImplementedError

    def fail(self, status: int, message: str) -> None:
        """Called when the bytes that arrive are not a valid request: write an error and close the connection."""
        raise NotImplementedError

    @property
    def is_ready(self) -> bool:
        """Called when the head of a request has arrived; whether the application is to handle it now."""
        return True

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

    def headers_complete(self) -> bool:
        """Called when the head of a request is parsed; returns whether the parser is to skip its body.

        Raises:
            InvalidHead: `fail` is to be called with its status.
        """
        return bool(super()._on_headers_complete())

    def body_received(self, chunk: bytes) -> None:
        """Called when a part of a body has arrived; raises what `headers_complete` raises."""
        super()._on_body(chunk)

    def timed_out(self) -> None:
        """Called when a timeout has passed."""
        self.close_when_idle()

    def will_close(self) -> bool:
        """Called when a response begins; whether it announces that the connection is closed after it."""
        return False

    def may_resume_reading(self) -> bool:
        """Called when the application has received a part of a body: whether reading may go on."""
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has left, or the connection was closed."""
        super().connection_lost(exc)
        self.wake()

    def _on_headers_complete(self) -> bool:
        return self.headers_complete()

    def _on_body(self, chunk: bytes) -> None:
        self.body_received(chunk)

    def _on_message_complete(self) -> None:
        self.is_request_complete = True
        if self._body_receiver is not None:
            self._body_receiver.set_complete()
            self.wake()

    def _keepalive_timeout(self) -> None:
        self.timed_out()

    def _maybe_resume_reading(self) -> None:
        if self.may_resume_reading():
            super()._maybe_resume_reading()

    def _close_transport(self) -> None:
        self.close()

    def _feed_callback_parser(self, data: bytes) -> bool:
        self.feed(data)
        return not self._closed

    async def _handle_connection(self) -> None:
        """Handle requests in one task: one fewer than gunicorn's."""
        try:
            await self.serve_requests()
        except asyncio.CancelledError:
            pass  # gunicorn cancels a request that goes on after its client has left
        except Exception:  # a fault of the server's: nobody awaits this task, so it would be reported late
            self.log.exception("Error handling connection")
        finally:
            self._close_transport()

    def _send_response_start(self, *arguments: Any, **more: Any) -> None:
        self.has_responded = True
        super()._send_response_start(*arguments, **more)

    def _will_close(self, request: Any, response_requires_close: Any) -> bool:
        return bool(super()._will_close(request, response_requires_close) or self.will_close())

    def _send_error_response(self, status: int, message: str, extra_headers: Any = ()) -> None:  # noqa: ARG002
        if self._body_receiver is not None and self._body_receiver._body_wait_expired:  # noqa: SLF001
            status, message = 408, "the body did not arrive in time"
        self.fail(status, message)


def _without(headers: list[tuple[bytes, bytes]], name: bytes) -> list[tuple[bytes, bytes]]:
    return [header for header in headers if header[0] != name]


def describe_parse_error(error: Exception, data: bytes) -> tuple[int, str]:
    """The status and the sentence for a parse error; `data` are the bytes that were parsed when it was raised."""
    name, message = type(error).__name__, str(error)
    if name == "InvalidHTTPVersion" and b" HTTP/" in data:
        return 505, "the version of HTTP is not supported; use HTTP/1.1"
    if message == "Unsupported Transfer-Encoding":  # the C parser has no class for it
        name = "UnsupportedTransferCoding"
    return STATUS_OF_PARSE_ERRORS.get(name, 400), MESSAGE_OF_PARSE_ERRORS.get(name, message)


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
