"""The synchronous client of the service.

    with Client("http://127.0.0.1:8000") as client:
        print(client.predict("seven.png").digit)

A client is thread-safe, and keeps its connections until it is closed.
"""

import time
from collections.abc import Iterable, Iterator
from threading import Event
from typing import Literal, Self, TypeVar, overload

import httpx

from digits import requests
from digits.concurrency import map_completed, map_ordered
from digits.connection import ADDRESS, CONNECTIONS, TIMEOUT_SECONDS, build_request, http_options
from digits.errors import DigitsError, InvalidResponse
from digits.exchanges import Exchange, Options, Outcome, Picture, Result, group_pictures, predict, predict_group
from digits.images import IMAGES_A_REQUEST, join_predictions
from digits.requests import Request
from digits.results import Health, ImagePredictions, Model, Prediction, SplitPrediction
from digits.retry import Retry, unreachable
from digits.sources import Array, Source, read_source

T = TypeVar("T")


class Client:
    """Sends pictures to the service at an address, over up to `connections` connections.

    Args:
        url: the service's address, with a path prefix if it has one.
        key: the API key, if the service has one.
        timeout: seconds to wait for a connection, and for each part of a response.
        connections: the maximum number of requests at once of the methods that send many.
        retry: how often, and for how long, a request is repeated that the service was too busy for.
        transport: an httpx transport in place of the network's, for tests and proxies.

    Every method raises a DigitsError if it fails: InvalidSource, Unreachable, Unauthorised, PictureRejected, Busy ...
    """

    def __init__(  # noqa: PLR0913 - all but the first two are keywords
        self,
        url: str = ADDRESS,
        key: str | None = None,
        *,
        timeout: float = TIMEOUT_SECONDS,
        connections: int = CONNECTIONS,
        retry: Retry | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.connections, self._retry = connections, retry or Retry()
        self._http = httpx.Client(**http_options(url, key, timeout, connections), transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    @overload
    def predict(self, source: Source, *, split: Literal[False] = False, normalise: str | None = None) -> Prediction: ...

    @overload
    def predict(self, source: Source, *, split: Literal[True], normalise: str | None = None) -> SplitPrediction: ...

    def predict(self, source: Source, *, split: bool = False, normalise: str | None = None) -> Result:
        """Predict the digit on one picture.

        Args:
            source: a path, the bytes of a file, an open binary file, an array uint8 [height, width(, 3 or 4)], or an
                image of Pillow.
            split: read every digit on the picture, line by line.
            normalise: `auto`, `always` or `never`, as the parameter of POST /predict.
        """
        return self._run(predict([read_source(source)], Options(split, normalise)))[0]

    @overload
    def predict_many(
        self, sources: Iterable[Source], *, split: Literal[False] = False, normalise: str | None = None
    ) -> Iterator[Prediction]: ...

    @overload
    def predict_many(
        self, sources: Iterable[Source], *, split: Literal[True], normalise: str | None = None
    ) -> Iterator[SplitPrediction]: ...

    def predict_many(
        self, sources: Iterable[Source], *, split: bool = False, normalise: str | None = None
    ) -> Iterator[Result]:
        """Yield the predictions of any number of pictures in their order, as `predict` does for each.

        Small pictures share requests. The first picture that fails ends the iteration with its error, which names it;
        `try_predict_many` goes on.
        """
        for outcome in self.try_predict_many(sources, Options(split, normalise)):
            yield outcome.get()

    def try_predict_many(
        self, sources: Iterable[Source], options: Options | None = None, *, ordered: bool = True
    ) -> Iterator[Outcome]:
        """Yield the result or the error of each picture, in their order or (`ordered` false) as they come.

        Raises:
            DigitsError: an error that every further picture would meet too: Unreachable, Unauthorised, InvalidResponse.
        """
        chosen = options or Options()

        stop = Event()

        def send(group: list[Picture]) -> list[Outcome]:
            return self._run(predict_group(group, chosen), stop)

        map_groups = map_ordered if ordered else map_completed
        for outcomes in map_groups(send, group_pictures(sources), self.connections, stop):
            yield from outcomes

    def predict_images(self, images: Array) -> ImagePredictions:
        """Predict images in MNIST's form in bulk; NumPy must be installed.

        Args:
            images: uint8 [N, 28, 28], [N, 784] or [N, 28, 28, 1], N >= 1; 0 is background, 255 is ink.
        """
        parts, stop = requests.split_images(images, IMAGES_A_REQUEST), Event()

        def send(part: bytes) -> dict[str, object]:
            return self._send(requests.images_request(part), stop)

        return join_predictions(list(map_ordered(send, parts, self.connections, stop)))

    def feedback(self, source: Source, digit: int, *, predicted: int | None = None, version: str | None = None) -> None:
        """Send the digit that a picture shows, and what was predicted by which version; the service stores it."""
        self._send(requests.feedback_request(read_source(source), digit, predicted, version))

    def model(self) -> Model:
        """Return the version in use, with its manifest."""
        document = self._send(requests.MODEL)
        try:
            return requests.parse_model(document)
        except KeyError as error:
            raise InvalidResponse(f"the response is none of GET /model: {error} is missing") from error

    def health(self) -> Health:
        """Return whether the service is ready to predict. Nothing is repeated.

        Raises:
            Unreachable: there is no response.
        """
        response = self._attempt(requests.HEALTH)
        return requests.parse_health(response.status_code, response.content)

    def _run(self, exchange: Exchange[T], stop: Event | None = None) -> T:
        """Send the requests of an exchange until it returns."""
        try:
            request = next(exchange)
            while True:
                try:
                    document = self._send(request, stop)
                except DigitsError as error:
                    request = exchange.throw(error)
                else:
                    request = exchange.send(document)
        except StopIteration as end:
            result: T = end.value
            return result

    def _send(self, request: Request, stop: Event | None = None) -> dict[str, object]:
        """Send a request, repeat it while the service is too busy and `stop` is not set, and return the JSON."""
        attempt, waited = 1, 0.0
        while True:
            try:
                response = self._attempt(request)
                if response.is_success:
                    return requests.parse_json(response.status_code, response.content)
                raise requests.error(response.status_code, response.content, response.headers)
            except DigitsError as error:
                seconds = self._retry.delay(attempt, waited, error, is_idempotent=request.is_idempotent)
                if seconds is None or (stop and stop.is_set()):
                    raise
            if stop:
                stop.wait(seconds)
            else:
                time.sleep(seconds)
            attempt, waited = attempt + 1, waited + seconds

    def _attempt(self, request: Request) -> httpx.Response:
        try:
            return self._http.send(build_request(self._http, request))
        except httpx.HTTPError as error:
            raise unreachable(error, request, str(self._http.base_url)) from error
