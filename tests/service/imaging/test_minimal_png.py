"""Whatever is taken for a plain PNG has the pixels that Pillow, the oracle, reads; everything else is left alone."""

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from service.imaging.minimal_png import decode_minimal_png
from tests.service.payloads import encode, stroke
from training.data.mnist import Dataset

ONE = encode(stroke())


def by_pillow(file: bytes) -> bytes:
    with Image.open(BytesIO(file)) as image:
        assert (image.mode, image.size) == ("L", (28, 28))
        return image.tobytes()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(rows: bytes, *more: bytes, interlaced: int = 0, depth: int = 8, colour: int = 0) -> bytes:
    header = struct.pack(">IIBBBBB", 28, 28, depth, colour, 0, 0, interlaced)
    chunks = (chunk(b"IHDR", header), *more, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_the_test_images_as_pillow_writes_them(mnist: Dataset) -> None:
    for image in mnist.test.images[:500]:
        assert decode_minimal_png(encode(image)) == image.tobytes()


@given(st.lists(st.tuples(st.integers(0, 4), st.binary(min_size=28, max_size=28)), min_size=28, max_size=28))
def test_every_filter(rows: list[tuple[int, bytes]]) -> None:
    file = png_of(b"".join(bytes([filtered]) + row for filtered, row in rows))
    assert decode_minimal_png(file) == by_pillow(file)


@given(st.data())
@example(None)
def test_a_changed_file_is_read_as_pillow_reads_it_or_not_at_all(data: st.DataObject | None) -> None:
    changed = bytearray(ONE)
    if data:
        for _ in range(data.draw(st.integers(1, 3))):
            changed[data.draw(st.integers(0, len(ONE) - 1))] = data.draw(st.integers(0, 255))
    pixels = decode_minimal_png(bytes(changed))
    assert pixels is None or pixels == by_pillow(bytes(changed))


@given(st.binary(max_size=1000))
def test_any_data_with_a_right_checksum(data: bytes) -> None:
    """zlib's own data, cut off, followed by more, or none of it: no crash, and the same pixels or none."""
    begin = ONE.index(b"IDAT") - 4
    file = ONE[:begin] + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    assert decode_minimal_png(file) is None


ROWS = bytes(28 * 29)
NOT_PLAIN = {
    "empty": b"",
    "cut off": ONE[:-1],
    "more after its end": ONE + b"\0",
    "a filter that is none": png_of(b"\5" + ROWS[1:]),
    "16 bits": png_of(bytes(28 * 57), depth=16),
    "interlaced": png_of(ROWS, interlaced=1),
    "a palette": png_of(ROWS, chunk(b"PLTE", bytes(768)), colour=3),
    "transparent": png_of(ROWS, chunk(b"tRNS", b"\0\0")),
    "turned": png_of(ROWS, chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0")),
    "in two chunks": ONE.replace(b"\0\0\0\0IEND", chunk(b"IDAT", b"") + b"\0\0\0\0IEND"),
    "larger": encode(np.zeros((29, 28), np.uint8)),
    "JPEG": encode(stroke(), kind="JPEG"),
}


@pytest.mark.parametrize("kind", NOT_PLAIN)
def test_what_is_not_plain_is_left_to_others(kind: str) -> None:
    assert decode_minimal_png(NOT_PLAIN[kind]) is None


@pytest.mark.parametrize("rows", [ROWS[:-29], ROWS + bytes(29)], ids=["fewer", "more"])
def test_other_rows_than_it_says_are_read_as_pillow_reads_them(rows: bytes) -> None:
    assert decode_minimal_png(png_of(rows)) == by_pillow(png_of(rows))
