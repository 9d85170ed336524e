"""Measure a version on pictures with labels, as a user sends them: `python -m training evaluate N --pictures DIR`.

Each picture is one request, with the defaults of the API; a row or page with split=digits. A row is right if all its
numbers are, a picture that the service refuses is not right.
"""

import mimetypes
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from tqdm import tqdm

from training.evaluation import labelled_pictures
from training.evaluation.labelled_pictures import LabelledPicture
from training.evaluation.service_client import MAX_IN_FLIGHT, PictureRefused, Prediction, ServiceClient
from training.types import Images


@dataclass(frozen=True)
class PictureResult:
    """What the service made of a picture: a prediction, or the sentence with which it refused the picture.

    `kind` is that of `labelled_pictures.identify_kind`; `images` are uint8 [28, 28], what the network was given for
    each digit, and only of a picture that is not right.
    """

    picture: LabelledPicture
    kind: str
    prediction: Prediction | None = None
    refusal: str = ""
    images: Sequence[Images] = field(default=(), compare=False)

    @property
    def is_right(self) -> bool:
        """Whether the numbers are those of the label."""
        return self.prediction is not None and self.prediction.numbers == self.picture.label

    @property
    def is_certain(self) -> bool:
        """Whether there is a prediction with no uncertain digit."""
        return self.prediction is not None and self.prediction.is_certain


class Counts(NamedTuple):
    """Numbers of pictures."""

    pictures: int
    right: int
    certain: int
    right_and_certain: int
    refused: int

    @classmethod
    def of_results(cls, results: Iterable[PictureResult]) -> "Counts":
        """Count the results."""
        counted = [(r.is_right, r.is_certain, r.is_right and r.is_certain, r.prediction is None) for r in results]
        return cls(len(counted), *(sum(column) for column in zip(*counted, strict=True)))


def measure_pictures(pictures: Sequence[LabelledPicture], client: ServiceClient) -> list[PictureResult]:
    """Send every picture, a few at once; the results are in the order of the pictures.

    Raises:
        ServiceError: the service cannot be used. What it says of a single picture is part of its result instead.
    """
    client.check_version()
    # Pillow warns of large pictures and odd metadata, which the service reads or refuses.
    with warnings.catch_warnings(), tqdm(total=len(pictures), unit="picture", leave=False, disable=None) as bar:
        warnings.filterwarnings("ignore", module="PIL")
        results = []
        for result in _map_in_order(partial(_measure, client=client), pictures):
            results.append(result)
            bar.update()
    return results


def _map_in_order(measure: "partial[PictureResult]", pictures: Sequence[LabelledPicture]) -> Iterator[PictureResult]:
    """Call `measure` in threads; at the first error, or an interrupt, what has not begun is left out."""
    threads = ThreadPoolExecutor(MAX_IN_FLIGHT)
    try:
        yield from threads.map(measure, pictures)
    finally:
        threads.shutdown(cancel_futures=True)


def _measure(picture: LabelledPicture, client: ServiceClient) -> PictureResult:
    try:
        content = picture.read()
    except OSError as error:
        return PictureResult(picture, labelled_pictures.UNKNOWN_KIND, refusal=error.strerror or str(error))
    kind = labelled_pictures.identify_kind(content)
    guessed = mimetypes.guess_type(picture.path)[0] or ""
    content_type = guessed if guessed.startswith("image/") else "image/unknown"
    try:
        prediction = client.predict(content, content_type, is_row=picture.is_row)
    except PictureRefused as error:
        return PictureResult(picture, kind, refusal=str(error))
    if prediction.numbers == picture.label:
        return PictureResult(picture, kind, prediction)
    # Requested apart: with show=image a picture takes another way through the service than users' pictures take.
    images = client.fetch_images(content, content_type, is_row=picture.is_row)
    return PictureResult(picture, kind, prediction, images=images)
