"""What the quick way reads, the long way reads the same; and it reads what clients commonly send."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import RequestError
from service.prediction import body_parser, fast_path
from service.settings import Settings
from tests.service.payloads import FORM, encode, form, idx3, json_of, npy, stroke
from training.data.mnist import Dataset

SETTINGS = Settings()
ONE = stroke()
NOISY = np.clip(ONE.astype(int) + np.random.default_rng(0).integers(0, 60, (28, 28)), 0, 255).astype(np.uint8)
"""Its border is not blank, but light on dark."""
JSON, OCTETS = "application/json", "application/octet-stream"


def read(body: bytes, content_type: str, settings: Settings = SETTINGS) -> bytes | None:
    return fast_path.try_read(body, content_type.encode(), settings)


def long_way(body: bytes, content_type: str) -> bytes:
    return body_parser.parse_body(body, content_type, SETTINGS).images.tobytes()


def curl_form(*files: bytes) -> bytes:
    head = 'Content-Disposition: form-data; name="file"; filename="seven.png"\r\nContent-Type: image/png\r\n\r\n'
    return b"".join(b"--edge\r\n" + head.encode() + file + b"\r\n" for file in files) + b"--edge--\r\n"


QUICK: dict[str, tuple[bytes, str]] = {
    "PNG": (encode(ONE), "image/png"),
    "PNG by another name": (encode(ONE), "image/jpeg; q=1"),
    "PNG with a border": (encode(NOISY), "image/png"),
    "form": (form(encode(ONE)), FORM),
    "form of many": (form(*[encode(ONE)] * 16), FORM),
    "form as curl sends it": (curl_form(encode(ONE), encode(NOISY)), "multipart/form-data; boundary=edge"),
    "JSON of rows": (json_of(ONE), JSON),
    "JSON of numbers": (json_of(ONE.reshape(784)), JSON),
    "JSON of base64": (json_of(encode(ONE)), JSON),
    "JSON of many": (json_of(ONE, NOISY, encode(ONE)), JSON),
    "JSON of instances": (json_of(ONE).replace(b"images", b"instances"), JSON),
    "bytes": (ONE.tobytes(), OCTETS),
    "bytes of many": (np.stack([ONE] * 16).tobytes(), OCTETS),
    "blank bytes": (bytes(784), OCTETS),
    "IDX": (idx3(ONE[None]), OCTETS),
    ".npy": (npy(ONE[None]), OCTETS),
}

LONG: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "image/png"),
    "too long": (bytes(784 * 100), OCTETS),
    "too many bytes": (bytes(784 * 17), OCTETS),
    "too many in JSON": (json_of(*[encode(ONE)] * 17), JSON),
    "too many in a form": (form(*[encode(ONE)] * 17), FORM),
    "dark on light": (encode(255 - ONE), "image/png"),
    "blank": (encode(ONE * 0), "image/png"),
    "faint": (encode(ONE // 8), "image/png"),
    "faint JSON": (json_of(ONE // 8), JSON),
    "JPEG": (encode(ONE, kind="JPEG"), "image/jpeg"),
    "JPEG in a form": (form(encode(ONE, kind="JPEG")), FORM),
    "JPEG in JSON": (json_of(encode(ONE, kind="JPEG")), JSON),
    "one of two dark on light": (form(encode(ONE), encode(255 - ONE)), FORM),
    "JSON that is none": (b"{", JSON),
    "JSON of another shape": (b'{"images": [[1, 2]]}', JSON),
    "JSON of other base64": (b'{"images": ["!"]}', JSON),
    "a form without its end": (form(encode(ONE))[:-6], FORM),
    "a form of a field": (form(encode(ONE)).replace(b"; filename=", b"; name="), FORM),
    "a form with its boundary in a file": (form(encode(ONE) + b"\r\n--edge is near"), FORM),
    "a form with another header": (curl_form(encode(ONE)).replace(b"\r\n\r\n", b"\r\nX: y\r\n\r\n", 1), FORM),
    "a form with a name that is no text": (form(encode(ONE)).replace(b"digit.png", b"\x80.png"), FORM),
    "a type that is none": (encode(ONE), "text/plain"),
    "no type": (encode(ONE), ""),
    "half a pixel": (bytes(783), OCTETS),
}


@pytest.mark.parametrize("kind", QUICK)
def test_what_clients_send_goes_the_quick_way_and_is_the_same(kind: str) -> None:
    body, content_type = QUICK[kind]
    assert read(body, content_type) == long_way(body, content_type)


@pytest.mark.parametrize("kind", LONG)
def test_the_rest_goes_the_long_way(kind: str) -> None:
    assert read(*LONG[kind]) is None


def test_limits_hold_here_too() -> None:
    two = Settings(max_pictures=2)
    three = [encode(ONE)] * 3
    assert read(form(*three[:2]), FORM, two)
    for body, kind in ((form(*three), FORM), (json_of(*three), JSON), (bytes(3 * 784), OCTETS)):
        assert read(body, kind, two) is None


@given(st.data(), st.sampled_from(sorted(QUICK)))
def test_a_changed_body_is_read_the_same_or_goes_the_long_way(data: st.DataObject, kind: str) -> None:
    body, content_type = QUICK[kind]
    changed = bytearray(body)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body) - 1))
        changed[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    images = read(bytes(changed), content_type)
    if images is not None:
        assert images == long_way(bytes(changed), content_type)


@given(st.text("multipart/form-data;boundry= edgXY", max_size=40))
def test_any_type(content_type: str) -> None:
    body = form(encode(ONE))
    images = read(body, content_type)
    if images is not None:
        assert images == long_way(body, content_type)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3), st.lists))
def test_any_json(images: object) -> None:
    body = json.dumps({"images": images}).encode()
    if (found := read(body, JSON)) is not None:
        assert found == long_way(body, JSON)


def test_mnist_as_png_is_quick(mnist: Dataset) -> None:
    assert all(read(encode(image), "image/png") == image.tobytes() for image in mnist.test.images[:500])


def test_no_error_leaves_it() -> None:
    for body, content_type in LONG.values():
        try:
            body_parser.parse_body(body, content_type, SETTINGS)
        except RequestError:
            assert read(body, content_type) is None
