"""Write an array of pixels as a PNG file, with the standard library alone (https://www.w3.org/TR/png-3/)."""

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_TYPES = {1: 0, 3: 2, 4: 6}
"""PNG's colour types by the number of channels: greyscale, RGB, RGB with alpha."""


def encode_png(pixels: bytes, width: int, height: int, channels: int) -> bytes:
    """Return a PNG file of 8 bits a channel.

    Args:
        pixels: `height` x `width` x `channels` bytes, row by row.
        width: in pixels, at least 1.
        height: in pixels, at least 1.
        channels: 1 (greyscale), 3 (RGB) or 4 (RGB with alpha).
    """
    row = width * channels
    filtered = b"".join(b"\0" + pixels[start : start + row] for start in range(0, height * row, row))
    header = struct.pack(">IIBBBBB", width, height, 8, COLOUR_TYPES[channels], 0, 0, 0)
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(filtered, 1)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
