"""Tests the fast path against the general parser: common bodies are read on it and give the same images; every other
body is left to the general parser."""

import json
import struct
import zlib
from base64 import b64encode

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import RequestError
from service.prediction import body_parser, fast_path
from service.prediction.fast_path import MAX_IMAGES
from service.settings import Settings
from tests.service.payloads import FORM, encode, form, idx3, json_of, npy, pad_png, stroke
from training.data.mnist import Dataset

SETTINGS = Settings()
ONE = stroke()
NOISY = np.clip(ONE.astype(int) + np.random.default_rng(0).integers(0, 60, (28, 28)), 0, 255).astype(np.uint8)
"""Light on dark, with a border that is not 0."""
JSON, OCTETS = "application/json", "application/octet-stream"


def read(body: bytes, content_type: str, settings: Settings = SETTINGS) -> bytes | None:
    return fast_path.try_read(body, content_type.encode(), settings)


def parse_generally(body: bytes, content_type: str) -> bytes:
    return body_parser.parse_body(body, content_type, SETTINGS).images.tobytes()


def curl_form(*files: bytes) -> bytes:
    head = 'Content-Disposition: form-data; name="file"; filename="seven.png"\r\nContent-Type: image/png\r\n\r\n'
    return b"".join(b"--edge\r\n" + head.encode() + file + b"\r\n" for file in files) + b"--edge--\r\n"


ELIGIBLE: dict[str, tuple[bytes, str]] = {
    "PNG": (encode(ONE), "image/png"),
    "PNG with another type": (encode(ONE), "image/jpeg; q=1"),
    "PNG as octets": (encode(ONE), OCTETS),
    "PNG without a type": (encode(ONE), ""),
    "PNG as curl sends it": (encode(ONE), "application/x-www-form-urlencoded"),
    "PNG as text": (encode(ONE), "text/plain"),
    "PNG as JSON": (encode(ONE), JSON),
    "JSON of a data URL": (json_of("data:image/png;base64," + b64encode(encode(ONE)).decode()), JSON),
    "JSON of one image": (json_of(ONE).replace(b"[[[", b"[[").replace(b"]]]", b"]]"), JSON),
    "JSON of one image, with its key": (json_of(ONE).replace(b"images", b"image"), JSON),
    "JSON of 28x28x1": (json_of(ONE[..., None]), JSON),
    "JSON of 1x28x28": (json_of(ONE[None], NOISY[None]), JSON),
    "JSON of floats": (json_of(ONE.astype(float)), JSON),
    "JSON array": (json.dumps([ONE.tolist(), NOISY.tolist()]).encode(), JSON),
    "JSON array of one image": (json.dumps(ONE.tolist()).encode(), JSON),
    "form": (form(encode(ONE)), FORM),
    "form of many": (form(*[encode(ONE)] * 16), FORM),
    "form as curl sends it": (curl_form(encode(ONE), encode(ONE)), "multipart/form-data; boundary=edge"),
    "JSON of rows": (json_of(ONE), JSON),
    "JSON of numbers": (json_of(ONE.reshape(784)), JSON),
    "JSON of base64": (json_of(encode(ONE)), JSON),
    "JSON of many": (json_of(ONE, NOISY, encode(ONE)), JSON),
    "JSON instances": (json_of(ONE).replace(b"images", b"instances"), JSON),
    "raw bytes": (ONE.tobytes(), OCTETS),
    "raw bytes of many": (np.stack([ONE] * 16).tobytes(), OCTETS),
    "blank raw bytes": (bytes(784), OCTETS),
    "IDX3": (idx3(ONE[None]), OCTETS),
    ".npy": (npy(ONE[None]), OCTETS),
}

INELIGIBLE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "image/png"),
    "too long": (bytes(784 * 100), OCTETS),
    "too many bytes": (bytes(784 * 17), OCTETS),
    "too many in JSON": (json_of(*[encode(ONE)] * 17), JSON),
    "too many in a form": (form(*[encode(ONE)] * 17), FORM),
    "PNG with a border": (encode(NOISY), "image/png"),
    "dark on light": (encode(255 - ONE), "image/png"),
    "blank": (encode(ONE * 0), "image/png"),
    "faint": (encode(ONE // 8), "image/png"),
    "faint JSON": (json_of(ONE // 8), JSON),
    "JPEG": (encode(ONE, kind="JPEG"), "image/jpeg"),
    "JPEG in a form": (form(encode(ONE, kind="JPEG")), FORM),
    "JPEG in JSON": (json_of(encode(ONE, kind="JPEG")), JSON),
    "one of two dark on light": (form(encode(ONE), encode(255 - ONE)), FORM),
    "invalid JSON": (b"{", JSON),
    "JSON of another shape": (b'{"images": [[1, 2]]}', JSON),
    "JSON of other base64": (b'{"images": ["!"]}', JSON),
    "JSON with true": (json_of([True, *ONE.reshape(784).tolist()[1:]]), JSON),
    "JSON with false": (json_of([False, *ONE.reshape(784).tolist()[1:]]), JSON),
    "JSON of base64 with another character": (json_of(encode(ONE)).replace(b"iVBOR", b"iVB!OR"), JSON),
    "form without its end": (form(encode(ONE))[:-6], FORM),
    "form of a field": (form(encode(ONE)).replace(b"; filename=", b"; name="), FORM),
    "form with another part header": (curl_form(encode(ONE)).replace(b"\r\n\r\n", b"\r\nX: y\r\n\r\n", 1), FORM),
    "form with a file name that is not UTF-8": (form(encode(ONE)).replace(b"digit.png", b"\x80.png"), FORM),
    "unsupported type": (ONE.tobytes(), "text/plain"),
    "no type": (ONE.tobytes(), ""),
    "JSON of fractions": (json_of(ONE / 255), JSON),
    "JSON of whole numbers and fractions": (json_of(ONE, ONE / 2), JSON),
    "PNG of 784 bytes as octets": (pad_png(encode(ONE), 784), OCTETS),
    "JPEG as octets": (encode(ONE, kind="JPEG").ljust(784), OCTETS),
    "HEIC as octets": (b"\0\0\0\x18ftypheic".ljust(784, b"\0"), OCTETS),
    "JSON as octets": (json_of([ONE.tolist()]).ljust(784 * 20), OCTETS),
    "JPEG in a data URL": (json_of("data:image/jpeg;base64," + b64encode(encode(ONE, kind="JPEG")).decode()), JSON),
    "JSON of objects": (json_of({"b64": b64encode(encode(ONE)).decode()}), JSON),
    "783 raw bytes": (bytes(783), OCTETS),
}


@pytest.mark.parametrize("kind", ELIGIBLE)
def test_common_bodies_are_read_on_the_fast_path_with_the_same_images(kind: str) -> None:
    body, content_type = ELIGIBLE[kind]
    assert read(body, content_type) == parse_generally(body, content_type)


@pytest.mark.parametrize("kind", INELIGIBLE)
def test_other_bodies_are_left_to_the_general_parser(kind: str) -> None:
    assert read(*INELIGIBLE[kind]) is None


def test_the_limit_on_pictures_applies() -> None:
    """That of the settings, where it is lower; one of this module is no limit of the general parser."""
    two = Settings(max_pictures=2)
    three = [encode(ONE)] * 3
    assert read(form(*three[:2]), FORM, two) == ONE.tobytes() * 2
    for body, kind in ((form(*three), FORM), (json_of(*three), JSON), (bytes(3 * 784), OCTETS)):
        assert read(body, kind, two) is None


@pytest.mark.parametrize("count", [MAX_IMAGES, MAX_IMAGES + 1])
def test_the_limit_on_images_is_16(count: int) -> None:
    images = ONE.tobytes() * count
    expected = images if count <= 16 else None
    assert read(form(*[encode(ONE)] * count), FORM) == expected
    assert read(json_of(*[encode(ONE)] * count), JSON) == expected
    assert read(images, OCTETS) == expected


def test_the_limit_on_a_body_is_64_kib() -> None:
    """White space after JSON changes the size alone."""
    body = json_of(ONE)
    assert read(body.ljust(1 << 16), JSON) == ONE.tobytes()
    assert read(body.ljust((1 << 16) + 1), JSON) is None


def uncompressed_png(pixels: bytes) -> bytes:
    """A PNG file of 784 pixels whose data is stored, so that the pixels are bytes of the file."""
    rows = b"".join(b"\0" + pixels[start : start + 28] for start in range(0, 784, 28))
    chunks = {b"IHDR": struct.pack(">2I5B", 28, 28, 8, 0, 0, 0, 0), b"IDAT": zlib.compress(rows, 0), b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks.items()
    )


@pytest.mark.parametrize("text", [b"--edge", b"\r\n--edge is near", b"\r\n--edge--\r\n"])
def test_a_form_whose_picture_contains_the_boundary_is_left_to_the_general_parser(text: bytes) -> None:
    """The picture alone is eligible; the general parser may see a delimiter in it."""
    start = 14 * 28 + 14 - len(text) // 2  # in the middle, so that the picture has MNIST's form
    pixels = ONE.tobytes()[:start] + text + ONE.tobytes()[start + len(text) :]
    file = uncompressed_png(pixels)
    assert text in file
    assert read(file, "image/png") == pixels
    assert read(form(file), FORM) is None
    other_boundary = (
        form(uncompressed_png(pixels)).replace(b"--edge\r\nC", b"--other\r\nC").removesuffix(b"--edge--\r\n")
    )
    assert read(other_boundary + b"--other--\r\n", "multipart/form-data; boundary=other") == pixels


@pytest.mark.parametrize(
    ("low", "high", "eligible"),
    [(0, 31, False), (0, 32, True), (0, 255, True), (1, 32, False), (1, 33, True), (200, 255, True)],
)
def test_the_minimum_contrast_is_that_of_the_general_parser(low: int, high: int, *, eligible: bool) -> None:
    """With a border of 0, which is checked without NumPy, and with another one."""
    image = np.full((28, 28), low, np.uint8)
    image[10:20, 13:15] = high
    assert (read(json_of(image), JSON) is not None) == eligible
    if eligible:
        assert parse_generally(json_of(image), JSON) == image.tobytes()
    else:
        with pytest.raises(RequestError):
            parse_generally(json_of(image), JSON)


@given(st.data(), st.sampled_from(sorted(ELIGIBLE)))
def test_a_changed_body_gives_the_same_images_or_is_left_to_the_general_parser(data: st.DataObject, kind: str) -> None:
    body, content_type = ELIGIBLE[kind]
    changed = bytearray(body)
    for _ in range(data.draw(st.integers(1, 3))):
        offset = data.draw(st.integers(0, len(body) - 1))
        changed[offset : offset + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    images = read(bytes(changed), content_type)
    if images is not None:
        assert images == parse_generally(bytes(changed), content_type)


@given(st.text("multipart/form-data;boundry= edgXY", max_size=40))
def test_any_content_type(content_type: str) -> None:
    body = form(encode(ONE))
    images = read(body, content_type)
    if images is not None:
        assert images == parse_generally(body, content_type)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3), st.lists))
def test_any_json(images: object) -> None:
    body = json.dumps({"images": images}).encode()
    if (found := read(body, JSON)) is not None:
        assert found == parse_generally(body, JSON)


def test_every_mnist_image_as_png_is_read_on_the_fast_path(mnist: Dataset) -> None:
    assert all(read(encode(image), "image/png") == image.tobytes() for image in mnist.test.images[:500])


def test_a_body_that_the_general_parser_rejects_raises_no_error_here() -> None:
    for body, content_type in INELIGIBLE.values():
        try:
            body_parser.parse_body(body, content_type, SETTINGS)
        except RequestError:
            assert read(body, content_type) is None
