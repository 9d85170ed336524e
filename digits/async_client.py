"""The asynchronous client, for asyncio."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
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


class AsyncClient:
    """A client of one service, within one event loop; an asynchronous context manager, or closed by `close`."""

    def __init__(  # noqa: PLR0913 - all are settings of a connection
        self,
        url: str = DEFAULT_URL,
        *,
        key: str | None = None,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        retries: Retries | None = None,
        connections: int = 4,
        transport: httpx.AsyncBaseTransport | None = None,
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
        self._http = httpx.AsyncClient(**http_options(url, key, timeout, connections), transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    @overload
    async def predict(
        self, picture: PictureSource, *, split: Literal[False] = False, normalise: Normalise | None = None
    ) -> Prediction: ...
    @overload
    async def predict(
        self, picture: PictureSource, *, split: Literal[True], normalise: Normalise | None = None
    ) -> tuple[Number, ...]: ...
    async def predict(
        self, picture: PictureSource, *, split: bool = False, normalise: Normalise | None = None
    ) -> Reading:
        """Predict one picture.

        Args:
            picture: a path, the bytes of a file, an array or an image of Pillow; see `load_picture`.
            split: return the lines of writing on the picture, with a box for each digit.
            normalise: as in the HTTP API; by default an array [28, 28] is used as it is.

        Raises:
            DigitsError: the request has failed.
            OSError, TypeError, ValueError: as `load_picture` raises them.
        """
        return await self._run(calls.predict_one(picture, self._retries, split=split, normalise=normalise))

    @overload
    def predict_many(
        self,
        pictures: Iterable[PictureSource],
        *,
        split: Literal[False] = False,
        normalise: Normalise | None = None,
    ) -> AsyncIterator[Prediction | DigitsError]: ...
    @overload
    def predict_many(
        self, pictures: Iterable[PictureSource], *, split: Literal[True], normalise: Normalise | None = None
    ) -> AsyncIterator[tuple[Number, ...] | DigitsError]: ...
    async def predict_many(
        self, pictures: Iterable[PictureSource], *, split: bool = False, normalise: Normalise | None = None
    ) -> AsyncIterator[Reading | DigitsError]:
        """Yield the result for each picture, in order; several requests are in flight at a time.

        A picture that the service rejects yields its error, and the others are predicted.

        Raises:
            DigitsError: a request has failed for another reason than a picture.
            OSError, TypeError, ValueError: as `load_picture` raises them.
        """
        pending: deque[asyncio.Task[list[Reading | DigitsError]]] = deque()
        try:
            for batch in batches(map(load_picture, pictures)):
                task = asyncio.create_task(self.predict_batch(batch, split=split, normalise=normalise))
                pending.append(task)
                if len(pending) > 2 * self._connections:
                    for reading in await pending.popleft():
                        yield reading
            while pending:
                for reading in await pending.popleft():
                    yield reading
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    async def predict_batch(
        self, batch: Sequence[Picture], *, split: bool = False, normalise: Normalise | None = None
    ) -> list[Reading | DigitsError]:
        """Predict loaded pictures in one request, and one by one if one of them is rejected.

        Raises:
            DigitsError: a request has failed for another reason than a picture.
        """
        return await self._run(calls.predict_each(batch, self._retries, split=split, normalise=normalise))

    async def predict_array(self, images: Any, *, fields: Sequence[Field] = BULK_FIELDS) -> BulkPrediction:
        """Predict an array of images, as columns.

        Args:
            images: uint8 [N, 28, 28], 0 background to 255 ink, used as they are; any N from 1.
            fields: the columns to request.

        Raises:
            DigitsError: a request has failed.
            ValueError: the array has another shape or other numbers, or a field is unknown.
        """
        return await self._run(calls.predict_array(images, self._retries, fields))

    async def feedback(
        self, picture: PictureSource, digit: int, *, predicted: int | None = None, version: str | None = None
    ) -> None:
        """Send the digit that a picture shows, with what was predicted by which version.

        Raises:
            DigitsError: the request has failed; 404 if the service stores no feedback.
            OSError, TypeError, ValueError: as `load_picture` raises them.
        """
        await self._run(calls.send_feedback(picture, digit, self._retries, predicted=predicted, version=version))

    async def model(self) -> ModelInfo:
        """Request the version in use and its manifest.

        Raises:
            DigitsError: the request has failed.
        """
        return await self._run(calls.get_model(self._retries))

    async def health(self) -> Health:
        """Request, once, whether the service can predict.

        Raises:
            DigitsError: the service does not respond, or not as Digits does.
        """
        return await self._run(calls.get_health())

    async def _run(self, exchange: Exchange[T]) -> T:
        outcome: Outcome = None
        try:
            while True:
                step = exchange.send(outcome)
                outcome = None
                if isinstance(step, Wait):
                    await asyncio.sleep(step.seconds)
                    continue
                try:
                    outcome = await self._http.send(self._http.build_request(**request_arguments(step)))
                except httpx.TransportError as error:
                    outcome = error
        except StopIteration as done:
            result: T = done.value
            return result
