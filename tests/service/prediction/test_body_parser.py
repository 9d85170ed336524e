"""Tests the general parser: every format with its limits and errors, against the builders and werkzeug, and any bytes.

Bulk formats are tested in test_array_formats.py, pictures in tests/service/imaging.
"""

import json
import string
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from service.errors import BadRequest, NoDigitFound, PayloadTooLarge, RequestError, UnsupportedMediaType
from service.imaging import reader
from service.imaging.reader import ExtractedDigit, NormaliseOptions
from service.prediction import body_parser, json_images, json_pixels
from service.prediction.body_parser import Source
from service.settings import Settings
from service.types import Batch
from tests.service.payloads import FORM, encode, form, idx3, json_of, npy, npy_with_header, stroke
from tests.service.prediction.invalid_bodies import INVALID_BODIES
from training.data.mnist import Dataset

LIMITS = Settings(max_pictures=3)
ONES = np.stack([stroke()] * 3)
TILTED = np.roll(stroke(), 2, axis=1)

VALID: dict[str, tuple[str, bytes]] = {
    "form": (FORM, form(*map(encode, ONES))),
    "JSON rows": ("application/json", json_of(*ONES)),
    "JSON numbers": ("application/json", json_of(*ONES.reshape(3, 784))),
    "JSON floats": ("application/json", json_of(*ONES.astype(np.float64))),
    "JSON base64": ("application/json", json_of(*map(encode, ONES))),
    "octets": ("application/octet-stream", ONES.tobytes()),
    "IDX3": ("application/octet-stream", idx3(ONES)),
    "npy": ("application/x-npy", npy(ONES)),
    "npy as octets": ("application/octet-stream", npy(ONES.reshape(3, 784))),
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
TYPES = sorted({kind for kind, _ in (VALID | PICTURES).values()} | {"", "text/plain", "multipart/form-data"})


@pytest.mark.parametrize("name", VALID)
def test_every_format_gives_the_images_in_order(name: str, mnist: Dataset) -> None:
    images = mnist.test.images[:3]
    bodies = {
        "form": form(*map(encode, images)),
        "JSON rows": json_of(*images),
        "JSON numbers": json_of(*images.reshape(3, 784)),
        "JSON floats": json_of(*images.astype(np.float64)),
        "JSON base64": json_of(*map(encode, images)),
        "octets": images.tobytes(),
        "IDX3": idx3(images),
        "npy": npy(images),
        "npy as octets": npy(images.reshape(3, 784)),
    }
    content_type, _ = VALID[name]
    assert np.array_equal(body_parser.parse_body(bodies[name], content_type, LIMITS).images, images)


@pytest.mark.parametrize("name", VALID)
def test_the_limit_on_pictures_is_exact(name: str) -> None:
    content_type, body = VALID[name]
    assert len(body_parser.parse_body(body, content_type, LIMITS).images) == 3
    with pytest.raises(PayloadTooLarge) as caught:
        body_parser.parse_body(body, content_type, replace(LIMITS, max_pictures=2))
    assert str(caught.value) in {
        "the form has more than 2 parts, which is the limit",
        "images has 3 entries; 2 are allowed",
        "the body has 3 images; 2 are allowed",
    }


@pytest.mark.parametrize("name", INVALID_BODIES)
def test_rejects_an_invalid_body_with_its_message(name: str) -> None:
    invalid = INVALID_BODIES[name]
    with pytest.raises(RequestError) as caught:
        body_parser.parse_body(invalid.body, invalid.content_type or "", Settings())
    assert caught.value.status == invalid.status
    assert invalid.matches(str(caught.value)), str(caught.value)


def test_the_limit_on_the_size_of_a_body_is_exact() -> None:
    settings = Settings(max_body_bytes=100)
    for length in (0, 100):
        body_parser.check_body_size(length, settings)
        body_parser.check_body_size(length, settings, at_least=True)
    with pytest.raises(PayloadTooLarge) as caught:
        body_parser.check_body_size(101, settings)
    assert str(caught.value) == "the body has 101 bytes; 100 are allowed"
    with pytest.raises(PayloadTooLarge) as caught:
        body_parser.check_body_size(101, settings, at_least=True)
    assert (
        str(caught.value)
        == str(body_parser.body_too_large(settings))
        == ("the body has more than 100 bytes; 100 are allowed")
    )


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
def test_the_content_type_is_case_insensitive_and_may_have_parameters(kind: str, body: bytes) -> None:
    """RFC 9110, 8.3.1: type, subtype and the names of parameters are case-insensitive."""
    assert np.array_equal(body_parser.parse_body(body, kind, LIMITS).images, [stroke()])


def test_form_fields_are_ignored() -> None:
    field = b'--edge\r\nContent-Disposition: form-data; name="token"\r\n\r\nsecret\r\n'
    assert np.array_equal(body_parser.parse_body(field + form(encode(stroke())), FORM, LIMITS).images, [stroke()])


IMAGES_OF_NUMBERS = sorted(VALID.keys() - {"form", "JSON base64"})


@pytest.mark.parametrize("name", IMAGES_OF_NUMBERS)
@pytest.mark.parametrize("mode", [None, "never"])
def test_images_of_numbers_pass_unchanged_by_contract(name: str, mode: str | None) -> None:
    """Dark on light, off centre, and with a grey ground."""
    images = np.stack([255 - stroke(), np.roll(stroke(), 5, axis=1), np.maximum(stroke(), 60)])
    content_type, body = encode_numbers(name, images)
    assert np.array_equal(body_parser.parse_body(body, content_type, LIMITS, NormaliseOptions(mode)).images, images)


@pytest.mark.parametrize("name", IMAGES_OF_NUMBERS)
def test_images_of_numbers_are_read_like_pictures_with_normalise_auto(name: str, mnist: Dataset) -> None:
    """An image in MNIST's form passes unchanged, a dark one on light ground does not."""
    auto, image = NormaliseOptions("auto"), mnist.test.images[0]
    content_type, body = encode_numbers(name, np.stack([image, 255 - image]))
    parsed = body_parser.parse_body(body, content_type, LIMITS, auto)
    (normalised,) = reader.read_image(255 - image, auto)
    assert np.array_equal(parsed.images, [image, normalised.image])
    assert not np.array_equal(normalised.image, 255 - image)
    blank_type, blank = encode_numbers(name, np.zeros((1, 28, 28), np.uint8))
    with pytest.raises(NoDigitFound):
        body_parser.parse_body(blank, blank_type, LIMITS, auto)


def encode_numbers(name: str, images: Batch) -> tuple[str, bytes]:
    """The content type and the body of images uint8 [N, 28, 28] in a format of VALID."""
    flat = images.reshape(-1, 784)
    bodies = {
        "JSON rows": json_of(*images),
        "JSON numbers": json_of(*flat),
        "JSON floats": json_of(*images.astype(np.float64)),
        "octets": images.tobytes(),
        "IDX3": idx3(images),
        "npy": npy(images),
        "npy as octets": npy(flat),
    }
    return VALID[name][0], bodies[name]


@pytest.mark.parametrize(("low", "high"), [(0, 31), (1, 32), (255, 255)])
def test_images_in_json_need_contrast(low: int, high: int) -> None:
    image = np.full((28, 28), low, np.uint8)
    image[10:20, 13:15] = high
    message = rf"^no digit to read: the pixels differ by {high - low} at most; a stroke needs 32$"
    with pytest.raises(NoDigitFound, match=message):
        body_parser.parse_body(json_of(image), "application/json", LIMITS)


@pytest.mark.parametrize(("low", "high"), [(0, 32), (1, 33), (200, 255)])
def test_images_in_json_with_a_contrast_of_32_pass(low: int, high: int) -> None:
    image = np.full((28, 28), low, np.uint8)
    image[10:20, 13:15] = high
    assert np.array_equal(body_parser.parse_body(json_of(image), "application/json", LIMITS).images, [image])


def test_raw_bytes_are_not_normalised() -> None:
    """Blank images, inverted ones, and one that starts like an IDX3 file."""
    images = np.zeros((3, 28, 28), np.uint8)
    images[1] = 255
    images[2].reshape(-1)[:4] = [0, 0, 8, 3]
    for part in (images, images[2:]):
        assert np.array_equal(body_parser.parse_body(part.tobytes(), "application/octet-stream", LIMITS).images, part)


@pytest.mark.parametrize("name", VALID)
def test_every_format_is_normalised_with_normalise_always(name: str) -> None:
    kind, body = VALID[name]
    (expected,) = reader.read_image(stroke(), NormaliseOptions("always"))
    read = body_parser.parse_body(body, kind, LIMITS, NormaliseOptions("always"))
    assert np.array_equal(read.images, [expected.image] * 3)
    assert not np.array_equal(expected.image, stroke())
    assert read.sources == [Source(number, 1, expected.box) for number in (1, 2, 3)]


def test_the_limit_on_pictures_applies_to_the_digits_of_all_pictures() -> None:
    row = np.concatenate([stroke(), stroke()], axis=1)
    split = NormaliseOptions(split=True)
    parsed = body_parser.parse_body(form(encode(row), encode(stroke())), FORM, LIMITS, split)
    assert [source.picture for source in parsed.sources or ()] == [1, 1, 2]
    assert parsed.images.shape == (3, 28, 28)
    for body, content_type in (
        (form(encode(row), encode(row)), FORM),
        (form(encode(row), encode(row), b"not read"), FORM),
        (encode(np.concatenate([row, row], axis=1)), "image/png"),
    ):
        with pytest.raises(PayloadTooLarge, match=r"^the pictures have more than 3 digits, which is the limit$"):
            body_parser.parse_body(body, content_type, LIMITS, split)


def test_a_single_picture_is_number_1_and_has_the_box_of_its_digit() -> None:
    (expected,) = reader.read_picture(encode(stroke()), LIMITS, NormaliseOptions())
    for content_type, body in (("image/png", encode(stroke())), (FORM, form(encode(stroke())))):
        assert body_parser.parse_body(body, content_type, LIMITS).sources == [Source(1, 1, expected.box)]


def test_sources_have_the_lines_of_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    box = (1, 2, 3, 4)
    found = [ExtractedDigit(stroke(), box), ExtractedDigit(TILTED, box, line=2, is_incomplete=True)]
    monkeypatch.setattr(reader, "read_picture", lambda *_: found)
    for content_type, body in (("image/png", b"file"), (FORM, form(b"file"))):
        parsed = body_parser.parse_body(body, content_type, LIMITS, NormaliseOptions(split=True))
        assert parsed.sources == [Source(1, 1, box, is_incomplete=False), Source(1, 2, box, is_incomplete=True)]
        assert np.array_equal(parsed.images, [stroke(), TILTED])


def test_bulk_formats_have_sources_only_if_they_are_normalised() -> None:
    for options, has_sources in (
        (NormaliseOptions(), False),
        (NormaliseOptions("never"), False),
        (NormaliseOptions("auto"), True),
        (NormaliseOptions("always"), True),
        (NormaliseOptions(split=True), True),
    ):
        parsed = body_parser.parse_body(ONES.tobytes(), "application/octet-stream", LIMITS, options)
        assert (parsed.sources is not None) == has_sources


def test_instances_are_images() -> None:
    """The key of TensorFlow Serving's REST API."""
    body = json_of(*ONES).replace(b"images", b"instances")
    assert np.array_equal(body_parser.parse_body(body, "application/json", LIMITS).images, ONES)
    with pytest.raises(PayloadTooLarge, match=r"^instances has 3 entries; 2 are allowed$"):
        body_parser.parse_body(body, "application/json", replace(LIMITS, max_pictures=2))


@settings(max_examples=20)
@given(st.binary(min_size=784, max_size=784), st.sampled_from([np.uint8, np.float64]))
def test_pixels_are_parsed_as_numpy_parses_them(pixels: bytes, dtype: type) -> None:
    """`booleans` selects the slower parser, which gives the same."""
    expected = np.frombuffer(pixels, np.uint8).reshape(28, 28)
    arrangements: list[object] = [expected.astype(dtype).tolist(), expected.reshape(784).astype(dtype).tolist()]
    for image in arrangements:
        for booleans in (False, True):
            parsed = json_pixels.parse_pixels(image, booleans=booleans)
            assert parsed.dtype == np.uint8
            assert np.array_equal(parsed, expected)


@pytest.mark.parametrize("value", [True, False])
def test_booleans_are_not_pixels(value: bool) -> None:  # noqa: FBT001
    image = [*stroke().reshape(-1).tolist()[:-1], value]
    with pytest.raises(
        BadRequest, match=r"^a pixel is true or false; expected: numbers from 0 to 255, or from 0 to 1$"
    ):
        json_pixels.parse_pixels(image, booleans=True)
    with pytest.raises(
        BadRequest, match=r"^a pixel is true or false; expected: numbers from 0 to 255, or from 0 to 1$"
    ):
        body_parser.parse_body(json_of(image), "application/json", LIMITS)


def test_a_form_is_parsed_as_werkzeug_parses_it() -> None:
    """Any number of files, of any names, between fields; the reference is werkzeug's public parser."""
    builder = EnvironBuilder(
        method="POST",
        data={"token": "secret", "a": (BytesIO(encode(ONES[0])), "a.png"), "b": (BytesIO(encode(TILTED)), "b.png")},
    )
    environ = builder.get_environ()
    builder.close()
    body, content_type = environ["wsgi.input"].read(), environ["CONTENT_TYPE"]
    with Request(environ | {"wsgi.input": BytesIO(body)}) as request:
        assert [file.filename for file in request.files.values()] == ["a.png", "b.png"]
        files = [file.read() for file in request.files.values()]
    parsed = body_parser.parse_body(body, content_type, LIMITS)
    assert np.array_equal(
        parsed.images, [reader.read_picture(file, LIMITS, NormaliseOptions())[0].image for file in files]
    )


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
def test_an_error_names_the_bad_picture_of_several(kind: str, body: bytes, error: type[RequestError]) -> None:
    with pytest.raises(error, match=r"^picture 2 of 3: "):
        body_parser.parse_body(body, kind, LIMITS)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", json_of([[0] * length for length in range(1, 2000)])),
        ("application/json", json_of(["x" * 5000] * 784)),
        ("application/x-npy", npy_with_header("'|u1'", "(" + "1," * 3000 + ")")),
        (
            "application/x-npy",
            npy_with_header("[" + ",".join(f"('f{field}', '|u1')" for field in range(400)) + "]", "(1,)"),
        ),
        ("text/" + "x" * 5000, b"body"),
        ("multipart/form-data; boundary=" + "x" * 5000, b"body"),
    ],
)
def test_messages_are_short_whatever_the_client_sends(kind: str, body: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        body_parser.parse_body(body, kind, LIMITS)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("content_type", "body", "count"),
    [
        (FORM, form(*[encode(stroke())] * 3), 3),
        (FORM, form(encode(stroke(), kind="JPEG"), encode(stroke(), kind="BMP"), encode(stroke(), kind="TIFF")), 3),
        ("application/json", json_of(*[encode(stroke())] * 3), 3),
        ("application/json", json_of(encode(stroke(), kind="GIF"), stroke(), *[encode(stroke(), kind="WEBP")] * 2), 4),
    ],
    ids=["form", "form of other formats", "JSON", "JSON with pixels"],
)
def test_the_pixels_of_all_pictures_are_limited_before_one_is_decoded(
    monkeypatch: pytest.MonkeyPatch, content_type: str, body: bytes, count: int
) -> None:
    options = NormaliseOptions("always")
    body_parser.parse_body(body, content_type, Settings(max_request_pixels=3 * 784), options)
    monkeypatch.setattr(reader, "read_picture", None)
    with pytest.raises(PayloadTooLarge) as caught:
        body_parser.parse_body(body, content_type, Settings(max_request_pixels=3 * 784 - 1), options)
    expected = "pictures have 2352 pixels together; 2351 are allowed; send them in several requests"
    assert str(caught.value) == f"the first {count} of {count} {expected}"


def test_a_single_picture_has_its_own_limit_of_pixels() -> None:
    settings = Settings(max_request_pixels=784, max_pixels=4 * 784)
    row = np.concatenate([stroke(), stroke()], axis=1)
    assert body_parser.parse_body(form(encode(row)), FORM, settings).images.shape == (1, 28, 28)
    with pytest.raises(PayloadTooLarge, match=r"^picture 2 of 2: the picture has 56x28 pixels; 784 are allowed$"):
        body_parser.parse_body(form(encode(stroke()), encode(row)), FORM, Settings(max_pixels=784))
    with pytest.raises(PayloadTooLarge, match=r"^picture 2 of 2: the picture has 56x28 pixels; 784 are allowed$"):
        body_parser.parse_body(json_of(stroke(), encode(row)), "application/json", Settings(max_pixels=784))


def json_with(unit: bytes, count: int) -> bytes:
    """A large document that has a character or more so many times, and is rejected for its entry or accepted."""
    return b'{"images": [' + unit * count + b"0" * (1 << 20) + b"]}"


@pytest.mark.parametrize(
    ("unit", "present", "limit", "what", "advice"),
    [
        (b"[", 1, 500_000, "arrays", "; send each image as 784 numbers"),
        (b"{", 1, 20_001, "objects", ""),
        (b'"', 2, 80_000, "quotes", ""),
        (b"-", 0, 500_000, "negative numbers", ""),
        (b".", 0, 3_000_000, "fractions", "; send integers from 0 to 255, or a .npy array"),
    ],
)
def test_what_takes_memory_in_json_is_limited(unit: bytes, present: int, limit: int, what: str, advice: str) -> None:
    with pytest.raises(BadRequest):
        json_images.parse_json_images(json_with(unit, limit - present), Settings())
    with pytest.raises(PayloadTooLarge, match=rf"^the JSON has {limit + 1} {what}; {limit} are allowed{advice}$"):
        json_images.parse_json_images(json_with(unit, limit - present + 1), Settings())


def test_large_documents_of_ordinary_images_pass() -> None:
    rows = [[0] * 28] * 28
    for images in ([rows] * 5000, [[[[0]] * 28] * 28] * 600, [rows[0] * 28] * 5000):
        assert len(json_images.parse_json_images(json_of(*images), Settings())) == len(images)
    strings = json_of(*[encode(stroke())] * 10_000)
    assert len(json_images.parse_json_images(strings, Settings())) == 10_000
    many = Settings(max_pictures=20_000)
    assert len(json_images.parse_json_images(json_of(*[[[0]] * 28] * 20_000), many)) == 20_000


def test_a_small_document_is_not_counted() -> None:
    with pytest.raises(BadRequest, match="the JSON cannot be read"):
        json_images.parse_json_images(b"{" * 1_048_576, Settings())
    with pytest.raises(PayloadTooLarge, match=r"^the JSON has 1048577 objects; 20001 are allowed$"):
        json_images.parse_json_images(b"{" * 1_048_577, Settings())


def test_an_error_in_base64_names_the_bad_picture_of_several() -> None:
    with pytest.raises(BadRequest, match=r"^picture 2 of 3: the base64 cannot be read: "):
        body_parser.parse_body(json_of(stroke(), "!", encode(stroke())), "application/json", LIMITS)


def damage(valid: bytes, edits: list[tuple[int, int, bytes]], size: int) -> bytes:
    """Replace `length` bytes at `offset` by others, for each edit, and truncate to `size` bytes."""
    body = bytearray(valid)
    for offset, length, others in edits:
        start = offset % (len(body) + 1)
        body[start : start + length] = others
    return bytes(body[:size])


DAMAGES = {
    "edits": st.lists(
        st.tuples(st.integers(0, 200) | st.integers(0, 20_000), st.integers(0, 9), st.binary(max_size=9)), max_size=5
    ),
    "size": st.just(20_000) | st.integers(0, 2000),
}
LITERALS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["|u1", "<f8", "|O", "", "m8[", "a"]),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text(string.printable), inner),
)
FUZZ = settings(max_examples=150, deadline=None, derandomize=True)


def assert_parsed_or_rejected(body: bytes, kind: str) -> None:
    """The parser returns images, or raises a RequestError with one short sentence; nothing else."""
    result = parse_or_error(body, kind)
    if isinstance(result, RequestError):
        assert 400 <= result.status < 500
        assert 0 < len(str(result)) < 300
        assert str(result).isprintable()
    else:
        assert result.dtype == np.uint8
        assert result.shape in {(count, 28, 28) for count in range(1, LIMITS.max_pictures + 1)}


def parse_or_error(body: bytes, kind: str) -> Batch | RequestError:
    try:
        return body_parser.parse_body(body, kind, LIMITS).images
    except RequestError as error:
        return error


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("kind", "valid"), list((VALID | PICTURES).values()), ids=list(VALID | PICTURES))
@FUZZ
@given(**DAMAGES)
def test_a_damaged_body(kind: str, valid: bytes, edits: list[tuple[int, int, bytes]], size: int) -> None:
    assert_parsed_or_rejected(damage(valid, edits, size), kind)


@pytest.mark.parametrize("kind", TYPES)
@FUZZ
@given(body=st.binary(max_size=2000))
def test_any_bytes(kind: str, body: bytes) -> None:
    assert_parsed_or_rejected(body, kind)


@FUZZ
@given(kind=st.text(max_size=80) | st.builds("multipart/form-data; {}={}".format, st.text(), st.text()))
def test_any_content_type(kind: str) -> None:
    assert_parsed_or_rejected(form(encode(stroke())), kind)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@FUZZ
@given(descr=LITERALS | st.just("|u1"), shape=LITERALS | st.just((1, 28, 28)), fortran=LITERALS | st.just(value=False))
@example(descr=(), shape=(1, 28, 28), fortran=False)
@example(descr="|u1", shape=(-1, 28, 28), fortran=False)
def test_any_npy_header(descr: object, shape: object, fortran: object) -> None:
    assert_parsed_or_rejected(npy_with_header(repr(descr), repr(shape), fortran=repr(fortran)), "application/x-npy")


def test_an_npy_header_with_a_very_long_number() -> None:
    assert_parsed_or_rejected(npy_with_header("'|u1'", f"(0x{'f' * 9000}, 28, 28)"), "application/x-npy")


@FUZZ
@given(document=LITERALS | st.builds(lambda images: {"images": images}, LITERALS))
def test_any_json(document: object) -> None:
    assert_parsed_or_rejected(json.dumps(document).encode(), "application/json")
