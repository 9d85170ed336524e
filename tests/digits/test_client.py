"""The synchronous client: what it sends, what it returns and raises, and when it tries again."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import httpx
import numpy as np
import pytest

from digits import (
    Client,
    DigitsError,
    InvalidResponse,
    NotReady,
    Prediction,
    RequestRejected,
    Retries,
    ServiceFailed,
    ServiceUnreachable,
    TooBusy,
    Unauthorised,
)
from tests.digits.scripted_service import (
    PREDICTION,
    PROBABILITIES,
    Outcome,
    ScriptedService,
    pictures_of,
    png,
    predictions,
    reject,
)

BUSY = {"Retry-After": "3"}


@pytest.fixture
def sleeps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of each pause, which are not waited."""
    found: list[float] = []

    class NeverSet(Event):
        def wait(self, timeout: float | None = None) -> bool:
            found.append(timeout or 0.0)
            return False

    monkeypatch.setattr("digits.client.Event", NeverSet)
    return found


def connect(*script: Outcome, key: str | None = None, retries: Retries | None = None) -> tuple[Client, ScriptedService]:
    service = ScriptedService(*script)
    return Client("http://digits.test/at/", key=key, retries=retries, transport=service), service


def test_a_picture_is_the_body_of_one_request() -> None:
    client, service = connect(key="secret")
    assert client.predict(png(7)) == Prediction(
        digit=7, confidence=0.91, uncertain=False, probabilities=tuple(PROBABILITIES), version="7"
    )
    (request,) = service.requests
    assert (request.method, str(request.url)) == ("POST", "http://digits.test/at/predict")
    assert request.headers["Content-Type"] == "image/png"
    assert request.headers["Authorization"] == "Bearer secret"
    assert request.content == png(7)


def test_a_path_and_an_array_are_pictures(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(3))
    client, service = connect()
    assert client.predict(tmp_path / "a.png").digit == client.predict(str(tmp_path / "a.png")).digit == 3
    client.predict(np.full((28, 28), ord("1"), np.uint8))
    assert service.requests[-1].headers["Content-Type"] == "application/octet-stream"
    assert service.requests[-1].content == b"1" * 784


def test_several_digits_are_a_hint() -> None:
    row = PREDICTION | {"uncertain": True, "digits": 4}
    client, _ = connect(httpx.Response(200, json={"version": "7", "predictions": [row]}))
    assert client.predict(png(1)).digits == 4


def test_split_returns_lines_with_boxes() -> None:
    rows = [
        PREDICTION | {"digit": digit, "picture": 1, "line": line, "box": [digit, 0, digit + 1, 9]}
        for digit, line in ((4, 1), (2, 1), (7, 2))
    ]
    client, service = connect(httpx.Response(200, json={"version": "7", "numbers": ["42", "7"], "predictions": rows}))
    first, second = client.predict(png(1), split=True, normalise="always")
    assert (first.text, second.text) == ("42", "7")
    assert first.digits[1].box == (2, 0, 3, 9)
    assert first.confidence == 0.91
    assert dict(service.requests[0].url.params) == {"split": "digits", "normalise": "always"}


def test_many_pictures_are_sent_together_and_returned_in_order() -> None:
    client, service = connect()
    found = list(client.predict_many(png(number % 10) for number in range(40)))
    assert [one.digit for one in found if isinstance(one, Prediction)] == [number % 10 for number in range(40)]
    assert sorted(len(pictures_of(request)) for request in service.requests) == [8, 16, 16]


def test_one_bad_picture_of_many_has_an_error_and_the_others_have_predictions() -> None:
    client, _ = connect()
    found = list(client.predict_many([png(1), png("x"), png(2)]))
    assert [one.digit if isinstance(one, Prediction) else one.sentence for one in found] == [1, "there is no digit", 2]


def test_a_wrong_key_ends_many_pictures() -> None:
    client, service = connect(reject(401))
    with pytest.raises(Unauthorised):
        list(client.predict_many([png(1), png(2)]))
    assert len(service.requests) == 1


def test_an_array_is_sent_in_bulk_with_the_wanted_fields() -> None:
    client, service = connect(*(predictions(*([1] * 10_000)) for _ in range(1)), predictions(2, 3))
    found = client.predict_array(np.zeros((10_002, 28, 28), np.uint8), fields=["digit", "probabilities"])
    assert found.digits == (1,) * 10_000 + (2, 3)
    assert found.version == "7"
    assert len(found.probabilities) == 10_002
    assert found.confidences == ()
    assert [len(request.content) for request in service.requests] == [7_840_000, 1568]
    assert service.requests[0].url.params["fields"] == "digit,probabilities"


def test_an_array_is_predicted_by_one_version() -> None:
    other = httpx.Response(200, json={"version": "8", "predictions": [PREDICTION]})
    client, _ = connect(predictions(*([1] * 10_000)), other)
    with pytest.raises(DigitsError, match="changed its version during the call: 7, 8"):
        client.predict_array(np.zeros((10_001, 784), np.uint8))


def test_an_unknown_field_is_named() -> None:
    client, service = connect()
    with pytest.raises(ValueError, match="fields has 'number'; allowed: digit, confidence"):
        client.predict_array(np.zeros((1, 784), np.uint8), fields=["number"])  # type: ignore[list-item]
    assert service.requests == []


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RequestRejected),
        (401, Unauthorised),
        (403, Unauthorised),
        (404, RequestRejected),
        (422, RequestRejected),
        (429, TooBusy),
        (500, ServiceFailed),
        (503, NotReady),
    ],
)
def test_errors_carry_sentence_status_and_retry_after(status: int, kind: type[DigitsError]) -> None:
    client, _ = connect(reject(status, "this is why", **BUSY), retries=Retries(attempts=1))
    with pytest.raises(kind) as caught:
        client.predict(png(1))
    assert type(caught.value) is kind
    assert (str(caught.value), caught.value.status, caught.value.retry_after) == ("this is why", status, 3)


@pytest.mark.parametrize(
    ("response", "sentence"),
    [
        (httpx.Response(200, text="<html>"), "no JSON object"),
        (httpx.Response(200, json={"predictions": [{}]}), "JSON that is none of Digits"),
        (httpx.Response(301, headers={"Location": "https://digits.test/"}), "redirects to https://digits.test/"),
    ],
)
def test_responses_of_other_servers_are_reported(response: httpx.Response, sentence: str) -> None:
    client, _ = connect(response)
    with pytest.raises(InvalidResponse, match=sentence):
        client.predict(png(1))


def test_a_file_of_many_images_is_no_picture() -> None:
    client, _ = connect(predictions(1, 2))
    with pytest.raises(RequestRejected, match="1 pictures were sent, and 2 predicted"):
        client.predict(png(1))
    client, _ = connect(predictions(1, 2, 3), predictions(1), predictions(2, 3))
    found = list(client.predict_many([png(1), png(2)]))
    assert [type(one) for one in found] == [Prediction, RequestRejected]


def test_an_error_without_a_sentence_is_described() -> None:
    client, _ = connect(httpx.Response(404, text="nothing"))
    with pytest.raises(RequestRejected, match=r"http://digits\.test/at/predict responds with 404 Not Found"):
        client.predict(png(1))


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_service_is_waited_for_as_it_asks(status: int, sleeps: list[float]) -> None:
    client, service = connect(reject(status, **BUSY), reject(status, **BUSY))
    assert client.predict(png(5)).digit == 5
    assert len(service.requests) == 3
    assert len(sleeps) == 2
    assert all(3 <= seconds < 4 for seconds in sleeps)


def test_retries_are_bounded_by_attempts(sleeps: list[float]) -> None:
    client, service = connect(*[reject(429)] * 9, retries=Retries(attempts=4))
    with pytest.raises(TooBusy):
        client.predict(png(5))
    assert len(service.requests) == 4
    assert len(sleeps) == 3


def test_retries_are_bounded_by_seconds(sleeps: list[float]) -> None:
    client, service = connect(*[reject(429, **BUSY)] * 9, retries=Retries(attempts=9, max_seconds=7))
    with pytest.raises(TooBusy):
        client.predict(png(5))
    assert len(service.requests) == 3
    assert len(sleeps) == 2


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError, httpx.WriteError])
def test_a_prediction_is_sent_again_after_a_lost_connection(
    error: type[httpx.TransportError], sleeps: list[float]
) -> None:
    client, service = connect(error, error)
    assert client.predict(png(5)).digit == 5
    assert len(service.requests) == 3
    assert len(sleeps) == 2


def test_feedback_is_sent_again_only_if_the_service_did_not_receive_it(sleeps: list[float]) -> None:
    client, service = connect(httpx.ConnectError, reject(503), httpx.Response(201, json={}))
    client.feedback(png(5), 5, predicted=3, version="7")
    assert len(service.requests) == 3
    assert len(sleeps) == 2
    client, service = connect(httpx.ReadError)
    with pytest.raises(ServiceUnreachable):
        client.feedback(png(5), 5)
    assert len(service.requests) == 1


def test_feedback_has_the_picture_in_base64_or_the_pixels() -> None:
    client, service = connect(httpx.Response(201, json={}), httpx.Response(201, json={}))
    client.feedback(png(5), 5, predicted=3, version="7")
    client.feedback(np.full((28, 28), 9, np.uint8), 6)
    first, second = (json.loads(request.content) for request in service.requests)
    assert first == {"image": "iVBORzU=", "digit": 5, "predicted": 3, "version": "7"}
    assert second == {"image": [9] * 784, "digit": 6}
    assert service.requests[0].headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("error", [httpx.ReadTimeout, httpx.UnsupportedProtocol])
def test_errors_that_would_happen_again_are_not_retried(error: type[httpx.TransportError], sleeps: list[float]) -> None:
    client, service = connect(error)
    with pytest.raises(ServiceUnreachable, match=r"http://digits\.test") as caught:
        client.predict(png(5))
    assert caught.value.status is None
    assert len(service.requests) == 1
    assert sleeps == []


def test_the_model_has_its_manifest() -> None:
    document = {"version": "7", "runtime": "litert", "manifest": {"metrics": {"test_accuracy": 0.99}}}
    client, service = connect(httpx.Response(200, json=document))
    found = client.model()
    assert (found.version, found.runtime, found.test_accuracy) == ("7", "litert", 0.99)
    assert service.requests[0].url.path == "/at/model"


def test_health_is_requested_once(sleeps: list[float]) -> None:
    ready = httpx.Response(200, json={"status": "ready", "version": "7"})
    client, service = connect(ready, reject(503, "no model is loaded"))
    assert client.health().ready
    found = client.health()
    assert (found.ready, found.version, found.reason) == (False, None, "no model is loaded")
    assert len(service.requests) == 2
    assert sleeps == []


@pytest.mark.parametrize("url", ["localhost:8000", "digits.test", "", "ftp://digits.test", "http://"])
def test_an_address_of_another_kind_is_rejected(url: str) -> None:
    with pytest.raises(ValueError, match="the address is"):
        Client(url)


def test_a_key_that_no_header_can_have_is_rejected() -> None:
    with pytest.raises(ValueError, match="the key has characters that are not printable ASCII"):
        Client(key="a\nb")


def test_many_pictures_are_read_as_they_are_needed() -> None:
    read: list[int] = []

    def pictures() -> Iterator[bytes]:
        for number in range(1000):
            read.append(number)
            yield png(number % 10)

    client, _ = connect()
    with client:
        next(client.predict_many(pictures()))
        assert len(read) < 300


class BusyService(httpx.BaseTransport):
    """Asks everyone to wait for 59 seconds; `waiting` is set when the first one does."""

    def __init__(self) -> None:
        self.waiting = Event()
        self.requests = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests += 1
        self.waiting.set()
        return reject(429, **{"Retry-After": "59"})


def test_close_ends_calls_that_wait_for_a_busy_service() -> None:
    service = BusyService()
    client = Client(transport=service)
    with ThreadPoolExecutor() as threads:
        call = threads.submit(client.predict, png(7))
        assert service.waiting.wait(30)
        client.close()
        with pytest.raises(DigitsError, match="was stopped"):
            call.result()
    assert service.requests == 1


def test_an_exception_ends_requests_that_wait_for_a_busy_service() -> None:
    """As Ctrl-C does: the iteration ends, and not after the 59 seconds with another attempt."""
    service = BusyService()

    def pictures() -> Iterator[bytes]:
        yield from [png(7)] * 17
        assert service.waiting.wait(30)
        raise KeyboardInterrupt

    with Client(transport=service) as client, pytest.raises(KeyboardInterrupt):
        next(client.predict_many(pictures()))
    assert service.requests == 1
