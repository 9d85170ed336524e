"""The synchronous client."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import Any, Literal, Self, TypeVar, overload

import httpx

from digits import calls
from digits.calls import BULK_FIELDS, Field, Normalise, Reading
from digits.connection import DEFAULT_TIMEOUT_SECONDS, DEFAULT_URL, http_options, request_arguments
from digits.errors import DigitsError
from digits.exchange import Exchange, Outcome, Wait
from digits.pictures import Picture, PictureSource, batches, load_picture
from digits.results import BulkPrediction, Health, ModelInfo, Number, Prediction
from digits.retries import Retries

T = TypeVar("T")
STOPPED = "the call was stopped while it waited for the service"


class Client:
    """A client of one service. Thread-safe; a context manager, or closed by `close`."""

    def __init__(  # noqa: PLR0913 - all are settings of a connection
        self,
        url: str = DEFAULT_URL,
        *,
        key: str | None = None,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        retries: Retries | None = None,
        connections: int = 4,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Make a client; nothing is sent yet.

        Args:
            url: address of the service, with its path prefix if it has one.
            key: the API key, if the service requires one.
            timeout: seconds for a connection, and for each part of a request or response.
            retries: limits of the retries of each call.
            connections: maximum number of connections.
            transport: replaces the network, in tests.

        Raises:
            ValueError: the address or the key is invalid.
        """
        self._retries = retries or Retries()
        self._connections = connections
        self._closed = Event()
        self._http = httpx.Client(**http_options(url, key, timeout, connections), transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. Calls of other threads that wait for a busy service end with a DigitsError."""
        self._closed.set()
        self._http.close()

    @overload
    def predict(
        self, picture: PictureSource, *, split: Literal[False] = False, normalise: Normalise | None = None
    ) -> Prediction: ...
    @overload
    def predict(
        self, picture: PictureSource, *, split: Literal[True], normalise: Normalise | None = None
    ) -> tuple[Number, ...]: ...
    def predict(self, picture: PictureSource, *, split: bool = False, normalise: Normalise | None = None) -> Reading:
        """Predict one picture.

        Args:
            picture: a path, the bytes of a file, an array or an image of Pillow; see `load_picture`.
            split: return the lines of writing on the picture, with a box for each digit.
            normalise: as in the HTTP API; by default an array [28, 28] is used as it is.

        Raises:
            DigitsError: the request has failed.
            OSError, TypeError, ValueError: as `load_picture` raises them.
        """
        return self._run(calls.predict_one(picture, self._retries, split=split, normalise=normalise))

    @overload
    def predict_many(
        self,
        pictures: Iterable[PictureSource],
        *,
        split: Literal[False] = False,
        normalise: Normalise | None = None,
    ) -> Iterator[Prediction | DigitsError]: ...
    @overload
    def predict_many(
        self, pictures: Iterable[PictureSource], *, split: Literal[True], normalise: Normalise | None = None
    ) -> Iterator[tuple[Number, ...] | DigitsError]: ...
    def predict_many(
        self, pictures: Iterable[PictureSource], *, split: bool = False, normalise: Normalise | None = None
    ) -> Iterator[Reading | DigitsError]:
        """Yield the result for each picture, in order; several requests are in flight at a time.

        A picture that the service rejects yields its error, and the others are predicted.

        Raises:
            DigitsError: a request has failed for another reason than a picture.
            OSError, TypeError, ValueError: as `load_picture` raises them.
        """
        pending: deque[Future[list[Reading | DigitsError]]] = deque()
        pool, stop = ThreadPoolExecutor(self._connections), Event()

        def send(batch: Sequence[Picture]) -> list[Reading | DigitsError]:
            return self._run(calls.predict_each(batch, self._retries, split=split, normalise=normalise), stop)

        try:
            for batch in batches(map(load_picture, pictures)):
                pending.append(pool.submit(send, batch))
                if len(pending) > 2 * self._connections:
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()
        finally:
            stop.set()  # after an error or Ctrl-C, no request waits for a busy service any longer
            pool.shutdown(cancel_futures=True)

    def predict_batch(
        self, batch: Sequence[Picture], *, split: bool = False, normalise: Normalise | None = None
    ) -> list[Reading | DigitsError]:
        """Predict loaded pictures in one request, and one by one if one of them is rejected.

        Raises:
            DigitsError: a request has failed for another reason than a picture.
        """
        return self._run(calls.predict_each(batch, self._retries, split=split, normalise=normalise))

    def predict_array(self, images: Any, *, fields: Sequence[Field] = BULK_FIELDS) -> BulkPrediction:
        """Predict an array of images, as columns.

        Args:
            images: uint8 [N, 28, 28], 0 background to 255 ink, used as they are; any N from 1.
            fields: the columns to request.

        Raises:
            DigitsError: a request has failed.
            ValueError: the array has another shape or other numbers, or a field is unknown.
        """
        return self._run(calls.predict_array(images, self._retries, fields))

    def feedback(
        self, picture: PictureSource, digit: int, *, predicted: int | None = None, version: str | None = None
    ) -> None:
        """Send the digit that a picture shows, with what was predicted by which version.

        Raises:
            DigitsError: the request has failed; 404 if the service stores no feedback.
            OSError, TypeError, ValueError: as `load_picture` raises them.
        """
        self._run(calls.send_feedback(picture, digit, self._retries, predicted=predicted, version=version))

    def model(self) -> ModelInfo:
        """Request the version in use and its manifest.

        Raises:
            DigitsError: the request has failed.
        """
        return self._run(calls.get_model(self._retries))

    def health(self) -> Health:
        """Request, once, whether the service can predict.

        Raises:
            DigitsError: the service does not respond, or not as Digits does.
        """
        return self._run(calls.get_health())

    def _run(self, exchange: Exchange[T], stop: Event | None = None) -> T:
        """Run a call until it returns, or `stop` is set while it waits; without one, until the client is closed.

        Raises:
            DigitsError: the call was stopped, and as the call raises it.
        """
        outcome: Outcome = None
        try:
            while True:
                step = exchange.send(outcome)
                outcome = None
                if isinstance(step, Wait):
                    if (stop or self._closed).wait(step.seconds):
                        raise DigitsError(STOPPED)
                    continue
                try:
                    outcome = self._http.send(self._http.build_request(**request_arguments(step)))
                except httpx.TransportError as error:
                    outcome = error
        except StopIteration as done:
            result: T = done.value
            return result
