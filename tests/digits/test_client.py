"""The client against a service that is played: what it sends, returns, repeats and raises."""

import asyncio
import pickle
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import numpy as np
import pytest

from digits import (
    AsyncClient,
    Busy,
    Client,
    DigitsError,
    InvalidAddress,
    InvalidResponse,
    Options,
    PictureRejected,
    RequestRejected,
    Retry,
    ServiceFailed,
    Unauthorised,
    Unreachable,
)
from digits.results import SplitPrediction
from tests.digits.replies import ROW, Replies, Reply, form_parts, predicted, refused, transport_of

QUICK = Retry(first_seconds=0.0)


def client(*replies: Reply, retry: Retry = QUICK, **options: Any) -> tuple[Client, Replies]:
    played = Replies(replies)
    return Client("http://service/prefix", retry=retry, transport=played.transport, **options), played


def test_a_picture_is_sent_as_a_form_and_read_as_a_prediction() -> None:
    digits, played = client(predicted(7), key="secret")
    with digits:
        found = digits.predict(b"abc")
    (request,) = played.requests
    assert str(request.url) == "http://service/prefix/predict"
    assert request.headers["authorization"] == "Bearer secret"
    assert form_parts(request) == [b"abc"]
    assert (found.digit, found.confidence, found.uncertain, found.version) == (7, 0.5, False, "5")
    assert found.probabilities == (0.1,) * 10
    assert found.digits is None


def test_a_hint_of_several_digits_is_kept() -> None:
    reply = httpx.Response(200, json={"version": "5", "predictions": [ROW | {"digits": 4}]})
    assert client(reply)[0].predict(b"abc").digits == 4


def test_split_returns_numbers_with_boxes() -> None:
    rows = [
        ROW | {"digit": digit, "picture": 1, "line": line, "box": [1, 2, 3, 4], "uncertain": digit == 9}
        for digit, line in [(1, 1), (2, 1), (9, 2)]
    ]
    digits, played = client(httpx.Response(200, json={"version": "5", "numbers": ["12", "9"], "predictions": rows}))
    found = digits.predict(b"abc", split=True, normalise="auto")
    assert dict(played.requests[0].url.params) == {"split": "digits", "normalise": "auto"}
    assert found.numbers == ("12", "9")
    assert found.digits[2].box == (1, 2, 3, 4)
    assert found.uncertain
    assert found.confidence == 0.5


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, PictureRejected),
        (401, Unauthorised),
        (404, RequestRejected),
        (413, PictureRejected),
        (422, PictureRejected),
        (500, ServiceFailed),
        (301, InvalidResponse),
    ],
)
def test_an_error_carries_the_sentence_and_the_status(status: int, kind: type[DigitsError]) -> None:
    digits, played = client(refused(status))
    with pytest.raises(kind, match=r"^the sentence$") as raised:
        digits.predict(b"abc")
    assert (raised.value.sentence, raised.value.status, raised.value.retry_after) == ("the sentence", status, None)
    assert len(played.requests) == 1
    assert pickle.loads(pickle.dumps(raised.value)).status == status  # noqa: S301


def test_a_response_of_something_else_is_quoted() -> None:
    with pytest.raises(ServiceFailed, match="status 502: <h1>Bad gateway</h1>"):
        client(httpx.Response(502, text="<h1>Bad\ngateway</h1>"), retry=Retry(attempts=1))[0].predict(b"abc")
    with pytest.raises(InvalidResponse, match="no JSON object, but 'hello'"):
        client(httpx.Response(200, text="hello"))[0].predict(b"abc")
    with pytest.raises(InvalidResponse, match="none of POST /predict"):
        client(httpx.Response(200, json={"version": "1"}))[0].predict(b"abc")
    with pytest.raises(InvalidResponse, match="2 predictions for 1 pictures"):
        client(predicted(1, 2))[0].predict(b"abc")
    with pytest.raises(InvalidResponse, match="'manifest' is missing"):
        client(httpx.Response(200, json={"version": "1", "runtime": "litert"}))[0].model()


@pytest.mark.parametrize("url", ["ftp://a", "127.0.0.1:8000", "http://", "http://a/?b=c"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InvalidAddress, match="expected: http://HOST:PORT"):
        Client(url)


def test_a_busy_service_is_asked_again_after_the_seconds_that_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    digits, played = client(refused(429, retry_after="2"), refused(503, retry_after="3"), refused(503), predicted(7))
    assert digits.predict(b"abc").digit == 7
    assert slept == [2, 3, 0]
    assert [form_parts(request) for request in played.requests] == [[b"abc"]] * 4


def test_a_wait_over_the_limit_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", None)
    with pytest.raises(Busy) as raised:
        client(refused(429, retry_after="61"))[0].predict(b"abc")
    assert raised.value.retry_after == 61


def test_attempts_are_bounded() -> None:
    digits, played = client(*[refused(429)] * 9)
    with pytest.raises(Busy):
        digits.predict(b"abc")
    assert len(played.requests) == 8


def test_a_lost_connection_is_tried_again_where_that_is_safe() -> None:
    lost, refused_connection = httpx.ReadError("lost"), httpx.ConnectError("refused")
    assert client(lost, lost, lost, predicted(7))[0].predict(b"abc").digit == 7
    client(refused_connection, refused(429), httpx.Response(201, json={}))[0].feedback(b"abc", 7)
    for reply, kind in ((lost, Unreachable), (httpx.ReadTimeout("late"), Unreachable), (refused(502), ServiceFailed)):
        digits, played = client(reply)
        with pytest.raises(kind):
            digits.feedback(b"abc", 7)
        assert len(played.requests) == 1


def test_an_unreachable_service_is_named() -> None:
    with pytest.raises(Unreachable, match=r"^http://service/prefix/ cannot be reached \(POST /predict: refused\)$"):
        client(*[httpx.ConnectError("refused")] * 4)[0].predict(b"abc")
    with pytest.raises(Unreachable, match="did not answer in time"):
        client(*[httpx.ReadTimeout("")] * 4)[0].predict(b"abc")


def digit_of(picture: bytes) -> list[int] | int:
    return 422 if picture == b"blank" else [int(picture)]


def test_many_pictures_come_in_their_order_and_share_requests() -> None:
    with Client(transport=transport_of(digit_of), connections=3) as digits:
        sources = [str(number % 10).encode() for number in range(100)]
        assert [found.digit for found in digits.predict_many(iter(sources))] == [int(source) for source in sources]
    digits, played = client(predicted(*range(16)), predicted(1), connections=1)
    assert len(list(digits.predict_many([b"1"] * 17))) == 17
    assert [len(form_parts(request)) for request in played.requests] == [16, 1]


def test_large_pictures_are_sent_alone() -> None:
    digits, played = client(predicted(1), predicted(2), connections=1)
    assert [found.digit for found in digits.predict_many([b"1" * 40_000, b"2" * 40_000])] == [1, 2]
    assert [len(form_parts(request)) for request in played.requests] == [1, 1]


@pytest.mark.parametrize("ordered", [True, False])
def test_a_bad_picture_does_not_harm_those_beside_it(*, ordered: bool) -> None:
    with Client(transport=transport_of(digit_of)) as digits:
        found = sorted(
            digits.try_predict_many([b"1", b"blank", "nothing.png", b"4"], Options(), ordered=ordered),
            key=lambda outcome: outcome.number,
        )
        texts = [str(result) if isinstance(result := outcome.result, DigitsError) else outcome for outcome in found]
        assert texts[1:3] == ["the sentence", "nothing.png cannot be read: No such file or directory"]
        assert [found[index].get().version for index in (0, 3)] == ["5", "5"]
        iterator = digits.predict_many([b"1", b"blank"])
        assert next(iterator).digit == 1
        with pytest.raises(PictureRejected, match=r"^picture 2: the sentence$"):
            next(iterator)


def test_an_error_of_every_picture_ends_the_iteration() -> None:
    digits, played = client(refused(401), connections=1)
    with pytest.raises(Unauthorised):
        list(digits.try_predict_many([b"1"] * 1000))
    assert len(played.requests) == 1


def test_images_in_bulk_are_sent_as_bytes_and_returned_as_arrays() -> None:
    images = np.zeros((5_001, 28, 28), np.uint8)

    def reply(request: httpx.Request) -> httpx.Response:
        assert request.headers["content-type"] == "application/octet-stream"
        assert request.url.params["fields"] == "digit,confidence"
        count = len(request.content) // 784
        return httpx.Response(200, json={"version": "5", "predictions": [{"digit": 3, "confidence": 0.25}] * count})

    with Client(transport=httpx.MockTransport(reply)) as digits:
        found = digits.predict_images(images)
    assert str(found.digits.dtype) == "uint8"
    assert found.digits.tolist() == [3] * 5_001
    assert str(found.confidences.dtype) == "float32"
    assert found.confidences.tolist() == [0.25] * 5_001
    assert found.version == "5"


def test_feedback_sends_what_is_known() -> None:
    digits, played = client(httpx.Response(201, json={"status": "kept"}))
    digits.feedback(b"abc", 7, predicted=1, version="5")
    assert played.requests[0].content == b'{"image": "YWJj", "digit": 7, "predicted": 1, "version": "5"}'


def test_health_and_model() -> None:
    manifest = {"name": "digits"}
    digits, _ = client(
        httpx.Response(200, json={}),
        refused(503, "no model is loaded"),
        httpx.Response(200, json={"version": "5", "runtime": "litert", "manifest": manifest}),
    )
    assert digits.health().ready
    assert (digits.health().ready, digits.model().manifest) == (False, manifest)


def run(function: Callable[[AsyncClient], Awaitable[Any]], *replies: Reply, **options: Any) -> Any:
    async def call() -> Any:
        async with AsyncClient("http://service", retry=QUICK, **options) as digits:
            return await function(digits)

    if replies:
        options["transport"] = Replies(replies).transport
    return asyncio.run(call())


def test_the_asynchronous_client_does_the_same() -> None:
    assert run(lambda digits: digits.predict(b"abc"), refused(429), httpx.ReadError("lost"), predicted(7)).digit == 7
    with pytest.raises(PictureRejected, match="the sentence"):
        run(lambda digits: digits.predict(b"abc"), refused(422))
    with pytest.raises(Unreachable):
        run(lambda digits: digits.feedback(b"abc", 7), httpx.ReadError("lost"))
    assert not run(lambda digits: digits.health(), refused(503)).ready

    async def many(digits: AsyncClient) -> list[int]:
        return [found.digit async for found in digits.predict_many(str(n % 10).encode() for n in range(100))]

    assert run(many, transport=transport_of(digit_of)) == [number % 10 for number in range(100)]

    async def bad(digits: AsyncClient) -> list[bool]:
        outcomes = digits.try_predict_many([b"1", b"blank", b"2"])
        return [isinstance(outcome.result, DigitsError) async for outcome in outcomes]

    assert run(bad, transport=transport_of(digit_of)) == [False, True, False]


def test_split_pictures_share_requests() -> None:
    rows = [ROW | {"digit": n, "picture": n, "line": 1, "box": [0, 0, 1, 1]} for n in (1, 2)]
    digits, _ = client(httpx.Response(200, json={"version": "5", "numbers": ["1", "2"], "predictions": rows}))
    found: list[SplitPrediction] = list(digits.predict_many([b"a", b"b"], split=True))
    assert [prediction.numbers for prediction in found] == [("1",), ("2",)]
