import json
import string
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from service.errors import BadRequest, NoDigitFound, PayloadTooLarge, RequestError, UnsupportedMediaType
from service.imaging import reader
from service.imaging.reader import NormaliseOptions
from service.prediction import body_parser
from service.settings import Settings
from service.types import Batch
from tests.service.payloads import FORM, encode, form, idx3, json_of, npy, npy_of, stroke
from training.data.mnist import Dataset

LIMITS = Settings(max_pictures=3)
ONES = np.stack([stroke()] * 3)

WHOLE: dict[str, tuple[str, bytes]] = {
    "form": (FORM, form(*map(encode, ONES))),
    "JSON rows": ("application/json", json_of(*ONES)),
    "JSON numbers": ("application/json", json_of(*ONES.reshape(3, 784))),
    "JSON whole floats": ("application/json", json_of(*ONES.astype(np.float64))),
    "JSON base64": ("application/json", json_of(*map(encode, ONES))),
    "octets": ("application/octet-stream", ONES.tobytes()),
    "IDX": ("application/octet-stream", idx3(ONES)),
    "npy": ("application/x-npy", npy(ONES)),
    "npy of octets": ("application/octet-stream", npy(ONES.reshape(3, 784))),
}
PICTURES: dict[str, tuple[str, bytes]] = {
    "PNG": ("image/png", encode(stroke())),
    "palette PNG": ("image/png", encode(stroke(), mode="P")),
    "JPEG": ("image/jpeg", encode(stroke(), kind="JPEG")),
    "GIF": ("image/gif", encode(stroke(), kind="GIF")),
    "BMP": ("image/bmp", encode(stroke(), kind="BMP")),
    "WEBP": ("image/webp", encode(stroke(), kind="WEBP")),
    "TIFF": ("image/tiff", encode(stroke(), kind="TIFF")),
}
TYPES = sorted({kind for kind, _ in (WHOLE | PICTURES).values()} | {"", "text/plain", "multipart/form-data"})


@pytest.mark.parametrize("name", WHOLE)
def test_every_form_gives_the_images_in_order(name: str, mnist: Dataset) -> None:
    images = mnist.test.images[:3]
    written = {
        "form": form(*map(encode, images)),
        "JSON rows": json_of(*images),
        "JSON numbers": json_of(*images.reshape(3, 784)),
        "JSON whole floats": json_of(*images.astype(np.float64)),
        "JSON base64": json_of(*map(encode, images)),
        "octets": images.tobytes(),
        "IDX": idx3(images),
        "npy": npy(images),
        "npy of octets": npy(images.reshape(3, 784)),
    }
    kind, _ = WHOLE[name]
    assert np.array_equal(body_parser.parse_body(written[name], kind, LIMITS).images, images)


@pytest.mark.parametrize(("name", "kind", "body"), [(name, *whole) for name, whole in WHOLE.items()])
def test_the_limit_on_pictures_is_exact(name: str, kind: str, body: bytes) -> None:
    assert len(body_parser.parse_body(body, kind, LIMITS).images) == 3, name
    with pytest.raises(PayloadTooLarge, match=r"(3|more than 2) (entries|images|parts)") as caught:
        body_parser.parse_body(body, kind, replace(LIMITS, max_pictures=2))
    assert "2" in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("Application/JSON", json_of(stroke())),
        ("application/json; charset=utf-8", json_of(stroke())),
        ("IMAGE/PNG", encode(stroke())),
        ("Multipart/Form-Data; Boundary=edge", form(encode(stroke()))),
        ('multipart/form-data; boundary="edge"', form(encode(stroke()))),
        ("image/jpeg", encode(stroke())),
    ],
)
def test_a_type_may_be_written_in_any_way(kind: str, body: bytes) -> None:
    """RFC 9110, 8.3.1: type, subtype and the names of parameters are case-insensitive."""
    assert np.array_equal(body_parser.parse_body(body, kind, LIMITS).images, [stroke()])


def test_form_fields_are_no_pictures() -> None:
    field = b'--edge\r\nContent-Disposition: form-data; name="token"\r\n\r\nsecret\r\n'
    assert np.array_equal(body_parser.parse_body(field + form(encode(stroke())), FORM, LIMITS).images, [stroke()])


def test_octets_are_images_as_they_are() -> None:
    """Blank, inverted, and one that begins as an IDX3 file does."""
    images = np.zeros((3, 28, 28), np.uint8)
    images[1] = 255
    images[2].reshape(-1)[:4] = [0, 0, 8, 3]
    for part in (images, images[2:]):
        assert np.array_equal(body_parser.parse_body(part.tobytes(), "application/octet-stream", LIMITS).images, part)


@pytest.mark.parametrize("name", WHOLE)
def test_every_form_is_normalised_where_that_is_asked_for(name: str) -> None:
    kind, body = WHOLE[name]
    (expected,) = reader.read_image(stroke(), NormaliseOptions("always"))
    read = body_parser.parse_body(body, kind, LIMITS, NormaliseOptions("always"))
    assert np.array_equal(read.images, [expected.image] * 3)
    assert not np.array_equal(expected.image, stroke())
    assert read.sources == [(number, expected.box) for number in (1, 2, 3)]


def test_the_digits_of_all_pictures_count_as_pictures() -> None:
    row = np.concatenate([stroke(), stroke()], axis=1)
    split = NormaliseOptions(split=True)
    assert [
        place[0]
        for place in body_parser.parse_body(form(encode(row), encode(stroke())), FORM, LIMITS, split).sources or ()
    ] == [1, 1, 2]
    with pytest.raises(PayloadTooLarge, match="the pictures have more than 3 digits"):
        body_parser.parse_body(form(encode(row), encode(row)), FORM, LIMITS, split)


@pytest.mark.parametrize(
    ("kind", "body", "error"),
    [
        (FORM, form(encode(stroke()), b"", encode(stroke())), BadRequest),
        (FORM, form(encode(stroke()), b"text", encode(stroke())), UnsupportedMediaType),
        (FORM, form(encode(stroke()), encode(stroke() * 0), encode(stroke())), NoDigitFound),
        ("application/json", json_of(stroke(), stroke() * 0, stroke()), NoDigitFound),
        ("application/json", json_of(stroke(), [], stroke()), BadRequest),
    ],
)
def test_one_bad_picture_of_many_is_named(kind: str, body: bytes, error: type[RequestError]) -> None:
    with pytest.raises(error, match=r"^picture 2 of 3: "):
        body_parser.parse_body(body, kind, LIMITS)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", json_of([[0] * length for length in range(1, 2000)])),
        ("application/json", json_of(["x" * 5000] * 784)),
        ("application/x-npy", npy_of("'|u1'", "(" + "1," * 3000 + ")")),
        ("application/x-npy", npy_of("[" + ",".join(f"('f{field}', '|u1')" for field in range(400)) + "]", "(1,)")),
        ("text/" + "x" * 5000, b"body"),
        ("multipart/form-data; boundary=" + "x" * 5000, b"body"),
    ],
)
def test_what_a_client_writes_does_not_fill_the_sentence(kind: str, body: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        body_parser.parse_body(body, kind, LIMITS)
    assert len(str(caught.value)) < 300


def damage(whole: bytes, edits: list[tuple[int, int, bytes]], kept: int) -> bytes:
    """Replace `length` bytes at `place` by others, for each edit, and cut off what is over `kept`."""
    body = bytearray(whole)
    for place, length, others in edits:
        start = place % (len(body) + 1)
        body[start : start + length] = others
    return bytes(body[:kept])


DAMAGES = {
    "edits": st.lists(
        st.tuples(st.integers(0, 200) | st.integers(0, 20_000), st.integers(0, 9), st.binary(max_size=9)), max_size=5
    ),
    "kept": st.just(20_000) | st.integers(0, 2000),
}
LITERALS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["|u1", "<f8", "|O", "", "m8[", "a"]),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text(string.printable), inner),
)
FUZZ = settings(max_examples=150, deadline=None, derandomize=True)


def assert_answered(body: bytes, kind: str) -> None:
    """Either images, or a client's mistake in one short sentence; nothing else may escape."""
    answer = read_or_refuse(body, kind)
    if isinstance(answer, RequestError):
        assert 400 <= answer.status < 500
        assert 0 < len(str(answer)) < 300
        assert str(answer).isprintable()
    else:
        assert answer.dtype == np.uint8
        assert answer.shape in {(count, 28, 28) for count in range(1, LIMITS.max_pictures + 1)}


def read_or_refuse(body: bytes, kind: str) -> Batch | RequestError:
    try:
        return body_parser.parse_body(body, kind, LIMITS).images
    except RequestError as error:
        return error


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("kind", "whole"), list((WHOLE | PICTURES).values()), ids=list(WHOLE | PICTURES))
@FUZZ
@given(**DAMAGES)
def test_a_damaged_body(kind: str, whole: bytes, edits: list[tuple[int, int, bytes]], kept: int) -> None:
    assert_answered(damage(whole, edits, kept), kind)


@pytest.mark.parametrize("kind", TYPES)
@FUZZ
@given(body=st.binary(max_size=2000))
def test_any_bytes(kind: str, body: bytes) -> None:
    assert_answered(body, kind)


@FUZZ
@given(kind=st.text(max_size=80) | st.builds("multipart/form-data; {}={}".format, st.text(), st.text()))
def test_any_type(kind: str) -> None:
    assert_answered(form(encode(stroke())), kind)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@FUZZ
@given(descr=LITERALS | st.just("|u1"), shape=LITERALS | st.just((1, 28, 28)), fortran=LITERALS | st.just(value=False))
@example(descr=(), shape=(1, 28, 28), fortran=False)
@example(descr="|u1", shape=(-1, 28, 28), fortran=False)
def test_any_npy_header(descr: object, shape: object, fortran: object) -> None:
    assert_answered(npy_of(repr(descr), repr(shape), fortran=repr(fortran)), "application/x-npy")


def test_an_npy_header_with_a_number_too_long_to_print() -> None:
    assert_answered(npy_of("'|u1'", f"(0x{'f' * 9000}, 28, 28)"), "application/x-npy")


@FUZZ
@given(document=LITERALS | st.builds(lambda images: {"images": images}, LITERALS))
def test_any_json(document: object) -> None:
    assert_answered(json.dumps(document).encode(), "application/json")
