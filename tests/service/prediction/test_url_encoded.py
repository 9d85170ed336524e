"""Tests URL-encoded forms against Python's own parser, and their limits."""

from urllib.parse import parse_qsl, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import BadRequest, PayloadTooLarge
from service.prediction.url_encoded import decode_field, parse_url_encoded, percent_decode
from tests.service.payloads import encode, stroke


@given(
    st.lists(st.sampled_from([b"%", b"%4", b"%41", b"%aF", b"%Fa", b"%G0", b"%%", b"+", b"a", b"\x80", b"2"])).map(
        b"".join
    )
)
def test_any_text_is_decoded_as_python_decodes_it(text: bytes) -> None:
    assert percent_decode(text) == unquote_to_bytes(text.replace(b"+", b" "))


@given(st.lists(st.tuples(st.sampled_from(["image", "file", "token"]), st.text("a=+%4", max_size=5)), min_size=1))
def test_fields_are_those_that_python_parses(pairs: list[tuple[str, str]]) -> None:
    body = "&".join(f"{name}={value}" for name, value in [*pairs, ("image", "x")]).encode()
    expected = [
        (name, value) for name, value in parse_qsl(body.decode(), keep_blank_values=True) if name in {"image", "file"}
    ]
    found = parse_url_encoded(body, 1000)
    assert [(name, content.decode("utf-8", "replace")) for name, content in found] == expected


def test_the_limit_on_fields_is_exact() -> None:
    assert len(parse_url_encoded(b"&".join([b"image=a"] * 3), 3)) == 3
    with pytest.raises(PayloadTooLarge, match=r"^the form has more than 2 fields, which is the limit$"):
        parse_url_encoded(b"image=a&b&c", 2)


def test_names_are_decoded_and_may_end_in_brackets() -> None:
    assert parse_url_encoded(b"%69mage%5B%5D=a&images[]=b&image[0]=c", 9) == [("image[]", b"a"), ("images[]", b"b")]


def test_a_form_without_pictures_names_its_fields() -> None:
    with pytest.raises(BadRequest, match=r"^the URL-encoded form has the fields 'a', 'b', 'c', 'd'; send image="):
        parse_url_encoded(b"a=1&b=2&c&d=&e", 9)
    with pytest.raises(BadRequest, match=r"^the URL-encoded form has the fields none; send image="):
        parse_url_encoded(b"&", 9)


def test_a_field_is_a_file_or_base64() -> None:
    file = encode(stroke())
    assert decode_field("image", file) == file
    assert decode_field("image", b"aGk=") == b"hi"
    with pytest.raises(BadRequest, match=r"^the field 'a' of the form is neither a picture nor base64$"):
        decode_field("a", b"\xff\xfe")
