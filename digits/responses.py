"""Responses of the service, to results and errors."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import httpx

from digits.errors import DigitsError, InvalidResponse, error_class
from digits.results import BoxedDigit, BulkPrediction, Health, ModelInfo, Number, Prediction
from digits.retries import parse_retry_after

COLUMNS = {"digit": "digits", "confidence": "confidences", "uncertain": "uncertain", "probabilities": "probabilities"}
"""The column of BulkPrediction for each field of the service."""


def error_from_response(response: httpx.Response) -> DigitsError:
    """The exception for a response that is no success; it has the service's sentence."""
    status = response.status_code
    document = _try_json(response)
    if isinstance(document, dict) and isinstance(document.get("error"), str):
        sentence = document["error"]
    elif response.is_redirect:
        sentence = f"{response.url} redirects to {response.headers['Location']}; use that address"
    else:
        sentence = f"{response.url} responds with {status} {response.reason_phrase}, without a sentence of Digits"
    kind = error_class(status) if status >= 400 else InvalidResponse
    return kind(sentence, status, parse_retry_after(response.headers.get("Retry-After")))


def parse_predictions(response: httpx.Response) -> list[Prediction]:
    """The predictions of a response to /predict, one for each picture, in order.

    Raises:
        InvalidResponse: the response is none of Digits.
    """
    document = parse_document(response)
    try:
        return [
            Prediction(
                row["digit"],
                row["confidence"],
                row["uncertain"],
                tuple(row["probabilities"]),
                document["version"],
                row.get("digits"),
            )
            for row in document["predictions"]
        ]
    except (KeyError, TypeError) as error:
        raise _invalid(response, error) from None


def parse_numbers(response: httpx.Response, pictures: int) -> list[tuple[Number, ...]]:
    """The lines of writing of a response to /predict?split=digits, for each picture, in order.

    Raises:
        InvalidResponse: the response is none of Digits.
    """
    document = parse_document(response)
    found: list[list[Number]] = [[] for _ in range(pictures)]
    try:
        for (picture, _), rows in groupby(document["predictions"], lambda row: (row["picture"], row["line"])):
            found[picture - 1].append(_build_number(list(rows), document["version"]))
    except (KeyError, TypeError, IndexError) as error:
        raise _invalid(response, error) from None
    return [tuple(numbers) for numbers in found]


def _build_number(rows: Sequence[Mapping[str, Any]], version: str) -> Number:
    digits = tuple(
        BoxedDigit(row["digit"], row["confidence"], row["uncertain"], tuple(row["probabilities"]), _to_box(row["box"]))
        for row in rows
    )
    return Number("".join(str(digit.digit) for digit in digits), digits, version)


def _to_box(box: Sequence[int]) -> tuple[int, int, int, int]:
    if len(box) != 4:
        raise TypeError(f"a box has {len(box)} numbers")
    left, top, right, bottom = box
    return left, top, right, bottom


def parse_bulk(response: httpx.Response, fields: Sequence[str]) -> BulkPrediction:
    """The columns of a response to /predict with these fields.

    Raises:
        InvalidResponse: the response is none of Digits.
    """
    document = parse_document(response)
    try:
        columns: dict[str, Any] = {
            COLUMNS[name]: tuple(
                tuple(row[name]) if name == "probabilities" else row[name] for row in document["predictions"]
            )
            for name in fields
        }
        return BulkPrediction(document["version"], **columns)
    except (KeyError, TypeError) as error:
        raise _invalid(response, error) from None


def parse_model(response: httpx.Response) -> ModelInfo:
    """The result of /model.

    Raises:
        InvalidResponse: the response is none of Digits.
    """
    document = parse_document(response)
    try:
        return ModelInfo(document["version"], document["runtime"], document["manifest"] or {})
    except (KeyError, TypeError) as error:
        raise _invalid(response, error) from None


def parse_health(response: httpx.Response) -> Health:
    """The result of /readyz that has the status 200.

    Raises:
        InvalidResponse: the response is none of Digits.
    """
    document = parse_document(response)
    try:
        return Health(document["status"] == "ready", document["version"])
    except KeyError as error:
        raise _invalid(response, error) from None


def parse_document(response: httpx.Response) -> dict[str, Any]:
    """The JSON object of a response.

    Raises:
        InvalidResponse: it has none.
    """
    document = _try_json(response)
    if not isinstance(document, dict):
        raise InvalidResponse(
            f"{response.url} responds with {response.status_code} and no JSON object; is it the address of Digits?",
            response.status_code,
        )
    return document


def _try_json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None


def _invalid(response: httpx.Response, error: Exception) -> InvalidResponse:
    return InvalidResponse(
        f"{response.url} responds with JSON that is none of Digits ({type(error).__name__}: {error})",
        response.status_code,
    )
