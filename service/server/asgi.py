"""The application through ASGI: cheap requests are handled in the event loop, without a change of thread.

    predict request, cheap to parse   -> InferenceProtocol.read_fast -> DynamicBatcher
    predict request, plain bulk       -> a thread: Predictor.respond, as the Flask view calls it
    predict request, everything else  -> BodyParser, under gunicorn a ParserPool -> DynamicBatcher, or a thread
    every other route                 -> Flask; in other threads if there is a body, /metrics in a thread of its own

A predict request is a POST of a route of service/protocols: /predict, or one of another protocol.

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
from service.cors import allow_origin
from service.errors import RequestError
from service.inference.batching import DynamicBatcher
from service.inference.model import Model
from service.prediction.body_parser import ParsedBody
from service.prediction.concurrency import WaitingLimiter
from service.prediction.fast_path import MAX_IMAGES
from service.prediction.predictor import build_result
from service.prediction.protocol import FastBody, PredictRequest, RequestHead
from service.protocols import Endpoint, find_endpoint
from service.responses import INTERNAL_ERROR, HttpResponse, asgi_headers, error_response
from service.server.asgi_types import Headers, Receive, Scope, Send
from service.server.request_body import BufferedBody, ClientDisconnected, ReceiveBudget, StreamedBody
from service.server.wsgi_bridge import RejectedBody, build_environ, call_wsgi
from service.web.prefix import remove_prefix

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
        endpoint = find_endpoint(self._route(scope)) if scope["method"] == "POST" else None
        if endpoint:
            body = StreamedBody(receive, self._receive_budget)
            await self.predict(endpoint, scope["headers"], scope["query_string"], body, partial(_send, send))
        else:
            await self._call_flask(scope, receive, send)

    def _route(self, scope: Scope) -> str:
        return remove_prefix(scope["path"], self.context.settings.prefix)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            stage = (await receive())["type"]
            if stage == "lifespan.shutdown":
                self.context.close()
            await send({"type": f"{stage}.complete"})
            if stage == "lifespan.shutdown":
                return

    def reject(self, endpoint: Endpoint, seconds: float) -> HttpResponse:
        """Count and return the 429 for a prediction that arrived `seconds` ago, when the limit was reached."""
        response = self._admission.reject(self.limiter.rejection())
        self._metrics.request_completed(endpoint.route, "POST", response.status, seconds)
        return response

    async def predict(
        self,
        endpoint: Endpoint,
        headers: Headers,
        query: bytes,
        body: StreamedBody | BufferedBody,
        send: Callable[[HttpResponse], Awaitable[None]],
    ) -> None:
        """Handle a predict request, and count it.

        Args:
            endpoint: the route of the request.
            headers: names in small letters.
            query: the raw query string.
            body: the body, complete or still arriving.
            send: called once, unless the client has disconnected.
        """
        started = time.perf_counter()
        self._metrics.request_started()
        try:
            try:
                response = await self._respond(endpoint, headers, query, body)
            except (RequestError, MemoryError) as error:
                response = self._admission.reject(error)
            except ClientDisconnected:
                return
            except Exception:  # as Flask does: log the exception, and respond
                log.exception("Exception on %s [POST]", endpoint.route)
                response = error_response(500, INTERNAL_ERROR)
            if self.context.cors_origins:
                origin = dict(headers).get(b"origin", b"").decode("latin-1")
                granted = allow_origin(self.context.cors_origins, origin)
                response = response._replace(headers=(*granted, *response.headers))
            await send(response)
            self._metrics.request_completed(endpoint.route, "POST", response.status, time.perf_counter() - started)
            self.batcher.spin_briefly()
        finally:
            self._metrics.request_finished()
            body.release()
        await body.drain()

    async def _respond(
        self, endpoint: Endpoint, headers: Headers, query: bytes, body: StreamedBody | BufferedBody
    ) -> HttpResponse:
        """The response to a predict request.

        Raises:
            RequestError: the request is wrong, or cannot be handled now.
            ClientDisconnected: there is no client to respond to.
        """
        head = RequestHead.from_headers(headers)
        self._admission.check(head.authorization, head.content_length)
        received = await body.read()
        request = endpoint.parse_request(head, query)
        model = self._predictor.require_model(request)
        fast = self._predictor.read_fast(request, received)
        if fast is None:
            return await body.cancel_on_disconnect(self._respond_slowly(request, received))
        with self.limiter:
            return await self._predict_batched(model, request, fast.images, fast)

    async def _respond_slowly(self, request: PredictRequest, body: bytes) -> HttpResponse:
        """Respond to what the fast path does not read, in a task; of each kind, a part of the limit leaves the rest."""
        if self._predictor.is_plain_bulk(request, body):
            async with self._bulk_queue:
                with self.limiter:
                    return await self._in_thread(self._predictor.respond, request, body)
        async with self._picture_queue:
            with self.limiter:
                return await self._predict_pictures(request, body)

    async def _predict_pictures(self, request: PredictRequest, body: bytes) -> HttpResponse:
        parsed = await self._predictor.parse(request, body)
        if len(parsed.images) > MAX_IMAGES:
            return await self._in_thread(self._predictor.respond_parsed, request, parsed)
        model = self._predictor.require_model(request)
        return await self._predict_batched(model, request, parsed.images.tobytes(), parsed)

    async def _in_thread(self, call: Callable[..., HttpResponse], *arguments: object) -> HttpResponse:
        return await asyncio.get_running_loop().run_in_executor(self._slow_requests, call, *arguments)

    async def _predict_batched(
        self, model: Model, request: PredictRequest, images: bytes, parsed: ParsedBody | FastBody
    ) -> HttpResponse:
        """Predict N x 784 bytes together with other requests."""
        result = build_result(request, model.version, await self.batcher.predict(model, images), parsed)
        response = self._predictor.encode(result)
        self._predictor.record(result)
        return response

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
        if self._route(scope) == "/metrics":
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


async def _send(send: Send, response: HttpResponse) -> None:
    await send({"type": "http.response.start", "status": response.status, "headers": asgi_headers(response)})
    await send({"type": "http.response.body", "body": response.body})
