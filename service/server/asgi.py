"""The application through ASGI: cheap requests are handled in the event loop, without a change of thread.

    POST /predict, cheap to parse   -> fast_path -> DynamicBatcher
    POST /predict, plain bulk       -> a thread: Predictor.predict_json, as the Flask view calls it
    POST /predict, everything else  -> BodyParser, under gunicorn a process of ParserPool -> DynamicBatcher, or a thread
    every other route               -> Flask; in other threads if there is a body, /metrics in a thread of its own

service/server/connection.py calls `predict` for a complete request without building a scope; every other request
comes by `__call__`. A body is received before anything else happens, within its limits, so a client that sends slowly
occupies nothing but memory. Responses are those of Flask, byte for byte, errors and metrics included.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from math import ceil
from typing import Any

from flask import Flask

from service.context import ServiceContext
from service.errors import RequestError
from service.inference.batching import DynamicBatcher
from service.inference.model import Model
from service.prediction.body_parser import ParsedBody, is_plain_bulk
from service.prediction.concurrency import WaitingLimiter
from service.prediction.fast_path import MAX_IMAGES
from service.prediction.options import PredictOptions, parse_query
from service.prediction.predictor import build_result
from service.responses import INTERNAL_ERROR, JsonResponse, asgi_headers, error_response
from service.server.asgi_types import Headers, Receive, Scope, Send
from service.server.request_body import BufferedBody, ClientDisconnected, ReceiveBudget, StreamedBody
from service.server.wsgi_bridge import RejectedBody, build_environ, call_wsgi

log = logging.getLogger(__name__)

FlaskResponse = tuple[int, list[tuple[bytes, bytes]], bytes]
MAX_WAIT_SECONDS = 10.0
"""How long a slow request waits for others of its kind; then it is rejected."""
MAX_WAITING = 4
"""Forms and feedback that wait, for each of their threads."""


class Application:
    """The ASGI application around a Flask application of `create_app`."""

    def __init__(self, flask: Flask) -> None:
        context: ServiceContext = flask.extensions["digits"]
        self.flask, self.context = flask, context
        self._metrics, self._predictor, self._admission = context.metrics, context.predictor, context.admission
        self.limiter = self._admission.limiter
        self.batcher = DynamicBatcher(self._metrics.inference_completed)
        self._slow_requests = ThreadPoolExecutor(context.settings.threads, thread_name_prefix="slow-request")
        # Forms and feedback have threads of their own, so that bulk predictions do not wait for them.
        self._web_requests = ThreadPoolExecutor(context.settings.threads, thread_name_prefix="web-request")
        limit, threads = context.settings.max_in_flight, context.settings.threads
        self._picture_queue = WaitingLimiter(ceil(limit / 2), limit, MAX_WAIT_SECONDS, "requests with pictures")
        self._bulk_queue = WaitingLimiter(ceil(limit / 4), limit, MAX_WAIT_SECONDS, "bulk requests")
        self._web_queue = WaitingLimiter(threads, MAX_WAITING * threads, MAX_WAIT_SECONDS, "forms and feedback")
        self._metrics_requests = ThreadPoolExecutor(1, thread_name_prefix="metrics")
        self._receive_budget = ReceiveBudget(context.settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request or the lifespan of the server (https://asgi.readthedocs.io/en/stable/specs/)."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})  # before it is accepted: the client gets 403
            return
        if scope["path"] == "/predict" and scope["method"] == "POST":
            body = StreamedBody(receive, self._receive_budget)
            await self.predict(scope["headers"], scope["query_string"], body, partial(_send, send))
        else:
            await self._call_flask(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            stage = (await receive())["type"]
            if stage == "lifespan.shutdown":
                self.context.close()
            await send({"type": f"{stage}.complete"})
            if stage == "lifespan.shutdown":
                return

    def reject(self, seconds: float) -> JsonResponse:
        """Count and return the 429 for a prediction that arrived `seconds` ago, when the limit was reached."""
        response = self._admission.reject(self.limiter.rejection())
        self._metrics.request_completed("/predict", "POST", response.status, seconds)
        return response

    async def predict(
        self,
        headers: Headers,
        query: bytes,
        body: StreamedBody | BufferedBody,
        send: Callable[[JsonResponse], Awaitable[None]],
    ) -> None:
        """Handle POST /predict, and count it.

        Args:
            headers: names in small letters.
            query: the raw query string.
            body: the body, complete or still arriving.
            send: called once, unless the client has disconnected.
        """
        started = time.perf_counter()
        self._metrics.request_started()
        try:
            try:
                response = JsonResponse(200, await self._respond(headers, query, body))
            except (RequestError, MemoryError) as error:
                response = self._admission.reject(error)
            except ClientDisconnected:
                return
            except Exception:  # as Flask does: log the exception, and respond
                log.exception("Exception on /predict [POST]")
                response = error_response(500, INTERNAL_ERROR)
            await send(response)
            self._metrics.request_completed("/predict", "POST", response.status, time.perf_counter() - started)
            self.batcher.spin_briefly()
        finally:
            self._metrics.request_finished()
            body.release()
        await body.drain()

    async def _respond(self, headers: Headers, query: bytes, body: StreamedBody | BufferedBody) -> bytes:
        """The JSON response to POST /predict.

        Raises:
            RequestError: the request is wrong, or cannot be handled now.
            ClientDisconnected: there is no client to respond to.
        """
        content_type = b""
        authorization: bytes | None = None
        length = 0
        for name, value in headers:
            if name == b"content-type":
                content_type = value
            elif name == b"content-length":
                length = int(value)
            elif name == b"authorization":
                authorization = value if authorization is None else authorization + b"," + value  # two match no key
        self._admission.check(authorization or b"", length)
        received = await body.read()
        options = parse_query(query)
        model = self.context.store.require_current()
        images = self._predictor.read_fast(received, content_type, options)
        if images is None:
            return await body.cancel_on_disconnect(
                self._predict_slowly(received, content_type.decode("latin-1"), query)
            )
        with self.limiter:
            return await self._predict_batched(model, options, images)

    async def _predict_slowly(self, body: bytes, content_type: str, query: bytes) -> bytes:
        """Predict what the fast path does not read, in a task; of each kind, a part of the limit leaves the rest."""
        options = parse_query(query)
        if is_plain_bulk(content_type, options.normalise):
            async with self._bulk_queue:
                with self.limiter:
                    return await self._in_thread(self._predictor.predict_json, body, content_type, query)
        async with self._picture_queue:
            with self.limiter:
                return await self._predict_pictures(body, content_type, options)

    async def _predict_pictures(self, body: bytes, content_type: str, options: PredictOptions) -> bytes:
        parsed = await self._predictor.parse(body, content_type, options)
        if len(parsed.images) > MAX_IMAGES:
            return await self._in_thread(self._predictor.predict_parsed_json, parsed, options)
        model = self.context.store.require_current()
        return await self._predict_batched(model, options, parsed.images.tobytes(), parsed)

    async def _in_thread(self, call: Callable[..., bytes], *arguments: object) -> bytes:
        return await asyncio.get_running_loop().run_in_executor(self._slow_requests, call, *arguments)

    async def _predict_batched(
        self, model: Model, options: PredictOptions, images: bytes, parsed: ParsedBody | None = None
    ) -> bytes:
        """Predict N x 784 bytes together with other requests."""
        result = build_result(options, model.version, await self.batcher.predict(model, images), parsed)
        encoded = self._predictor.encode(result)
        self._predictor.record(result)
        return encoded

    async def _call_flask(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = StreamedBody(receive, self._receive_budget)
        body.complete = scope["method"] not in {"POST", "PUT", "PATCH"}
        try:
            status, headers, content = await self._flask_response(scope, body)
        except ClientDisconnected:
            return
        finally:
            body.release()
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})
        await body.drain()

    async def _flask_response(self, scope: Scope, body: StreamedBody) -> FlaskResponse:
        self.context.parser.attach(asyncio.get_running_loop())
        environ = build_environ(scope, b"")
        if scope["path"] == "/metrics":
            return await self._call_in_thread(self._metrics_requests, environ)
        if body.complete:
            return call_wsgi(self.flask, environ)
        try:
            environ["wsgi.input"] = BytesIO(await body.read())
            return await body.cancel_on_disconnect(self._call_in_line(environ))
        except (RequestError, MemoryError) as error:
            environ["wsgi.input"] = RejectedBody(error)
            return call_wsgi(self.flask, environ)

    async def _call_in_line(self, environ: dict[str, Any]) -> FlaskResponse:
        async with self._web_queue:
            return await self._call_in_thread(self._web_requests, environ)

    async def _call_in_thread(self, threads: ThreadPoolExecutor, environ: dict[str, Any]) -> FlaskResponse:
        return await asyncio.get_running_loop().run_in_executor(threads, call_wsgi, self.flask, environ)


async def _send(send: Send, response: JsonResponse) -> None:
    await send({"type": "http.response.start", "status": response.status, "headers": asgi_headers(response)})
    await send({"type": "http.response.body", "body": response.body})
