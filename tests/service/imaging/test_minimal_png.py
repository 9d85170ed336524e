"""Tests the fast PNG decoder and encoder against Pillow: the same pixels, or None for files that are not minimal."""

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from service.imaging.minimal_png import decode_minimal_png, encode_minimal_png
from tests.service.payloads import encode, stroke
from training.data.mnist import Dataset

FILE = encode(stroke())


def decode_with_pillow(file: bytes) -> bytes:
    with Image.open(BytesIO(file)) as image:
        assert (image.mode, image.size) == ("L", (28, 28))
        return image.tobytes()


def decoded_pixels(file: bytes) -> bytes | None:
    """The pixels of a minimal PNG, after a check of the box of its ink."""
    decoded = decode_minimal_png(file)
    if decoded is None:
        return None
    pixels, box = decoded
    assert box == Image.frombytes("L", (28, 28), pixels).getbbox()
    return pixels


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def build_png(rows: bytes, *more: bytes, interlaced: int = 0, depth: int = 8, colour: int = 0) -> bytes:
    header = struct.pack(">IIBBBBB", 28, 28, depth, colour, 0, 0, interlaced)
    chunks = (chunk(b"IHDR", header), *more, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_decodes_test_images_that_pillow_saved(mnist: Dataset) -> None:
    for image in mnist.test.images[:500]:
        assert decoded_pixels(encode(image)) == image.tobytes()


@given(st.lists(st.tuples(st.integers(0, 4), st.binary(min_size=28, max_size=28)), min_size=28, max_size=28))
def test_decodes_every_filter(rows: list[tuple[int, bytes]]) -> None:
    file = build_png(b"".join(bytes([filtered]) + row for filtered, row in rows))
    assert decoded_pixels(file) == decode_with_pillow(file)


@given(st.data())
@example(None)
def test_a_changed_file_gives_the_pixels_of_pillow_or_none(data: st.DataObject | None) -> None:
    changed = bytearray(FILE)
    if data:
        for _ in range(data.draw(st.integers(1, 3))):
            changed[data.draw(st.integers(0, len(FILE) - 1))] = data.draw(st.integers(0, 255))
    pixels = decoded_pixels(bytes(changed))
    assert pixels is None or pixels == decode_with_pillow(bytes(changed))


@given(st.binary(max_size=1000))
def test_invalid_compressed_data_with_a_valid_checksum_gives_none(data: bytes) -> None:
    """Arbitrary data is not a zlib stream of 28 rows."""
    begin = FILE.index(b"IDAT") - 4
    file = FILE[:begin] + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    assert decode_minimal_png(file) is None


BLANK_ROWS = bytes(28 * 29)
NOT_MINIMAL = {
    "empty": b"",
    "truncated": FILE[:-1],
    "with trailing data": FILE + b"\0",
    "a damaged end": FILE[:-4] + bytes(4),
    "other data": FILE.replace(b"IDAT", b"IDAX"),
    "an invalid filter": build_png(b"\5" + BLANK_ROWS[1:]),
    "16 bits": build_png(bytes(28 * 57), depth=16),
    "interlaced": build_png(BLANK_ROWS, interlaced=1),
    "a palette": build_png(BLANK_ROWS, chunk(b"PLTE", bytes(768)), colour=3),
    "transparent": build_png(BLANK_ROWS, chunk(b"tRNS", b"\0\0")),
    "with an orientation": build_png(
        BLANK_ROWS, chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0")
    ),
    "in two chunks": FILE.replace(b"\0\0\0\0IEND", chunk(b"IDAT", b"") + b"\0\0\0\0IEND"),
    "larger": encode(np.zeros((29, 28), np.uint8)),
    "JPEG": encode(stroke(), kind="JPEG"),
}


@pytest.mark.parametrize("kind", NOT_MINIMAL)
def test_a_file_that_is_not_minimal_gives_none(kind: str) -> None:
    assert decode_minimal_png(NOT_MINIMAL[kind]) is None


@pytest.mark.parametrize("rows", [BLANK_ROWS[:-29], BLANK_ROWS + bytes(29)], ids=["fewer", "more"])
def test_a_wrong_number_of_rows_gives_the_pixels_of_pillow(rows: bytes) -> None:
    assert decoded_pixels(build_png(rows)) == decode_with_pillow(build_png(rows))


@given(st.binary(min_size=784, max_size=784))
def test_encodes_what_pillow_and_the_decoder_read(pixels: bytes) -> None:
    """Any strides: an image may be a column of a larger array."""
    image = np.frombuffer(pixels, np.uint8).reshape(28, 28)
    for each in (image, np.dstack([image, image])[..., 1], image.T):
        file = encode_minimal_png(each)
        assert decode_with_pillow(file) == decoded_pixels(file) == each.tobytes()
