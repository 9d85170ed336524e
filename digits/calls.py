"""The calls of the client, as generators that `Client` and `AsyncClient` run."""

import base64
import json
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from digits.errors import DigitsError, NotReady, RequestRejected
from digits.exchange import Call, Exchange, request
from digits.pictures import (
    MAX_ARRAY_IMAGES,
    RAW,
    Picture,
    PictureSource,
    SupportsArray,
    SupportsSave,
    encode_form,
    load_picture,
    to_images,
    to_uint8,
)
from digits.responses import COLUMNS, parse_bulk, parse_health, parse_model, parse_numbers, parse_predictions
from digits.results import BulkPrediction, Health, ModelInfo, Number, Prediction
from digits.retries import NO_RETRIES, Retries

Normalise: TypeAlias = Literal["auto", "always", "never"]
Field: TypeAlias = Literal["digit", "confidence", "uncertain", "probabilities"]
Reading: TypeAlias = Prediction | tuple[Number, ...]
"""The result for one picture: numbers with `split=True`."""

BULK_FIELDS: tuple[Field, ...] = ("digit", "confidence", "uncertain")
PICTURE_STATUSES = {400, 413, 415, 422, 500}
"""Statuses that one picture of a request can cause; the others of the request are sent again, one by one."""


def predict(
    pictures: Sequence[Picture], retries: Retries, *, split: bool = False, normalise: Normalise | None = None
) -> Exchange[list[Reading]]:
    """Predict some pictures in one request.

    Raises:
        DigitsError: the request has failed.
    """
    params = {"split": "digits"} if split else {}
    params |= {"normalise": normalise} if normalise else {}
    content, content_type = pictures[0] if len(pictures) == 1 else encode_form(pictures)
    response = yield from request(Call("POST", "predict", params, content, content_type), retries)
    found: list[Reading] = []
    found += parse_numbers(response, len(pictures)) if split else parse_predictions(response)
    if len(found) != len(pictures):
        sentence = (
            f"{len(pictures)} pictures were sent, and {len(found)} predicted; a file of many images is no picture"
        )
        raise RequestRejected(sentence, response.status_code)
    return found


def predict_each(
    pictures: Sequence[Picture], retries: Retries, *, split: bool = False, normalise: Normalise | None = None
) -> Exchange[list[Reading | DigitsError]]:
    """Predict some pictures in one request, and one by one if the service rejects it: an error for each bad picture.

    Raises:
        DigitsError: the request has failed for another reason than a picture.
    """
    found: list[Reading | DigitsError] = []
    try:
        found += yield from predict(pictures, retries, split=split, normalise=normalise)
    except DigitsError as error:
        if not is_of_picture(error):
            raise
        if len(pictures) == 1:
            return [error]
        for picture in pictures:
            found += yield from predict_each([picture], retries, split=split, normalise=normalise)
    return found


def is_of_picture(error: DigitsError) -> bool:
    """Whether one of the pictures may be the cause of an error."""
    return error.status in PICTURE_STATUSES or (isinstance(error, RequestRejected) and error.status == 200)


def predict_one(
    source: PictureSource, retries: Retries, *, split: bool, normalise: Normalise | None
) -> Exchange[Reading]:
    """Predict one picture.

    Raises:
        DigitsError: the request has failed.
        OSError, TypeError, ValueError: as `load_picture` raises them.
    """
    (reading,) = yield from predict([load_picture(source)], retries, split=split, normalise=normalise)
    return reading


def predict_array(images: Any, retries: Retries, fields: Sequence[Field]) -> Exchange[BulkPrediction]:
    """Predict images of an array, in requests of up to MAX_ARRAY_IMAGES.

    Raises:
        DigitsError: a request has failed, or the service has changed its version between two of them.
        ValueError: as `to_images` raises it, or a field is unknown.
    """
    if unknown := set(fields) - COLUMNS.keys():
        raise ValueError(f"fields has {min(unknown)!r}; allowed: {', '.join(COLUMNS)}")
    batch = to_images(images)
    parts = []
    for start in range(0, len(batch), MAX_ARRAY_IMAGES):
        content = batch[start : start + MAX_ARRAY_IMAGES].tobytes()
        call = Call("POST", "predict", {"fields": ",".join(fields)}, content, RAW)
        parts.append(parse_bulk((yield from request(call, retries)), fields))
    if len(versions := {part.version for part in parts}) > 1:
        raise DigitsError(f"the service changed its version during the call: {', '.join(sorted(versions))}; call again")
    columns = {name: tuple(row for part in parts for row in getattr(part, name)) for name in COLUMNS.values()}
    return BulkPrediction(parts[0].version, **columns)


def send_feedback(
    source: PictureSource, digit: int, retries: Retries, *, predicted: int | None, version: str | None
) -> Exchange[None]:
    """Send the right digit for a picture. It is sent again only if the service has not received it.

    Raises:
        DigitsError: the request has failed.
        OSError, TypeError, ValueError: as `load_picture` raises them.
    """
    document: dict[str, Any] = {"image": _encode_image(source), "digit": digit}
    document |= {"predicted": predicted} if predicted is not None else {}
    document |= {"version": version} if version is not None else {}
    content = json.dumps(document).encode()
    yield from request(Call("POST", "feedback", {}, content, "application/json", is_idempotent=False), retries)


def _encode_image(source: PictureSource) -> str | list[int]:
    if isinstance(source, SupportsArray) and not isinstance(source, SupportsSave):
        pixels = to_uint8(source)
        if pixels.shape == (28, 28):
            flat: list[int] = pixels.ravel().tolist()
            return flat
    return base64.b64encode(load_picture(source).content).decode()


def get_model(retries: Retries) -> Exchange[ModelInfo]:
    """Request the version in use and its manifest.

    Raises:
        DigitsError: the request has failed.
    """
    return parse_model((yield from request(Call("GET", "model"), retries)))


def get_health() -> Exchange[Health]:
    """Request, once, whether the service can predict.

    Raises:
        DigitsError: the service does not respond, or not as Digits does.
    """
    try:
        response = yield from request(Call("GET", "readyz"), NO_RETRIES)
    except NotReady as error:
        return Health(ready=False, version=None, reason=error.sentence)
    return parse_health(response)
