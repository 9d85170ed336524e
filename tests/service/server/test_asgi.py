"""WSGI and ASGI give the same responses, byte for byte, and the same metrics."""

import asyncio
import gzip
import json
import threading
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from flask.testing import FlaskClient

from service.inference.runtimes import LiteRT
from service.responses import HttpResponse
from service.server.asgi import Application
from service.server.request_body import MAX_BUFFERED_BODIES, StreamedBody
from service.types import Batch, Probabilities
from tests.conftest import Serve, service_of
from tests.exposition import samples
from tests.service.payloads import FORM, encode, form, idx3, json_of, stroke

Headers = dict[str, str]
Response = tuple[int, list[tuple[str, str]], bytes]
Step = Callable[[], Awaitable[dict[str, Any]]]

ONE = stroke()
PNG = {"Content-Type": "image/png"}


def scope(method: str, path: str, headers: Headers, query: str = "") -> dict[str, Any]:
    sent = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": sent,
        "http_version": "1.1",
        "scheme": "http",
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 1234),
    }


async def call(
    application: Application,
    sent: Iterable[bytes | dict[str, Any] | Step],
    request: dict[str, Any],
    sent_messages: asyncio.Queue[dict[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """Send a request in messages; returns those of the response. After an incomplete body the client disconnects."""
    pieces = list(sent)
    responses: list[dict[str, Any]] = []
    steps = iter(pieces)
    left = len(pieces)
    is_complete = not pieces or not isinstance(pieces[-1], dict)

    async def receive() -> dict[str, Any]:
        nonlocal left
        left -= 1
        if left < 0 and is_complete:
            await asyncio.Event().wait()  # the client waits for the response
        step = next(steps, {"type": "http.disconnect"})
        if callable(step):
            return await step()
        if isinstance(step, dict):
            return step
        return {"type": "http.request", "body": step, "more_body": left > 0}

    async def send(message: dict[str, Any]) -> None:
        responses.append(message)
        if sent_messages:
            sent_messages.put_nowait(message)

    await application(request, receive, send)  # type: ignore[arg-type]
    return responses


def undated(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The headers, with the time of the response left out: it may differ by a second."""
    return [(name, "" if name == "Date" else value) for name, value in headers]


def read(messages: list[dict[str, Any]]) -> Response:
    start, body = messages
    assert (start["type"], body["type"]) == ("http.response.start", "http.response.body")
    return start["status"], undated((name.decode(), value.decode()) for name, value in start["headers"]), body["body"]


class Request(NamedTuple):
    """A request, as both interfaces get it."""

    method: str
    path: str
    headers: Headers
    body: bytes = b""
    query: str = ""


def by_asgi(client: FlaskClient, request: Request) -> Response:
    length = {"Content-Length": str(len(request.body))} if request.body else {}
    requests_sent = scope(request.method, request.path, request.headers | length, request.query)
    return read(asyncio.run(call(Application(client.application), [request.body], requests_sent)))


def by_flask(client: FlaskClient, request: Request) -> Response:
    method, path, headers, body, query = request
    response = client.open(path, method=method, data=body or None, headers=headers, query_string=query)
    return response.status_code, undated(response.headers), response.data


def clockless_samples(client: FlaskClient) -> list[str]:
    """Every sample that does not depend on the clock."""
    lines = samples(client.get("/metrics").text)
    return [
        line for line in lines if "seconds_bucket" not in line and "seconds_sum" not in line and "timestamp" not in line
    ]


OCTETS = {"Content-Type": "application/octet-stream"}
JSON = {"Content-Type": "application/json"}
GZIP = {"Content-Encoding": "gzip"}


def predict(headers: Headers, body: bytes, query: str = "") -> Request:
    return Request("POST", "/predict", headers, body, query)


V2_INPUT = {"name": "images", "shape": [1, 784], "datatype": "UINT8", "data": ONE.reshape(-1).tolist()}
V2 = json.dumps({"id": "seven", "inputs": [V2_INPUT]}).encode()
REQUESTS = {
    "PNG": predict(PNG, encode(ONE)),
    "PNG that is normalised": predict(PNG, encode(255 - np.pad(ONE, 40))),
    "fields": predict(PNG, encode(ONE), "fields=digit"),
    "fields twice": predict(PNG, encode(ONE), "fields=digit%2Cconfidence&fields=digit"),
    "split": predict(PNG, encode(ONE), "split=digits&show=image"),
    "a field that is none": predict(PNG, encode(ONE), "fields=%C3%A9"),
    "an unknown key": predict(PNG, encode(ONE), "x=1&%FF"),
    "form": predict({"Content-Type": FORM}, form(encode(ONE), encode(ONE))),
    "form with a bad picture": predict({"Content-Type": FORM}, form(encode(ONE), b"?")),
    "JSON": predict(JSON, json_of(ONE, ONE)),
    "JSON that is none": predict(JSON, b"{"),
    "JSON, compressed": predict(JSON | GZIP, gzip.compress(json_of(ONE, ONE))),
    "bulk, compressed": predict(OCTETS | GZIP, gzip.compress(idx3(np.stack([ONE] * 20)))),
    "damaged compression": predict(JSON | GZIP, json_of(ONE)),
    "unknown compression": predict(JSON | {"Content-Encoding": "br"}, json_of(ONE)),
    "two content types": predict({"Content-Type": "image/png,image/png"}, encode(ONE)),
    "V2": Request("POST", "/v2/models/digits/infer", JSON, V2),
    "V2, compressed": Request("POST", "/v2/models/digits/infer", JSON | {"Accept-Encoding": "gzip"}, V2),
    "V2 of this version": Request("POST", "/v2/models/digits/versions/1/infer", {}, V2),
    "V2 of another version": Request("POST", "/v2/models/digits/versions/9/infer", {}, V2),
    "V2 of another model": Request("POST", "/v2/models/letters/infer", {}, V2),
    "V2 that is none": Request("POST", "/v2/models/digits/infer", {}, b"{}"),
    "bulk": predict(OCTETS, idx3(np.stack([ONE] * 700))),
    "bulk, digits alone": predict(OCTETS, idx3(np.stack([ONE] * 700)), "fields=digit"),
    "blank": predict(PNG, encode(ONE * 0)),
    "empty": predict(PNG, b""),
    "no type": predict({}, encode(ONE)),
    "too long": predict(PNG, bytes(20_001)),
    "too long, elsewhere": Request("POST", "/", {"Content-Type": FORM}, form(bytes(20_001))),
    "too long, nowhere": Request("POST", "/nowhere", PNG, bytes(20_001)),
    "the page": Request("GET", "/", {}),
    "the page's form": Request("POST", "/", {"Content-Type": FORM}, form(encode(ONE))),
    "other method": Request("PUT", "/predict", PNG | {"Host": "localhost"}, encode(ONE)),
    "not there": Request("GET", "/nowhere é", {}),
    "not there, with a body": Request("POST", "/nowhere", PNG, encode(ONE)),
    "healthz": Request("GET", "/healthz", {}),
    "readyz": Request("GET", "/readyz", {}),
    "model": Request("GET", "/model", {}),
    "options": Request("OPTIONS", "/predict", {}),
    "metrics of another method": Request("TRACE", "/metrics", {}),
    "redirect": Request("GET", "/report", {}),
}


@pytest.mark.parametrize("kind", REQUESTS)
def test_wsgi_and_asgi_respond_and_count_alike(serve: Serve, one_version: Path, kind: str) -> None:
    limit = 20_000 if kind.startswith("too long") else 1 << 20
    responses, counts = [], []
    for interface in (by_flask, by_asgi):
        client = serve(one_version, max_body_bytes=limit)
        responses.append(interface(client, REQUESTS[kind]))
        counts.append(clockless_samples(client))
    assert responses[0] == responses[1]
    assert counts[0] == counts[1]


@pytest.mark.parametrize("path", ["/digits/predict", "/predict", "/digits/digits/predict", "/digits"])
def test_wsgi_and_asgi_answer_with_the_prefix_and_without(serve: Serve, one_version: Path, path: str) -> None:
    client = serve(one_version, prefix="/digits")
    request = predict(PNG | {"X-Forwarded-For": "1.1.1.1"}, encode(ONE))._replace(path=path)
    assert by_asgi(client, request) == by_flask(client, request)
    assert by_asgi(client, request)[0] == (404 if path.count("digits") > 1 else 200)
    metrics = Request("GET", "/digits/metrics", {})
    assert by_asgi(client, metrics)[0] == 200


@pytest.mark.parametrize("origins", ["https://a.example http://b.example:81", "*"])
@pytest.mark.parametrize("origin", ["https://a.example", "https://other.example", "null", None])
def test_wsgi_and_asgi_allow_origins_alike(serve: Serve, one_version: Path, origins: str, origin: str | None) -> None:
    client = serve(one_version, cors_origins=origins, max_body_bytes=20_000)
    sent = {} if origin is None else {"Origin": origin}
    for name in ("PNG", "JSON that is none", "too long", "blank", "healthz", "model", "not there", "other method"):
        request = REQUESTS[name]
        request = request._replace(headers=request.headers | sent)
        assert by_asgi(client, request) == by_flask(client, request)
        found = dict(by_asgi(client, request)[1]).get("Access-Control-Allow-Origin")
        assert found == ("*" if origins == "*" else origin if origin and origin in origins else None)


@pytest.mark.parametrize("header", [None, "Bearer wrong", "Bearer é", "Bearer secret,Bearer secret", "Bearer secret"])
def test_wsgi_and_asgi_require_the_api_key(serve: Serve, one_version: Path, header: str | None) -> None:
    headers = PNG | ({} if header is None else {"Authorization": header})
    for path, method in (("/predict", "POST"), ("/model", "GET"), ("/healthz", "GET")):
        client = serve(one_version, api_key="secret")
        request = Request(method, path, headers, encode(ONE) if method == "POST" else b"")
        answer = by_asgi(client, request)
        assert answer == by_flask(client, request)
        assert answer[0] == (200 if header == "Bearer secret" or path == "/healthz" else 401)


@pytest.mark.parametrize("keys", [[b"Bearer secret"] * 2, [b"", b"Bearer secret"], [b"Bearer secret", b""]])
@pytest.mark.parametrize(("path", "method"), [("/predict", "POST"), ("/model", "GET")])
def test_two_keys_are_refused(serve: Serve, one_version: Path, keys: list[bytes], path: str, method: str) -> None:
    """gunicorn_compat.py refuses them before; under gunicorn's own worker the application has to."""
    client = serve(one_version, api_key="secret")
    sent = scope(method, path, PNG)
    sent["headers"] += [(b"authorization", key) for key in keys]
    body = encode(ONE) if method == "POST" else b""
    assert read(asyncio.run(call(Application(client.application), [body], sent)))[0] == 401


def test_a_compressed_body_is_predicted_as_the_body_is(serve: Serve, one_version: Path) -> None:
    client = serve(one_version)
    assert by_asgi(client, REQUESTS["JSON, compressed"]) == by_asgi(client, REQUESTS["JSON"])
    assert by_asgi(client, REQUESTS["damaged compression"])[0] == 400
    assert by_asgi(client, REQUESTS["unknown compression"])[0] == 415


def test_a_body_is_bounded_after_inflation(serve: Serve, one_version: Path) -> None:
    client = serve(one_version, max_body_bytes=20_000)
    status, _, body = by_asgi(client, predict(OCTETS | GZIP, gzip.compress(bytes(784 * 100))))
    sentence = "the body has more than 20000 bytes after inflation; 20000 are allowed"
    assert (status, json.loads(body)) == (413, {"error": sentence})


def test_without_a_model_both_respond_503(serve: Serve, models: Path) -> None:
    client = serve(models)
    assert by_asgi(client, REQUESTS["PNG"]) == by_flask(client, REQUESTS["PNG"])


class Exhausted:
    name = "exhausted"

    def __call__(self, batch: Batch) -> Probabilities:
        raise MemoryError(f"{len(batch)} images")


@pytest.mark.parametrize("kind", ["PNG", "PNG that is normalised", "the page's form"])
def test_a_memory_error_is_503_by_both(serve: Serve, one_version: Path, kind: str) -> None:
    responses = []
    for interface in (by_flask, by_asgi):
        client = serve(one_version)
        store = service_of(client).store
        assert store.current
        store.current = replace(store.current, runtime=Exhausted())
        responses.append(interface(client, REQUESTS[kind]))
        assert samples(client.get("/metrics").text, "digits_rejected_total") == [
            'digits_rejected_total{reason="out_of_memory"} 1.0'
        ]
    assert responses[0] == responses[1]
    assert (responses[0][0], dict(responses[0][1])["Retry-After"]) == (503, "1")


@pytest.mark.parametrize(("path", "status"), [("/predict", 503), ("/", 503), ("/nowhere", 404)])
def test_a_memory_error_while_a_body_arrives_is_503(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, path: str, status: int
) -> None:
    async def fail(_: StreamedBody) -> bytes:
        raise MemoryError

    monkeypatch.setattr(StreamedBody, "read", fail)
    found, headers, body = by_asgi(client, Request("POST", path, {"Content-Type": FORM}, form(encode(ONE))))
    assert (found, "Retry-After" in dict(headers)) == (status, status == 503)
    assert (b"the service has no memory left for this request; send it again" in body) == (status == 503)


class Counted:
    """A runtime that records how many images each call had, and may fail."""

    name = "counted"

    def __init__(self, runtime: LiteRT, *, fails: bool = False) -> None:
        self.runtime, self.fails = runtime, fails
        self.calls: list[int] = []

    def __call__(self, batch: Batch) -> Probabilities:
        self.calls.append(len(batch))
        if self.fails:
            raise RuntimeError("out of memory")
        return self.runtime(batch)


def counted(client: FlaskClient, *, fails: bool = False) -> Counted:
    store = service_of(client).store
    assert store.current
    assert isinstance(store.current.runtime, LiteRT)
    runtime = Counted(store.current.runtime, fails=fails)
    store.current = replace(store.current, runtime=runtime)
    return runtime


def test_concurrent_requests_share_a_batch_and_get_their_own_predictions(client: FlaskClient) -> None:
    pictures = np.stack([ONE] * 12)
    pictures[np.arange(12), 6 + np.arange(12), 13] = 100  # each another one, in the form that passes unchanged
    bodies = [encode(picture) for picture in pictures]
    headers = [PNG] * 12
    bodies[5], headers[5] = form(*bodies[:3]), {"Content-Type": FORM}
    alone = [by_flask(client, predict(head, body)) for head, body in zip(headers, bodies, strict=True)]
    runtime = counted(client)
    application = Application(client.application)

    async def together() -> list[list[dict[str, Any]]]:
        requests = [scope("POST", "/predict", head) for head in headers]
        requests_sent = [call(application, [body], request) for body, request in zip(bodies, requests, strict=True)]
        return await asyncio.gather(*requests_sent)

    responses = [read(messages) for messages in asyncio.run(together())]
    assert runtime.calls == [1, 13]
    for (status, _, body), (expected_status, _, expected) in zip(responses, alone, strict=True):
        assert status == expected_status == 200
        assert close(body, expected)


def close(body: bytes, expected: bytes) -> bool:
    """The same digits; floats as the same network gives them in batches of another size."""
    found, wanted = (json.loads(text)["predictions"] for text in (body, expected))
    return len(found) == len(wanted) and all(
        a["digit"] == b["digit"] and np.allclose(a["probabilities"], b["probabilities"], atol=1e-6)
        for a, b in zip(found, wanted, strict=True)
    )


def test_an_exception_of_the_model_is_500_for_each_request_of_the_batch(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    counted(client, fails=True)
    application = Application(client.application)

    async def together() -> list[list[dict[str, Any]]]:
        return await asyncio.gather(
            *(call(application, [encode(ONE)], scope("POST", "/predict", PNG)) for _ in range(3))
        )

    for messages in asyncio.run(together()):
        status, _, body = read(messages)
        assert (status, body) == (500, b'{"error":"internal error; the log of the service has the traceback"}\n')
    assert [record.exc_info is not None for record in caplog.records] == [True] * 3
    assert "digits_in_flight_requests 1.0" in client.get("/metrics").text


def test_requests_over_the_limit_are_rejected_and_later_ones_accepted(serve: Serve, one_version: Path) -> None:
    client = serve(one_version, max_in_flight=2)
    application = Application(client.application)

    async def together() -> list[int]:
        requests_sent = (call(application, [encode(ONE)], scope("POST", "/predict", PNG)) for _ in range(5))
        return [read(messages)[0] for messages in await asyncio.gather(*requests_sent)]

    assert asyncio.run(together()) == [200, 200, 200, 429, 429]  # the first was run unbatched, and is done
    assert asyncio.run(together()) == [200, 200, 429, 429, 429]
    assert 'digits_rejected_total{reason="too_many_requests"} 5.0' in client.get("/metrics").text


def test_a_body_in_several_messages_is_one_body(client: FlaskClient) -> None:
    body = encode(ONE)
    pieces = [body[:7], b"", body[7:100], body[100:]]
    answer = read(asyncio.run(call(Application(client.application), pieces, scope("POST", "/predict", PNG))))
    assert answer == by_flask(client, predict(PNG, body))


def test_a_body_without_a_length_is_rejected_at_the_limit(serve: Serve, one_version: Path) -> None:
    client = serve(one_version, max_body_bytes=1000)
    taken = []

    def pieces() -> Iterable[bytes]:
        for number in range(1000):
            taken.append(number)
            yield bytes(300)

    application = Application(client.application)
    endless = ({"type": "http.request", "body": piece, "more_body": True} for piece in pieces())

    async def until_rejected() -> list[dict[str, Any]]:
        responses: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            await asyncio.sleep(0)
            return next(endless) if not responses else {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            responses.append(message)

        await application(scope("POST", "/predict", PNG), receive, send)  # type: ignore[arg-type]
        return responses

    status, _, body = read(asyncio.run(until_rejected()))
    assert (status, body) == (413, b'{"error":"the body has more than 1000 bytes; 1000 are allowed"}\n')
    assert len(taken) == 4


def test_arriving_bodies_are_limited_together(serve: Serve, one_version: Path) -> None:
    client = serve(one_version, max_body_bytes=100_000)
    application = Application(client.application)

    async def concurrent_requests() -> list[int]:
        go_on, sent_messages = asyncio.Event(), asyncio.Queue[dict[str, Any]]()

        async def wait() -> dict[str, Any]:
            await go_on.wait()
            return {"type": "http.request", "body": b"", "more_body": False}

        sent: list[Any] = [{"type": "http.request", "body": bytes(90_000), "more_body": True}, wait]
        request = scope("POST", "/predict", OCTETS)
        concurrent_requests = asyncio.gather(
            *(call(application, sent, request, sent_messages) for _ in range(MAX_BUFFERED_BODIES + 2))
        )
        while (await sent_messages.get())["type"] != "http.response.body":
            pass
        go_on.set()
        return sorted(read(messages)[0] for messages in await concurrent_requests)

    assert asyncio.run(concurrent_requests()) == [400] * MAX_BUFFERED_BODIES + [429] * 2


def test_a_client_that_disconnects_gets_no_response_and_is_not_counted(client: FlaskClient) -> None:
    gone = {"type": "http.disconnect"}
    first = {"type": "http.request", "body": b"x", "more_body": True}
    concurrent_requests: list[list[Any]] = [[gone], [first, gone]]
    for sent in concurrent_requests:
        assert asyncio.run(call(Application(client.application), sent, scope("POST", "/predict", PNG))) == []
    text = client.get("/metrics").text
    assert "digits_in_flight_requests 1.0" in text
    assert 'route="/predict"' not in text


def test_a_body_that_does_not_arrive_in_time_is_408(serve: Serve, one_version: Path) -> None:
    client = serve(one_version, receive_timeout_seconds=1)

    async def never() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    sent: list[Any] = [{"type": "http.request", "body": b"x", "more_body": True}, never, {"type": "http.disconnect"}]
    status, _, body = read(asyncio.run(call(Application(client.application), sent, scope("POST", "/predict", PNG))))
    assert (status, body) == (408, b'{"error":"the body did not arrive within 1 seconds"}\n')


def test_the_lifespan_starts_and_stops(client: FlaskClient) -> None:
    application = Application(client.application)

    async def live() -> list[dict[str, Any]]:
        steps = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
        return await call(application, steps, {"type": "lifespan"})

    assert [message["type"] for message in asyncio.run(live())] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]


def test_metrics_are_served_while_all_slow_requests_are_busy(
    serve: Serve, one_version: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve(one_version, threads=1)
    application = Application(client.application)
    release, entered = threading.Event(), threading.Event()

    def block(*_: object) -> HttpResponse:
        entered.set()
        assert release.wait(20)
        return HttpResponse(200, b"{}")

    monkeypatch.setattr(service_of(client).predictor, "respond", block)

    async def scenario() -> tuple[int, int]:
        slow = asyncio.ensure_future(call(application, [bytes(17 * 784)], scope("POST", "/predict", OCTETS)))
        await asyncio.get_running_loop().run_in_executor(None, entered.wait, 20)
        try:
            metrics = await asyncio.wait_for(call(application, [], scope("GET", "/metrics", {})), 20)
        finally:
            release.set()
        return read(metrics)[0], read(await slow)[0]

    assert asyncio.run(scenario()) == (200, 200)


def test_a_websocket_is_closed_before_it_is_accepted(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    handshake = {"type": "websocket", "path": "/predict", "headers": [], "query_string": b""}
    messages = asyncio.run(call(Application(client.application), [{"type": "websocket.connect"}], handshake))
    assert messages == [{"type": "websocket.close"}]
    assert caplog.records == []
