"""Tests base64 in the forms of clients against Python's encoders."""

from base64 import b64encode, encodebytes, urlsafe_b64encode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.errors import BadRequest
from service.prediction.base64_text import decode_base64, is_base64_file
from tests.service.payloads import encode, stroke


@given(st.binary(max_size=200))
@example(b"\xfb\xef\xbe" * 30)
def test_every_form_of_base64_is_decoded(data: bytes) -> None:
    plain, safe = b64encode(data).decode(), urlsafe_b64encode(data).decode()
    lines = encodebytes(data).decode()
    texts = [plain, safe, lines, plain.rstrip("="), safe.rstrip("="), lines.replace("\n", "\r\n"), f" {plain}\n"]
    for text in texts:
        assert decode_base64(text) == data
        assert decode_base64(f"data:image/png;base64,{text}") == data
        assert decode_base64(f"DATA:;BASE64,{text}") == data
    assert decode_base64(plain.replace("+", " "), space="+") == data


@pytest.mark.parametrize(
    "text", ["data:", "data:image/png,abc", "data:image/png;base64", f"data:{'a' * 300};base64,aGk="]
)
def test_a_data_url_needs_base64(text: str) -> None:
    with pytest.raises(BadRequest, match=r"^the data URL has no base64; expected: data:image/png;base64,\.\.\.$"):
        decode_base64(text)


def test_the_head_of_a_data_url_has_at_most_256_characters() -> None:
    head = "data:" + "a" * (255 - len("data:;base64")) + ";base64"
    assert decode_base64(f"{head},aGk=") == b"hi"
    assert decode_base64(f"{head},{b64encode(bytes(1000)).decode()}") == bytes(1000)
    with pytest.raises(BadRequest):
        decode_base64(f"data:a{head.removeprefix('data:')},aGk=")


@pytest.mark.parametrize("text", ["!", "aGk=!", "é", "a", "aGk==aGk=", "a\0Gk="])
def test_other_texts_are_rejected(text: str) -> None:
    with pytest.raises(BadRequest, match=r"^the base64 cannot be read: "):
        decode_base64(text)


def test_base64_of_a_file_is_told_by_its_first_characters() -> None:
    for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "AVIF"):
        file = encode(stroke(), kind=kind)
        assert is_base64_file(b64encode(file))
        assert is_base64_file(encodebytes(file))
    assert is_base64_file(b"data:text/plain,a")
    for text in (b"", b"seven", b"a text with spaces", b64encode(bytes(99)), b"{}", b"\xff" * 50):
        assert not is_base64_file(text)
