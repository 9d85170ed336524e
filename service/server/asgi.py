"""The same application as an ASGI server runs it, without a hop between threads for what is quick.

    POST /predict, plain images   -> quick.read -> turns: one call of the model for all of one turn of the event loop
    POST /predict, all else       -> a thread: Predictor.answer, as Flask's view calls it
    every other route             -> Flask; what has a body in a thread, /metrics in one of its own

A complete request that service/server/connection.py accepts comes to `predict` without a scope; all else comes by
`__call__`, as ASGI has it. A body is read before anything else happens, within its limit, so a client that sends slowly
costs nothing but its bytes. An answer is Flask's answer, byte for byte, errors and metrics included.
"""

import asyncio
import logging
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO, RawIOBase
from typing import Any

from flask import Flask

from service import responses
from service.app import ServiceContext
from service.errors import RequestError
from service.inference.batching import DynamicBatcher
from service.prediction import body_parser, fast_path
from service.prediction.predictor import encode_json, parse_query
from service.responses import JsonResponse
from service.server.request_body import BufferedBody, ClientDisconnected, Message, Receive, ReceiveBudget, StreamedBody

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]


class Application:
    """The ASGI application around a Flask application of `create_app`."""

    def __init__(self, flask: Flask) -> None:
        self.flask = flask
        self.service: ServiceContext = flask.extensions["digits"]
        self._settings = self.service.settings
        self._predictor, self._metrics = self.service.predictor, self.service.metrics
        self.limiter = self._predictor.limiter
        self._slow_requests = ThreadPoolExecutor(self._settings.threads, thread_name_prefix="long")
        self._metrics_requests = ThreadPoolExecutor(1, thread_name_prefix="scrape")  # which wait for no photograph
        self._receive_budget = ReceiveBudget(self._settings)
        self.batcher = DynamicBatcher(self._metrics.stage_completed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or follow the server's life, as https://asgi.readthedocs.io/en/stable/specs/ says."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        self.batcher.request_started()
        if scope["path"] == "/predict" and scope["method"] == "POST":
            upload = StreamedBody(receive, self._receive_budget)
            await self.predict(scope["headers"], scope["query_string"], upload, partial(_send, send))
        else:
            await self._call_flask(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            stage = (await receive())["type"]
            if stage == "lifespan.shutdown":
                self.service.close()
            await send({"type": f"{stage}.complete"})
            if stage == "lifespan.shutdown":
                return

    def rejection(self, seconds: float) -> JsonResponse:
        """The answer to a prediction that came while all places were taken, `seconds` ago; it is counted."""
        error = self.limiter.rejection()
        self._metrics.prediction_rejected(type(error).__name__)
        self._metrics.request_completed("/predict", "POST", error.status, seconds)
        return responses.response_for(error)

    async def predict(
        self,
        headers: Headers,
        query: bytes,
        upload: StreamedBody | BufferedBody,
        send: Callable[[JsonResponse], Awaitable[None]],
    ) -> None:
        """Answer POST /predict, whoever reads the request and sends the answer, and count it.

        Args:
            headers: names in small letters.
            query: the query string.
            upload: the body.
            send: called once, unless there is nobody to answer.
        """
        began = time.perf_counter()
        self._metrics.request_started()
        try:
            try:
                reply = await self._respond(headers, query, upload)
            except RequestError as error:
                self._metrics.prediction_rejected(type(error).__name__)
                reply = responses.response_for(error)
            except ClientDisconnected:
                return
            except Exception:  # as Flask does: a fault of ours is logged, and answered
                log.exception("Exception on /predict [POST]")
                reply = responses.error_response(500, responses.INTERNAL_ERROR)
            await send(reply)
            self._metrics.request_completed("/predict", "POST", reply.status, time.perf_counter() - began)
            self.batcher.spin_briefly()
        finally:
            self._metrics.request_finished()
        await upload.drain()

    async def _respond(self, headers: Headers, query: bytes, upload: StreamedBody | BufferedBody) -> JsonResponse:
        """The answer to POST /predict.

        Raises:
            RequestError: what is wrong with the request, or with the time of it.
            Gone: there is nobody to answer.
        """
        content_type = authorization = b""
        length = 0
        for name, value in headers:
            if name == b"content-type":
                content_type = value
            elif name == b"content-length":
                length = int(value)
            elif name == b"authorization":
                authorization = value
        self._predictor.check_key(authorization)
        body_parser.check_body_size(length, self._settings)
        body = await upload.read()
        self.limiter.acquire()
        try:
            return JsonResponse(200, await self._predict_body(body, content_type, query))
        finally:
            self.limiter.release()

    async def _predict_body(self, body: bytes, content_type: bytes, query: bytes) -> bytes:
        asked = parse_query(query)
        model = self.service.store.require_current()
        if asked.allows_fast_path:
            began = time.perf_counter()
            images = fast_path.try_read(body, content_type, self._settings)
            if images is not None:
                self._metrics.stage_completed("decode", time.perf_counter() - began)
                answers = await self.batcher.predict(model, images)
                began = time.perf_counter()
                encoded = encode_json(asked, model.version, answers)
                self._metrics.stage_completed("encode", time.perf_counter() - began)
                self._predictor.record(answers)
                return encoded
        loop = asyncio.get_running_loop()
        text = content_type.decode("latin-1")
        return await loop.run_in_executor(self._slow_requests, self._predictor.predict_json, body, text, query)

    async def _call_flask(self, scope: Scope, receive: Receive, send: Send) -> None:
        upload = StreamedBody(receive, self._receive_budget)
        upload.complete = scope["method"] not in {"POST", "PUT", "PATCH"}
        scrape = scope["path"] == "/metrics"
        takes_time = scrape or not upload.complete
        environ = build_environ(scope, b"")
        if not upload.complete:
            try:
                environ["wsgi.input"] = BytesIO(await upload.read())
            except RequestError as error:
                environ["wsgi.input"] = RejectedBody(error)
            except ClientDisconnected:
                return
        if takes_time:
            loop = asyncio.get_running_loop()
            threads = self._metrics_requests if scrape else self._slow_requests
            status, headers, answer = await loop.run_in_executor(threads, call_wsgi, self.flask, environ)
        else:
            status, headers, answer = call_wsgi(self.flask, environ)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})
        await upload.drain()


class RejectedBody(RawIOBase):
    """A body that was not read: the reason meets who tries to, and nobody else."""

    def __init__(self, reason: RequestError) -> None:
        self._reason = reason

    def readable(self) -> bool:
        """It may be tried."""
        return True

    def readinto(self, _: object) -> int:
        """Raise the reason."""
        raise self._reason


async def _send(send: Send, reply: JsonResponse) -> None:
    await send({"type": "http.response.start", "status": reply.status, "headers": responses.asgi_headers(reply)})
    await send({"type": "http.response.body", "body": reply.body})


def call_wsgi(flask: Flask, environ: dict[str, Any]) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Flask's answer: status, headers, body."""
    begun: list[Any] = []

    def start(status: str, headers: list[tuple[str, str]], _: object = None) -> Callable[[bytes], None]:
        begun[:] = int(status[:3]), [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        return lambda _: None

    parts: Iterable[bytes] = flask.wsgi_app(environ, start)
    body = b"".join(parts)
    close = getattr(parts, "close", None)
    if close:
        close()
    return begun[0], begun[1], body


def build_environ(scope: Scope, body: bytes) -> dict[str, Any]:
    """The request as WSGI has it (PEP 3333), with the body read."""
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
