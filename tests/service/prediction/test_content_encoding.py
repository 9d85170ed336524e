"""Tests the content codings of request bodies against Python's gzip and zlib: members, limits, damage."""

import gzip
import zlib
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import BadRequest, PayloadTooLarge, RequestError, UnsupportedMediaType
from service.prediction.content_encoding import decode_body

TEXT = bytes(range(256)) * 1000
LIMIT = len(TEXT)


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "GZip": gzip.compress,
    " deflate ": zlib.compress,
    "deflate": raw_deflate,
    "identity": bytes,
    "": bytes,
    "deflate, gzip": lambda data: gzip.compress(zlib.compress(data)),
    "identity, gzip,": gzip.compress,
    "gzip, gzip, gzip": lambda data: gzip.compress(gzip.compress(gzip.compress(data))),
}


@pytest.mark.parametrize("coding", ENCODERS)
def test_codings_are_undone_from_the_last_to_the_first(coding: str) -> None:
    assert decode_body(ENCODERS[coding](TEXT), coding, LIMIT) == TEXT


@given(st.binary(max_size=3000), st.sampled_from(sorted(ENCODERS)))
def test_any_body_is_decoded(data: bytes, coding: str) -> None:
    assert decode_body(ENCODERS[coding](data), coding, 5000) == data


def test_members_are_joined_wherever_they_end() -> None:
    """Of one byte, of nothing, and of more than a piece of 64 KiB."""
    parts = [b"", b"a", TEXT, bytes(70_000), b"", b"b"]
    stored = [gzip.compress(part, compresslevel=0) for part in parts]
    assert decode_body(b"".join(stored), "gzip", 1 << 20) == b"".join(parts)
    assert decode_body(b"".join(map(gzip.compress, parts)), "gzip", 1 << 20) == b"".join(parts)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_the_limit_after_inflation_is_exact(coding: str) -> None:
    body = ENCODERS[coding](TEXT)
    assert decode_body(body, coding, LIMIT) == TEXT
    message = r"^the body has more than 255999 bytes after inflation; 255999 are allowed$"
    with pytest.raises(PayloadTooLarge, match=message):
        decode_body(body, coding, LIMIT - 1)


def test_the_limit_applies_to_all_members_and_to_every_coding() -> None:
    with pytest.raises(PayloadTooLarge):
        decode_body(gzip.compress(bytes(60)) * 2, "gzip", 100)
    with pytest.raises(PayloadTooLarge):
        decode_body(gzip.compress(gzip.compress(b"a") + gzip.compress(b"") * 50), "gzip, gzip", 100)


def test_a_bomb_is_inflated_to_the_limit_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call of zlib may return one byte more than what is left of the limit."""
    allowed: list[int] = []

    class Inflater:
        eof, unused_data = False, b""

        def decompress(self, _: bytes, max_length: int) -> bytes:
            allowed.append(max_length)
            return bytes(min(max_length, 600))

    monkeypatch.setattr(zlib, "decompressobj", lambda _: Inflater())
    with pytest.raises(PayloadTooLarge):
        decode_body(bytes(1 << 20), "gzip", 1000)
    assert allowed == [1001, 401]


def test_the_limit_on_members_is_exact() -> None:
    member = gzip.compress(b"")
    assert decode_body(member * 1000, "gzip", 10) == b""
    with pytest.raises(PayloadTooLarge, match=r"^the gzip data of the body has more than 1000 members, "):
        decode_body(member * 1001, "gzip", 10)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "deflate, gzip"])
def test_truncated_data_is_rejected_at_every_length(coding: str) -> None:
    body = ENCODERS[coding](b"some text")
    for length in range(1, len(body)):
        with pytest.raises(BadRequest):
            decode_body(body[:length], coding, 100)
    with pytest.raises(BadRequest, match=r"^the gzip data of the body is truncated: it has no end within 20 bytes$"):
        decode_body(gzip.compress(b"some text")[:20], "gzip", 100)


@pytest.mark.parametrize(
    ("body", "coding", "message"),
    [
        (gzip.compress(b"a") + b"x", "gzip", "the gzip data of the body is followed by other bytes"),
        (gzip.compress(b"a") + bytes(9), "gzip", "the gzip data of the body is followed by other bytes"),
        (zlib.compress(b"a") + b"x", "deflate", "the deflate data of the body is followed by other bytes"),
        (raw_deflate(b"a") * 2, "deflate", "the deflate data of the body is followed by other bytes"),
        (
            b'{"images": []}',
            "gzip",
            "the body is not gzip data, or damaged; without compression, leave out Content-Encoding: gzip",
        ),
        (
            zlib.compress(b"a"),
            "gzip",
            "the body is not gzip data, or damaged; without compression, leave out Content-Encoding: gzip",
        ),
        (
            gzip.compress(bytes(range(256)) * 400, compresslevel=0)[:-8] + bytes(8),
            "gzip",
            "the gzip data of the body is damaged, or followed by other bytes",
        ),
        (b"x", "gzip, gzip, deflate, gzip", "the body has 4 content encodings; 3 are allowed"),
    ],
)
def test_damaged_data_is_rejected(body: bytes, coding: str, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        decode_body(body, coding, 1 << 20)
    assert str(caught.value) == message


@pytest.mark.parametrize("name", ["br", "zstd", "compress", "gzip;q=1", "x" * 50])
def test_other_codings_are_rejected_with_those_supported(name: str) -> None:
    message = f"the content encoding is {name!r}; supported: gzip, deflate, identity"
    for coding in (name, f"gzip, {name}", f"{name.upper()},identity"):
        with pytest.raises(UnsupportedMediaType) as caught:
            decode_body(b"body", coding, 100)
        assert str(caught.value) == message


def test_an_empty_body_stays_empty() -> None:
    assert decode_body(b"", "gzip", 100) == b""


def test_a_body_without_codings_is_returned_as_it_is() -> None:
    body = bytes(10)
    assert decode_body(body, "", 5) is body
    assert decode_body(body, "identity", 5) is body


@given(st.binary(max_size=200), st.sampled_from(["gzip", "deflate"]))
def test_any_bytes_are_inflated_or_rejected(body: bytes, coding: str) -> None:
    with suppress(RequestError):
        assert len(decode_body(body, coding, 100)) <= 100
