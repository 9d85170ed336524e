"""The messages between a worker and a parser process: a request is one body, a reply its images or an error.

    header    12 bytes: length of the description, length of the payload
    describe  JSON
    payload   request: the body; reply: for each image its 784 bytes, then for each its source, 8 x int32

Nothing is unpickled: a process that a hostile picture has taken over must not reach the worker with its reply.
"""

import struct
from typing import Any, NamedTuple

import numpy as np
import orjson

from service.errors import BadRequest, NoDigitFound, PayloadTooLarge, RequestError, UnsupportedMediaType
from service.imaging.reader import NormaliseOptions
from service.prediction.body_parser import ParsedBody, Source
from service.prediction.protocol import BodyFormat
from service.types import IMAGE_PIXELS, IMAGE_SIDE

HEADER = struct.Struct("=IQ")
SOURCE_NUMBERS = 8
"""A source: the numbers of the picture and of the line, left, top, right, bottom, 1 if the line is incomplete, and the
number of digits."""
SOURCE_BYTES = SOURCE_NUMBERS * 4
OUT_OF_MEMORY, FAILED = "out_of_memory", "failed"
"""Errors of a reply besides the reasons of ERRORS."""

ERRORS: dict[str, type[RequestError]] = {
    error.reason: error for error in (BadRequest, NoDigitFound, PayloadTooLarge, UnsupportedMediaType)
}
"""The errors that `parse_body` raises, by their reason."""


class InvalidReply(Exception):
    """The bytes of a reply are not one."""


class Request(NamedTuple):
    """What `protocols.parse_body` is called with, besides the settings."""

    body: bytes
    body_format: BodyFormat


class Failure(NamedTuple):
    """An error of a parser process: a reason of ERRORS, OUT_OF_MEMORY or FAILED, and its message."""

    reason: str
    message: str


class Reply(NamedTuple):
    """The result of a request. `is_last`: the process ends after it, since it has kept too much memory."""

    result: ParsedBody | Failure
    is_last: bool = False


def encode_request(request: Request) -> tuple[bytes, bytes]:
    """Encode a request: what comes before the payload, and the payload."""
    protocol, content_type, content_encoding, header_length, options = request.body_format
    names = (protocol, content_type, content_encoding, header_length)
    description = orjson.dumps([*names, options.normalise, options.split])
    return HEADER.pack(len(description), len(request.body)) + description, request.body


def decode_request(description: bytes, payload: bytes) -> Request:
    """Decode what `encode_request` encoded."""
    protocol, content_type, content_encoding, header_length, normalise, split = orjson.loads(description)
    options = NormaliseOptions(normalise, split)
    return Request(payload, BodyFormat(protocol, content_type, content_encoding, header_length, options))


def encode_reply(reply: Reply) -> bytes:
    """Encode a reply."""
    description: dict[str, Any] = {"is_last": reply.is_last}
    payload = b""
    if isinstance(reply.result, Failure):
        description["failure"] = list(reply.result)
    else:
        images, sources, envelope = reply.result
        description |= {"images": len(images), "has_sources": sources is not None, "envelope": envelope}
        payload = images.tobytes()
        if sources is not None:
            numbers = [
                (picture, line, *box, is_incomplete, digit_count)
                for picture, line, box, is_incomplete, digit_count in sources
            ]
            payload += np.array(numbers, np.int32).tobytes()
    encoded = orjson.dumps(description)
    return HEADER.pack(len(encoded), len(payload)) + encoded + payload


def decode_reply(description: bytes | bytearray, payload: bytes | bytearray) -> Reply:
    """Decode what `encode_reply` encoded.

    Raises:
        InvalidReply: the bytes are something else.
    """
    try:
        document = orjson.loads(description)
        if "failure" in document:
            reason, message = map(str, document["failure"])
            return Reply(Failure(reason, message), bool(document["is_last"]))
        count, has_sources = int(document["images"]), bool(document["has_sources"])
        if count < 1 or len(payload) != count * (IMAGE_PIXELS + SOURCE_BYTES * has_sources):
            raise InvalidReply(f"{count} images do not take {len(payload)} bytes")
        images = np.frombuffer(payload, np.uint8, count * IMAGE_PIXELS).reshape(count, IMAGE_SIDE, IMAGE_SIDE)
        sources = None
        if has_sources:
            numbers = np.frombuffer(payload, np.int32, offset=count * IMAGE_PIXELS).reshape(count, SOURCE_NUMBERS)
            sources = [
                Source(picture, line, (left, top, right, bottom), bool(is_incomplete), digit_count)
                for picture, line, left, top, right, bottom, is_incomplete, digit_count in numbers.tolist()
            ]
        envelope = document["envelope"]
        if envelope is not None and not isinstance(envelope, dict):
            raise InvalidReply("the envelope is not an object")
        return Reply(ParsedBody(images, sources, envelope), bool(document["is_last"]))
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise InvalidReply(f"the reply cannot be decoded: {error}") from None
