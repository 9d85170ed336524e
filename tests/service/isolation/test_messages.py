"""The messages between a worker and a parser process: what is encoded is decoded, and nothing else is accepted."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import BadRequest, NoDigitFound, PayloadTooLarge, UnsupportedMediaType
from service.imaging.reader import NORMALISE_MODES, NormaliseOptions
from service.isolation.messages import (
    ERRORS,
    HEADER,
    Failure,
    InvalidReply,
    Reply,
    Request,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
)
from service.prediction.body_parser import ParsedBody, Source
from service.prediction.protocol import BodyFormat

IMAGES = np.arange(2 * 784, dtype=np.uint32).astype(np.uint8).reshape(2, 28, 28)
SOURCES = [Source(1, 1, (0, 1, 65_535, 28), digit_count=4), Source(10_000, 300, (7, 8, 9, 10), is_incomplete=True)]


def split(message: bytes) -> tuple[bytes, bytes]:
    """The description and the payload of a message, by the lengths of its header."""
    description, payload = HEADER.unpack_from(message)
    assert len(message) == HEADER.size + description + payload
    return message[HEADER.size : HEADER.size + description], message[HEADER.size + description :]


@given(
    body=st.binary(),
    names=st.tuples(st.text(), st.text(), st.text(), st.text()),
    options=st.builds(NormaliseOptions, st.sampled_from([None, *NORMALISE_MODES]), st.booleans()),
)
def test_a_request_is_decoded_as_it_was(
    body: bytes, names: tuple[str, str, str, str], options: NormaliseOptions
) -> None:
    request = Request(body, BodyFormat(*names, options))
    assert decode_request(*split(b"".join(encode_request(request)))) == request


@pytest.mark.parametrize("sources", [None, SOURCES])
@pytest.mark.parametrize("is_last", [False, True])
@pytest.mark.parametrize("envelope", [None, {"id": "7", "outputs": [{"name": "digit"}]}])
def test_a_result_is_decoded_as_it_was(
    *, sources: list[Source] | None, is_last: bool, envelope: dict[str, Any] | None
) -> None:
    reply = decode_reply(*split(encode_reply(Reply(ParsedBody(IMAGES, sources, envelope), is_last))))
    assert isinstance(reply.result, ParsedBody)
    assert reply.result.images.dtype == np.uint8
    assert reply.result.images.tolist() == IMAGES.tolist()
    assert (reply.result.sources, reply.result.envelope, reply.is_last) == (sources, envelope, is_last)
    assert all(isinstance(source, Source) and isinstance(source.box, tuple) for source in reply.result.sources or ())


def test_a_failure_is_decoded_as_it_was() -> None:
    failure = Failure("no_digit", 'picture 2 of 3: no "digit" \u20ac')
    assert decode_reply(*split(encode_reply(Reply(failure)))) == Reply(failure)


def test_every_error_of_the_parser_has_a_reason() -> None:
    assert {
        "bad_request": BadRequest,
        "no_digit": NoDigitFound,
        "payload_too_large": PayloadTooLarge,
        "unsupported_media_type": UnsupportedMediaType,
    } == ERRORS


@pytest.mark.parametrize(
    ("description", "payload"),
    [
        (b"", b""),
        (b"[]", b""),
        (b"null", b""),
        (b"\xff", b""),
        (b"{}", b""),
        (b'{"is_last":false,"failure":[]}', b""),
        (b'{"is_last":false,"failure":["a"]}', b""),
        (b'{"failure":["a","b"]}', b""),
        (b'{"is_last":false,"images":0,"has_sources":false,"envelope":null}', b""),
        (b'{"is_last":false,"images":-1,"has_sources":false,"envelope":null}', b""),
        (b'{"is_last":false,"images":1,"has_sources":false,"envelope":null}', bytes(783)),
        (b'{"is_last":false,"images":1,"has_sources":true,"envelope":null}', bytes(784)),
        (b'{"is_last":false,"images":"x","has_sources":true,"envelope":null}', bytes(816)),
        (b'{"is_last":false,"images":[1],"has_sources":true,"envelope":null}', bytes(816)),
        (b'{"images":1,"has_sources":true,"envelope":null}', bytes(816)),
        (b'{"is_last":false,"images":1,"has_sources":false,"envelope":[]}', bytes(784)),
        (b"[" * 5000, b""),
    ],
)
def test_anything_else_is_an_invalid_reply(description: bytes, payload: bytes) -> None:
    with pytest.raises(InvalidReply):
        decode_reply(description, payload)


@given(st.binary(), st.binary())
def test_no_bytes_raise_another_exception(description: bytes, payload: bytes) -> None:
    with pytest.raises(InvalidReply):
        decode_reply(description, payload)
