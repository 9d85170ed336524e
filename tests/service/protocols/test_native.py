"""service/protocols/native.py: the JSON of a response."""

import json
from base64 import b64decode
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.inference.predictions import Predictions
from service.prediction.body_parser import ParsedBody, Source
from service.prediction.protocol import PredictResult
from service.protocols.native import encode_json, join_digits, png_base64
from tests.service.payloads import native_request, stroke

ONE = stroke()
PREDICTIONS = Predictions(
    [2, 0, 4],
    np.array([0.5, 0.75, 1.0], np.float32),
    [True, False, False],
    np.arange(30, dtype=np.float32).reshape(3, 10) / np.float32(32),
)
SOURCES = [Source(1, 1, (1, 2, 3, 4)), Source(1, 1, (5, 6, 7, 8)), Source(2, 1, (0, 0, 28, 28))]
LINES = [Source(1, 1, (1, 2, 3, 4)), Source(1, 2, (5, 6, 7, 8)), Source(2, 1, (0, 0, 28, 28))]
IMAGES = np.stack([ONE, ONE // 2, ONE // 3])


def result(query: bytes, body: ParsedBody | None) -> PredictResult:
    return PredictResult(native_request(query=query), "12", PREDICTIONS, body)


def test_json_has_all_fields_by_default() -> None:
    document = json.loads(encode_json(result(b"", None)))
    assert list(document) == ["model", "version", "predictions"]
    assert (document["model"], document["version"]) == ("digits", "12")
    assert document["predictions"] == [
        {
            "digit": digit,
            "confidence": confidence,
            "uncertain": uncertain,
            "probabilities": [(10 * row + column) / 32 for column in range(10)],
        }
        for row, (digit, confidence, uncertain) in enumerate([(2, 0.5, True), (0, 0.75, False), (4, 1.0, False)])
    ]
    assert list(document["predictions"][0]) == ["digit", "confidence", "uncertain", "probabilities"]


@pytest.mark.parametrize("body", [None, ParsedBody(IMAGES), ParsedBody(IMAGES, SOURCES)])
def test_json_of_digits_alone(body: ParsedBody | None) -> None:
    assert encode_json(result(b"fields=digit", body)) == (
        b'{"model":"digits","version":"12","predictions":[{"digit":2},{"digit":0},{"digit":4}]}\n'
    )


def test_json_of_two_fields() -> None:
    assert encode_json(result(b"fields=digit,uncertain", ParsedBody(IMAGES, SOURCES))) == (
        b'{"model":"digits","version":"12","predictions":'
        b'[{"digit":2,"uncertain":true},{"digit":0,"uncertain":false},{"digit":4,"uncertain":false}]}\n'
    )


def test_json_of_split_rows_has_numbers_and_sources() -> None:
    assert encode_json(result(b"fields=digit&split=digits", ParsedBody(IMAGES, SOURCES))) == (
        b'{"model":"digits","version":"12","numbers":["20","4"],"predictions":'
        b'[{"digit":2,"picture":1,"line":1,"box":[1,2,3,4]},{"digit":0,"picture":1,"line":1,"box":[5,6,7,8]},'
        b'{"digit":4,"picture":2,"line":1,"box":[0,0,28,28]}]}\n'
    )


def test_json_has_one_number_for_each_line_of_writing() -> None:
    document = json.loads(encode_json(result(b"fields=digit&split=digits", ParsedBody(IMAGES, LINES))))
    assert document["numbers"] == ["2", "0", "4"]
    assert [(row["picture"], row["line"]) for row in document["predictions"]] == [(1, 1), (1, 2), (2, 1)]


@pytest.mark.parametrize("body", [None, ParsedBody(IMAGES)])
def test_json_without_sources_has_no_numbers(body: ParsedBody | None) -> None:
    assert encode_json(result(b"fields=digit&split=digits", body)) == (
        b'{"model":"digits","version":"12","predictions":[{"digit":2},{"digit":0},{"digit":4}]}\n'
    )


@pytest.mark.parametrize("sources", [None, SOURCES])
def test_json_with_images(sources: Any) -> None:
    rows = json.loads(encode_json(result(b"fields=digit&show=image", ParsedBody(IMAGES, sources))))["predictions"]
    assert [list(row) for row in rows] == [["digit", "image"]] * 3
    for row, image in zip(rows, IMAGES, strict=True):
        with Image.open(BytesIO(b64decode(row["image"]))) as picture:
            assert (picture.format, picture.mode) == ("PNG", "L")
            assert np.array_equal(np.asarray(picture), image)
    assert [row["image"] for row in rows] == [png_base64(image) for image in IMAGES]


@pytest.mark.parametrize("body", [None, ParsedBody(IMAGES)])
def test_without_sources_there_are_no_numbers(body: ParsedBody | None) -> None:
    assert join_digits(result(b"", body)) == []


def test_digits_are_joined_for_each_line_of_each_picture() -> None:
    assert join_digits(result(b"", ParsedBody(IMAGES, SOURCES))) == ["20", "4"]
    assert join_digits(result(b"", ParsedBody(IMAGES, LINES))) == ["2", "0", "4"]
    assert join_digits(result(b"", ParsedBody(IMAGES, [SOURCES[0]] * 3))) == ["204"]


def test_a_picture_of_several_digits_has_their_number() -> None:
    sources = [source._replace(digit_count=count) for source, count in zip(SOURCES, (1, 4, 1), strict=True)]
    rows = json.loads(encode_json(result(b"fields=digit,uncertain", ParsedBody(IMAGES, sources))))["predictions"]
    assert [row.get("digits") for row in rows] == [None, 4, None]
    assert list(rows[1]) == ["digit", "uncertain", "digits"]


def test_fields_without_uncertain_have_no_number_of_digits() -> None:
    sources = [source._replace(digit_count=4) for source in SOURCES]
    assert b'digits":4' not in encode_json(result(b"fields=digit,confidence", ParsedBody(IMAGES, sources)))
