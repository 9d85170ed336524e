import json
import logging
import threading
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from PIL import Image
from werkzeug.test import TestResponse

from service.inference.runtimes import LiteRT
from service.types import Batch, Probabilities
from tests.conftest import Serve, Versions, service_of
from tests.service.payloads import FORM, encode, form, idx3, json_of, npy, npy_with_header, png_saying, stroke
from training.data.mnist import Dataset

JSON = "application/json"
OCTETS = "application/octet-stream"
NPY = "application/x-npy"
ONE = stroke()
ZEROS = [0] * 784


def post(client: FlaskClient, body: bytes, kind: str | None, fields: str = "") -> TestResponse:
    return client.post(f"/predict{fields}", input_stream=BytesIO(body), content_length=len(body), content_type=kind)


def assert_good(client: FlaskClient) -> None:
    response = post(client, encode(ONE), "image/png")
    assert response.status_code == 200
    assert len(response.get_json()["predictions"]) == 1


def test_the_answer_is_the_models(serve: Serve, versions: Versions, models: Path, mnist: Dataset) -> None:
    images = mnist.test.images[:50]
    path = versions.put(models, 1)
    expected = LiteRT((path / "model.tflite").read_bytes())(images)
    threshold = float(np.sort(expected.max(axis=1))[25])
    path.rename(models / ".retired-1")
    versions.put(models, 2, thresholds={"confidence": threshold})
    answer = post(serve(models), idx3(images), OCTETS).get_json()
    assert (answer.keys(), answer["model"], answer["version"]) == ({"model", "version", "predictions"}, "digits", "2")
    for prediction, row in zip(answer["predictions"], expected, strict=True):
        assert np.array_equal(np.float32(prediction.pop("probabilities")), row)
        assert np.float32(prediction.pop("confidence")) == row.max()
        assert prediction == {"digit": row.argmax(), "uncertain": row.max() < threshold}
    assert 0 < sum(row.max() < threshold for row in expected) < 50


def test_every_form_gives_the_same_answer_byte_for_byte(client: FlaskClient, mnist: Dataset) -> None:
    image = mnist.test.images[7]
    forms = [
        ("image/png", encode(image)),
        (FORM, form(encode(image))),
        (JSON, json_of(image)),
        (JSON, json_of(image.reshape(784))),
        (JSON, json_of(encode(image))),
        (OCTETS, image.tobytes()),
        (OCTETS, idx3(image[None])),
        (NPY, npy(image[None])),
    ]
    answers = {post(client, body, kind).data for kind, body in forms}
    assert len(answers) == 1
    assert json.loads(answers.pop())["predictions"][0]["probabilities"]


@pytest.mark.parametrize(
    ("fields", "keys"),
    [
        ("digit", ["digit"]),
        ("confidence,digit", ["digit", "confidence"]),
        ("uncertain,probabilities", ["uncertain", "probabilities"]),
        ("digit,digit", ["digit"]),
    ],
)
def test_fields_choose_what_is_answered(client: FlaskClient, fields: str, keys: list[str]) -> None:
    whole = post(client, encode(ONE), "image/png").get_json()
    chosen = post(client, encode(ONE), "image/png", f"?fields={fields}").get_json()
    assert chosen == whole | {"predictions": [{key: whole["predictions"][0][key] for key in keys}]}
    assert list(chosen["predictions"][0]) == keys


Bad = tuple[int, str, bytes, str | None]
BAD: dict[str, Bad] = {
    "empty": (400, "0 bytes", b"", "image/png"),
    "empty JSON": (400, "0 bytes", b"", JSON),
    "empty form": (400, "0 bytes", b"", FORM),
    "empty without a type": (400, "0 bytes", b"", None),
    "no type": (415, "'missing'; read are multipart/form-data, image/*", encode(ONE), None),
    "another type": (415, "'text/plain'; read are", encode(ONE), "text/plain"),
    "a form of fields": (415, "'application/x-www-form-urlencoded'", b"a=b", "application/x-www-form-urlencoded"),
    "PNG cut off": (400, "the picture cannot be decoded", encode(ONE)[:-30], "image/png"),
    "PNG cut off in its header": (400, "the picture cannot be decoded", encode(ONE)[:20], "image/png"),
    "PNG without its palette": (400, "the picture", png_saying(28, 28, colour=3), "image/png"),
    "PNG bomb": (413, "50000x50000 pixels; 25000000 are allowed", png_saying(50_000, 50_000), "image/png"),
    "PNG too long": (413, "20000x9 pixels; a side may have 16384", png_saying(20_000, 9), "image/png"),
    "blank": (422, "no digit to read", encode(ONE * 0), "image/png"),
    "faint": (422, "differ by 31 at most", encode(ONE // 8), "image/png"),
    "blank page": (422, "no digit to read", encode(np.full((300, 200), 230, np.uint8)), "image/png"),
    "nothing visible": (422, "no digit to read", encode(np.zeros((50, 50, 4), np.uint8)), "image/png"),
    "JPEG cut off": (400, "the picture cannot be decoded", encode(ONE, kind="JPEG")[:-60], "image/jpeg"),
    "JPEG of an unknown kind": (
        400,
        "the picture cannot be decoded",
        encode(ONE, kind="JPEG").replace(b"\xff\xc4", b"\xff\xc8"),
        "image/jpeg",
    ),
    "JPEG of zeros": (400, "the picture cannot be decoded", encode(ONE, kind="JPEG")[:200] + bytes(400), "image/jpeg"),
    "SVG": (415, "none of PNG, JPEG", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"),
    "form without boundary": (400, "no boundary", form(encode(ONE)), "multipart/form-data"),
    "form of another boundary": (400, "the form cannot be read", form(encode(ONE)), FORM.replace("edge", "other")),
    "form without an end": (400, "the form cannot be read", form(encode(ONE))[:-20], FORM),
    "form of 0 files": (400, "0 file parts", form(), FORM),
    "form of an empty file": (400, "the picture has 0 bytes", form(b""), FORM),
    "form of 10,001 files": (413, "more than 10000 parts", form(*[b""] * 10_001), FORM),
    "JSON cut off": (400, "the JSON cannot be read", b'{"images": [', JSON),
    "JSON of invalid UTF-8": (400, "the JSON cannot be read", b'{"images": ["\xff"]}', JSON),
    "JSON of UTF-16": (400, "the JSON cannot be read", '{"images": []}'.encode("utf-16"), JSON),
    "JSON of NaN": (400, "the JSON cannot be read", json_of([float("nan"), *ZEROS[1:]]), JSON),
    "JSON of Infinity": (400, "the JSON cannot be read", json_of([float("inf"), *ZEROS[1:]]), JSON),
    "deep JSON": (400, "the JSON cannot be read", b"[" * 100_000 + b"]" * 100_000, JSON),
    "JSON list": (400, '{"images": [...]}', b"[]", JSON),
    "JSON without images": (400, '{"images": [...]}', b"{}", JSON),
    "JSON images null": (400, '{"images": [...]}', b'{"images": null}', JSON),
    "JSON of another key": (400, '{"images": [...]}', b'{"images": [[0]], "top": 3}', JSON),
    "JSON of 0 images": (400, "images has 0 entries", json_of(), JSON),
    "JSON of 10,001 images": (413, "10001 entries; 10000 are allowed", json_of(*[0] * 10_001), JSON),
    "JSON null": (400, "it is null", json_of(None), JSON),
    "JSON number": (400, "it is 7", json_of(7), JSON),
    "JSON object": (400, "it is an object", json_of({"pixels": ZEROS}), JSON),
    "JSON -1": (400, "a pixel is -1; whole numbers from 0 to 255", json_of([-1, *ZEROS[1:]]), JSON),
    "JSON 256": (400, "a pixel is 256; whole numbers from 0 to 255", json_of([256, *ZEROS[1:]]), JSON),
    "JSON 1.5": (400, "a pixel is 1.5; whole numbers from 0 to 255", json_of([1.5, *ZEROS[1:]]), JSON),
    "JSON 1e300": (400, "a pixel is", json_of([1e300, *ZEROS[1:]]), JSON),
    "JSON string": (400, "a pixel is a string", json_of(["7", *ZEROS[1:]]), JSON),
    "JSON null pixel": (400, "a pixel is null", json_of([None, *ZEROS[1:]]), JSON),
    "JSON true": (400, "a pixel is true", json_of([True, 255, *ZEROS[2:]]), JSON),
    "JSON [0]": (400, "a pixel is an array", json_of([[[0]] * 28] * 28), JSON),
    "JSON 783": (400, "1 rows of 783 numbers", json_of(ZEROS[1:]), JSON),
    "JSON 27x28": (400, "27 rows of 28 numbers", json_of([[0] * 28] * 27), JSON),
    "ragged JSON": (400, "28 rows of 27 or 28 numbers", json_of([[0] * 27, *[[0] * 28] * 27]), JSON),
    "JSON row null": (400, "28 rows of 0 or 28 numbers", json_of([*[[0] * 28] * 27, None]), JSON),
    "JSON blank": (422, "no digit to read", json_of(ZEROS), JSON),
    "bad base64": (400, "the base64 cannot be read", json_of("iVBOR!!!"), JSON),
    "base64 not ASCII": (400, "the base64 cannot be read", json_of("émoji"), JSON),
    "empty base64": (400, "the picture has 0 bytes", json_of(""), JSON),
    "base64 of text": (415, "none of PNG, JPEG", json_of(b"a text"), JSON),
    "783 octets": (400, "783 bytes; a multiple of 784", bytes(783), OCTETS),
    "10,001 images": (413, "10001 images; 10000 are allowed", bytes(784 * 10_001), OCTETS),
    "npy of objects": (400, "object; uint8 is read", npy(np.array([[{}]]), pickled=True), NPY),
    "npy of float64": (400, "float64; uint8 is read", npy(np.zeros((1, 28, 28))), OCTETS),
    "npy of bool": (400, "bool; uint8 is read", npy(np.zeros((1, 28, 28), bool)), NPY),
    "npy in Fortran order": (400, "in Fortran order", npy(np.asfortranarray(np.zeros((3, 28, 28), np.uint8))), NPY),
    "npy of one image": (400, "(28, 28); (N, 28, 28) or (N, 784)", npy(ONE), NPY),
    "npy of no axes": (400, "()", npy(np.array(7, np.uint8)), NPY),
    "npy of 0 images": (400, "0 images", npy(np.zeros((0, 28, 28), np.uint8)), NPY),
    "npy that lies": (400, "takes 7840000 bytes; 784 follow", npy_with_header("'|u1'", "(10000, 28, 28)"), NPY),
    "npy of -1 images": (400, "the .npy", npy_with_header("'|u1'", "(-1, 28, 28)"), NPY),
    "npy of 10^5000 images": (400, "the .npy", npy_with_header("'|u1'", f"(0x{'f' * 5000}, 28, 28)"), NPY),
    "npy of no type": (400, "the .npy header cannot be read", npy_with_header("()", "(1, 28, 28)"), NPY),
    "npy cut off": (400, "takes 784 bytes; 783 follow", npy(ONE[None])[:-1], NPY),
    "npy cut off in its header": (400, "the .npy header cannot be read", npy(ONE[None])[:60], NPY),
    "npy of code": (400, "the .npy header cannot be read", npy_with_header("__import__('os')", "(1, 28, 28)"), NPY),
    "npy of format 9": (400, "format 9.0", b"\x93NUMPY\x09\x00" + bytes(100), NPY),
    "not npy": (400, "the .npy header cannot be read", ONE.tobytes(), NPY),
    "IDX that lies in its count": (
        400,
        "60000 images, which take 47040016 bytes; it has 2368",
        idx3(np.stack([ONE] * 3), count=60_000),
        OCTETS,
    ),
    "IDX that lies in its sides": (400, "29x28; 28x28 is read", idx3(ONE[None], rows=29), OCTETS),
    "IDX of 2^96 bytes": (
        400,
        "4294967295x4294967295",
        idx3(ONE[None], count=2**32 - 1, rows=2**32 - 1, columns=2**32 - 1),
        OCTETS,
    ),
    "IDX cut off": (400, "1 images, which take 800 bytes; it has 799", idx3(ONE[None])[:-1], OCTETS),
    "IDX cut off in its header": (400, "15 bytes, fewer than its header's 16", idx3(ONE[None])[:15], OCTETS),
    "IDX of 0 images": (400, "0 images", idx3(ONE[:0]), OCTETS),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_its_sentence_and_the_service_goes_on(
    name: str, client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    status, words, body, kind = BAD[name]
    response = post(client, body, kind)
    error = assert_one_sentence(response)
    assert (response.status_code, words in error) == (status, True), error
    assert [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR] == []
    assert_good(client)


def assert_one_sentence(response: TestResponse) -> str:
    answer = response.get_json()
    assert response.content_type == "application/json"
    assert list(answer) == ["error"]
    error = answer["error"]
    assert isinstance(error, str)
    assert error.isprintable()
    assert len(error) < 300
    return error


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("normalise=sometimes", "normalise is 'sometimes'; allowed is auto or always or never"),
        ("split=1", "split is '1'; allowed is digits"),
        ("show=", "show is ''; allowed is image"),
        ("split=digits&normalise=never", "cannot be used with normalise=never"),
        ("normalise=" + "x" * 5000, "allowed is auto"),
    ],
)
def test_a_query_that_asks_for_what_there_is_not(client: FlaskClient, query: str, words: str) -> None:
    response = post(client, encode(ONE), "image/png", f"?{query}")
    assert response.status_code == 400
    assert words in assert_one_sentence(response)


TALL = np.zeros((28, 28), np.uint8)
TALL[4:24, 13:15] = np.linspace(90, 255, 40, dtype=np.uint8).reshape(20, 2)
PAGE = np.pad(255 - np.kron(TALL, np.ones((5, 5), np.uint8)), ((30, 60), (200, 10)), constant_values=255)
"""A one that fills the 20 pixels of MNIST's box; and the same, dark on a light page, five times as large."""


def test_a_picture_is_answered_as_its_normal_form_is(client: FlaskClient) -> None:
    normalised = post(client, encode(TALL), "image/png", "?normalise=always").data
    for kind, picture in (("PNG", PAGE), ("PNG", np.dstack([PAGE] * 3)), ("BMP", PAGE), ("PNG", 255 - PAGE)):
        for query in ("", "?normalise=auto", "?normalise=always"):
            assert post(client, encode(picture, kind=kind), "image/png", query).data == normalised
    refused = post(client, encode(PAGE), "image/png", "?normalise=never")
    assert (refused.status_code, "350x230 pixels" in assert_one_sentence(refused)) == (422, True)


@pytest.mark.parametrize(
    ("picture", "query"), [(ONE, "?show=image"), (PAGE, "?show=image&fields=digit")], ids=["image", "page"]
)
def test_the_image_that_the_network_saw_is_shown(client: FlaskClient, picture: Batch, query: str) -> None:
    shown = post(client, encode(picture), "image/png", query).get_json()["predictions"][0]
    image = b64decode(shown.pop("image"))
    assert (picture is PAGE) == (list(shown) == ["digit"])
    with Image.open(BytesIO(image)) as seen:
        assert (seen.format, seen.mode, seen.size) == ("PNG", "L", (28, 28))
        assert np.array_equal(np.asarray(seen), ONE) == (picture is ONE)
    whole = post(client, encode(picture), "image/png").get_json()["predictions"][0]
    assert post(client, image, "image/png").get_json()["predictions"] == [whole]


def test_a_row_is_answered_digit_by_digit(client: FlaskClient) -> None:
    row = np.concatenate([PAGE, PAGE], axis=1)
    answer = post(client, form(encode(row), encode(PAGE)), FORM, "?split=digits&fields=digit").get_json()
    one = post(client, encode(PAGE), "image/png", "?fields=digit").get_json()["predictions"][0]["digit"]
    assert [(entry["digit"], entry["picture"]) for entry in answer["predictions"]] == [(one, 1), (one, 1), (one, 2)]
    assert [entry["box"] for entry in answer["predictions"]] == [
        [265, 50, 275, 150],
        [615, 50, 625, 150],
        [265, 50, 275, 150],
    ]
    assert answer["numbers"] == [f"{one}{one}", f"{one}"]
    assert list(answer) == ["model", "version", "numbers", "predictions"]


@pytest.mark.parametrize(("fields", "word"), [("colour", "'colour'"), ("digit,colour", "'colour'"), ("", "''")])
def test_an_unknown_field_is_named(client: FlaskClient, fields: str, word: str) -> None:
    response = post(client, encode(ONE), "image/png", f"?fields={fields}")
    assert response.status_code == 400
    assert f"fields has {word}; allowed are digit, confidence, uncertain" in assert_one_sentence(response)


def test_a_refused_request_counts_no_prediction(client: FlaskClient) -> None:
    post(client, form(encode(ONE), encode(ONE), b"bad"), FORM)
    exposition = client.get("/metrics").text
    assert 'digits_rejected_total{reason="unsupported_media_type"} 1.0' in exposition
    assert "digits_predictions_total{" not in exposition
    assert "digits_pictures_per_request_count 0.0" in exposition


def test_without_a_model_503(serve: Serve, models: Path, versions: Versions) -> None:
    client = serve(models)
    response = post(client, encode(ONE), "image/png")
    assert response.status_code == 503
    assert assert_one_sentence(response) == "no model is loaded yet"
    versions.put(models, 1, digit=3)
    service_of(client).store.refresh()
    assert post(client, encode(ONE), "image/png", "?fields=digit").get_json()["predictions"] == [{"digit": 3}]


class Held:
    """A runtime that says when it was called, and answers when it may."""

    name = "held"

    def __init__(self) -> None:
        self.called, self.may_answer = threading.Event(), threading.Event()

    def __call__(self, batch: Batch) -> Probabilities:
        self.called.set()
        assert self.may_answer.wait(30)
        return np.full((len(batch), 10), 0.1, np.float32)


def test_one_request_too_many_is_told_to_come_again(serve: Serve, one_version: Path) -> None:
    client = serve(one_version, max_in_flight=1)
    store, held = service_of(client).store, Held()
    assert store.current
    model, store.current = store.current, replace(store.current, runtime=held)
    with ThreadPoolExecutor(1) as pool:
        first: Any = pool.submit(post, client.application.test_client(), encode(ONE), "image/png")
        assert held.called.wait(30)
        second = post(client, encode(ONE), "image/png")
        in_flight = [
            line for line in client.get("/metrics").text.splitlines() if line.startswith("digits_in_flight_requests")
        ]
        held.may_answer.set()
        assert first.result().status_code == 200
    assert second.status_code == 429
    assert int(second.headers["Retry-After"]) >= 1
    assert "1 requests are in flight, which is the limit" in assert_one_sentence(second)
    assert in_flight == ["digits_in_flight_requests 2.0"]
    store.current = model
    assert_good(client)


def test_refused_requests_give_their_place_back(serve: Serve, one_version: Path) -> None:
    client = serve(one_version, max_in_flight=1)
    for _ in range(3):
        assert post(client, b"bad", "image/png").status_code == 415
    assert_good(client)
