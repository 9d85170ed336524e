"""Conversations with the service as generators: they yield a request, and get its JSON or its error.

So the synchronous and the asynchronous client share everything but the sending.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from digits.errors import (
    DigitsError,
    InvalidResponse,
    InvalidSource,
    PictureRejected,
    RequestRejected,
    Unreachable,
)
from digits.requests import Request, predict_request
from digits.results import Prediction, SplitPrediction, predictions, split_predictions
from digits.sources import Source, describe_source, read_source

T = TypeVar("T")
Result: TypeAlias = Prediction | SplitPrediction
Exchange: TypeAlias = Generator[Request, dict[str, Any], T]

MAX_PICTURES = 16
MAX_BYTES = 48 << 10
"""Pictures of one request, in number and bytes. The service reads up to 16 plain pictures in 64 KiB without a process
of its own for them; a picture over the limit is sent alone. Sixteen a request are six times as fast as one."""


@dataclass(frozen=True, slots=True)
class Options:
    """How pictures are to be read: as the parameters `split`, `normalise` and `fields` of POST /predict."""

    split: bool = False
    normalise: str | None = None
    probabilities: bool = True


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture to send: its number from 1, its name, and its bytes or the error of reading them."""

    number: int
    name: str
    content: bytes | InvalidSource


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one picture of many: its number from 1, its name, and the result or the error."""

    number: int
    name: str
    result: Result | DigitsError

    def get(self) -> Result:
        """Return the result.

        Raises:
            DigitsError: the picture failed; the sentence begins with its name.
        """
        if not isinstance(self.result, DigitsError):
            return self.result
        named = copy(self.result)
        named.sentence = f"{self.name}: {self.result.sentence}"
        named.args = (named.sentence,)
        raise named from self.result


def group_pictures(sources: Iterable[Source]) -> Iterator[list[Picture]]:
    """Read pictures one after the other, and yield those that go into one request together."""
    group: list[Picture] = []
    size = 0
    for number, source in enumerate(sources, 1):
        picture = _read_picture(number, source)
        length = len(picture.content) if isinstance(picture.content, bytes) else 0
        if group and (len(group) == MAX_PICTURES or size + length > MAX_BYTES):
            yield group
            group, size = [], 0
        group.append(picture)
        size += length
    if group:
        yield group


def predict_group(group: Sequence[Picture], options: Options) -> Exchange[list[Outcome]]:
    """Predict the pictures of a group in one request; if that is rejected, in one request each, to find the bad one.

    Raises:
        DigitsError: an error that every further picture would meet too: the service cannot be reached, the key is
            wrong, or the address is not the service's.
    """
    readable = [(picture, picture.content) for picture in group if isinstance(picture.content, bytes)]
    results: dict[int, Result | DigitsError] = {
        picture.number: picture.content for picture in group if not isinstance(picture.content, bytes)
    }
    whole = yield from _predict_or_fail([content for _, content in readable], options)
    for index, (picture, content) in enumerate(readable):
        if isinstance(whole, PictureRejected) and len(readable) > 1:
            alone = yield from _predict_or_fail([content], options)
            results[picture.number] = alone if isinstance(alone, DigitsError) else alone[0]
        else:
            results[picture.number] = whole if isinstance(whole, DigitsError) else whole[index]
    return [Outcome(picture.number, picture.name, results[picture.number]) for picture in group]


def predict(contents: Sequence[bytes], options: Options) -> Exchange[list[Result]]:
    """Predict pictures in one request.

    Raises:
        DigitsError: the request failed.
    """
    document = yield predict_request(
        contents, split=options.split, normalise=options.normalise, probabilities=options.probabilities
    )
    try:
        found: list[Result] = (
            [*split_predictions(document, len(contents))] if options.split else [*predictions(document)]
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InvalidResponse(f"the response is none of POST /predict: {error!r}") from error
    if len(found) != len(contents):
        raise InvalidResponse(f"the response has {len(found)} predictions for {len(contents)} pictures")
    return found


def is_fatal(error: DigitsError) -> bool:
    """Return whether every further picture would meet the same error."""
    rejected_always = isinstance(error, RequestRejected) and not isinstance(error, PictureRejected)
    return rejected_always or isinstance(error, (Unreachable, InvalidResponse))


def _predict_or_fail(contents: Sequence[bytes], options: Options) -> Exchange[list[Result] | DigitsError]:
    if not contents:
        return []
    try:
        return (yield from predict(contents, options))
    except DigitsError as error:
        if is_fatal(error):
            raise
        return error


def _read_picture(number: int, source: Source) -> Picture:
    name = describe_source(source, number)
    try:
        return Picture(number, name, read_source(source))
    except InvalidSource as error:
        return Picture(number, name, error)
