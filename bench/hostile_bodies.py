"""Request bodies within the limit of size that would take a parser minutes or gigabytes, by the loop or allocation.

    content_type, query, body = HOSTILE_BODIES[name]()

Each name states what is repeated or claimed. DEADLINE_ONLY lists the bodies that no cheap bound can tell from a good
body: the limits on time and memory of the process that parses them end these. The bodies are built in code, since some
have 15 MiB. LARGE_PICTURES are the good ones that take most: the limits must let them pass.
"""

import lzma
import struct
import zlib
from base64 import b64encode
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bench.picture_files import FORM, Pixels, encode, form, stroke

BODY_BYTES = 15 << 20
"""About the size of the larger bodies; 16 MiB are allowed."""

JSON = "application/json"
OCTETS = "application/octet-stream"
NPY = "application/x-npy"
PNG, JPEG, GIF, BMP, WEBP, TIFF, AVIF = (
    f"image/{kind}" for kind in ("png", "jpeg", "gif", "bmp", "webp", "tiff", "avif")
)
URL_ENCODED = "application/x-www-form-urlencoded"


class HostileBody(NamedTuple):
    """A predict request: the value of Content-Type, the query string, and the body."""

    content_type: str
    query: bytes
    body: bytes


Builder = Callable[[], HostileBody]
HOSTILE_BODIES: dict[str, Builder] = {}
DEADLINE_ONLY: set[str] = set()


def _hostile(name: str, content_type: str, query: bytes = b"", *, deadline_only: bool = False) -> Callable[..., None]:
    """Register a function that builds a body."""

    def register(build: Callable[[], bytes]) -> None:
        HOSTILE_BODIES[name] = lambda: HostileBody(content_type, query, build())
        if deadline_only:
            DEADLINE_ONLY.add(name)

    return register


def _fill(unit: bytes, size: int = BODY_BYTES) -> bytes:
    """Repeat a unit up to about `size` bytes."""
    return unit * (size // len(unit))


def _noise(height: int, width: int, *channels: int) -> Pixels:
    return np.random.default_rng(1).integers(0, 256, (height, width, *channels), np.uint8)


def _scribble(height: int, width: int) -> Pixels:
    """A sheet with a large digit one: it compresses well, and takes the time of a good picture."""
    page = np.full((height, width), 255, np.uint8)
    page[height // 4 : -height // 4, width // 2 - width // 40 : width // 2 + width // 40] = 0
    return page


# PNG ------------------------------------------------------------------------------------------------------------------


def _chunk(name: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _png(before: bytes = b"", data: bytes | None = None, after: bytes = b"", side: int = 28, colour: int = 0) -> bytes:
    """A grey PNG with other chunks before, instead of and after its data."""
    rows = zlib.compress(bytes(side * (side * (4 if colour == 6 else 1) + 1)))
    header = _chunk(b"IHDR", struct.pack(">2I5B", side, side, 8, colour, 0, 0, 0))
    pixels = _chunk(b"IDAT", rows) if data is None else data
    return b"\x89PNG\r\n\x1a\n" + header + before + pixels + after + _chunk(b"IEND")


@_hostile("PNG of a million private chunks", PNG)
def _() -> bytes:
    return _png(_fill(_chunk(b"prVt")))


@_hostile("PNG of a million chunks after its pixels", PNG)
def _() -> bytes:
    return _png(after=_fill(_chunk(b"prVt")))


@_hostile("PNG of a million empty data chunks", PNG)
def _() -> bytes:
    return _png(_fill(_chunk(b"IDAT")))


@_hostile("PNG whose every byte of data is a chunk", PNG)
def _() -> bytes:
    data = zlib.compress(_noise(1000, 1001).tobytes(), 0)
    return _png(data=b"".join(_chunk(b"IDAT", data[place : place + 1]) for place in range(len(data))), side=1000)


def _compressed_text(name: bytes, prefix: bytes, size: int = 1 << 20) -> bytes:
    return _chunk(name, prefix + zlib.compress(bytes(size), 9))


@_hostile("PNG of 14,000 colour profiles of 1 MiB", PNG)
def _() -> bytes:
    return _png(_fill(_compressed_text(b"iCCP", b"name\0\0")))


@_hostile("PNG of 14,000 nameless texts of 1 MiB", PNG)
def _() -> bytes:
    return _png(_fill(_compressed_text(b"zTXt", b"\0\0")))


@_hostile("PNG of 14,000 international texts of 1 MiB", PNG)
def _() -> bytes:
    return _png(_fill(_compressed_text(b"iTXt", b"XML:com.adobe.xmp\0\1\0\xff\0\0")))


@_hostile("PNG of 14,000 texts of 1 MiB after its pixels", PNG)
def _() -> bytes:
    return _png(after=_fill(_compressed_text(b"zTXt", b"\0\0")))


@_hostile("PNG with a text of 14 MiB in wide characters", PNG)
def _() -> bytes:
    return _png(_chunk(b"iTXt", b"a\0\0\0\0\0" + "\U0001f600".encode() + b"a" * (14 << 20)))


# EXIF and TIFF --------------------------------------------------------------------------------------------------------

SHORT, LONG, RATIONAL, UNDEFINED = 3, 4, 5, 7
_SIZES = {SHORT: 2, LONG: 4, RATIONAL: 8, UNDEFINED: 1}

Entry = tuple[int, int, int, int | bytes]
"""A TIFF field: tag, type, count, and its value, or the bytes of its values."""


def _tiff(*entries: Entry, data: bytes = b"", next_ifd: int = 0) -> bytes:
    """A little-endian TIFF file: an IFD, the values that do not fit into it, and data.

    A field whose value is -1 gets the offset of the data.
    """
    head_size = 8 + 2 + 12 * len(entries) + 4
    values, fields = b"", []
    outside = sum(len(value) for *_, value in entries if isinstance(value, bytes))
    for tag, kind, count, value in sorted(entries):
        if isinstance(value, bytes):
            fields.append(struct.pack("<HHII", tag, kind, count, head_size + len(values)))
            values += value
        else:
            fields.append(struct.pack("<HHII", tag, kind, count, head_size + outside if value == -1 else value))
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(fields) + struct.pack("<I", next_ifd)
    return head + values + data


def _tiff_fields(width: int, height: int, *, compression: int = 1, bits: int = 8) -> list[Entry]:
    return [
        (256, LONG, 1, width),
        (257, LONG, 1, height),
        (258, SHORT, 1, bits),
        (259, SHORT, 1, compression),
        (262, SHORT, 1, 1),
        (277, SHORT, 1, 1),
    ]


def _repeat_offset(tag: int, count: int, offset: int) -> Entry:
    return (tag, LONG, count, struct.pack("<I", offset) * count)


@_hostile("TIFF that claims a tile of 45000x45000", TIFF)
def _() -> bytes:
    tile = [(322, LONG, 1, 45_000), (323, LONG, 1, 45_000), (324, LONG, 1, -1), (325, LONG, 1, 8)]
    return _tiff(*_tiff_fields(28, 28, compression=8), *tile, data=zlib.compress(b""))


@_hostile("TIFF that claims strips of 2 GB", TIFF)
def _() -> bytes:
    strip = [(273, LONG, 1, -1), (278, LONG, 1, 70_000_000), (279, LONG, 1, 8)]
    return _tiff(*_tiff_fields(28, 28, compression=8), *strip, data=zlib.compress(b""))


@_hostile("TIFF of 25 million tiles of 1x1", TIFF)
def _() -> bytes:
    tile = [(322, LONG, 1, 1), (323, LONG, 1, 1), (324, LONG, 1, -1)]
    return _tiff(*_tiff_fields(5000, 5000, compression=5), *tile, data=bytes(100))


@_hostile("TIFF of 3 million uncompressed strips", TIFF)
def _() -> bytes:
    count = BODY_BYTES // 4
    return _tiff(*_tiff_fields(28, 28), _repeat_offset(273, count, 8), (278, LONG, 1, 1), data=bytes(1000))


@_hostile("TIFF whose 16,000 strips are the same 15 MiB of empty blocks", TIFF)
def _() -> bytes:
    blocks, head = _fill(b"\0\0\0\xff\xff"), 200_000
    strips = [_repeat_offset(273, 16_000, head), _repeat_offset(279, 16_000, len(blocks)), (278, LONG, 1, 1)]
    return _tiff(*_tiff_fields(28, 16_000, compression=8), *strips, data=b"\x78\x9c" * 40_000 + blocks)


@_hostile("TIFF whose 16,000 strips of unknown length are the same 15 MiB of clear codes", TIFF)
def _() -> bytes:
    strips = [_repeat_offset(273, 16_000, 100_000), (278, LONG, 1, 1)]
    return _tiff(*_tiff_fields(28, 16_000, compression=32773), *strips, data=_fill(b"\x80"))


@_hostile("TIFF with two million fractions in a field", TIFF)
def _() -> bytes:
    strip: list[Entry] = [(273, LONG, 1, 8), (278, LONG, 1, 28), (279, LONG, 1, 784)]
    fractions = (274, RATIONAL, BODY_BYTES // 8, _fill(struct.pack("<II", 3, 7)))
    return _tiff(*_tiff_fields(28, 28), *strip, fractions)


@_hostile("TIFF with two million fractions in its EXIF", TIFF)
def _() -> bytes:
    exif_ifd = struct.pack("<HHHIII", 1, 37_000, RATIONAL, BODY_BYTES // 8, 8, 0)
    strip: list[Entry] = [(273, LONG, 1, 8), (278, LONG, 1, 28), (279, LONG, 1, 784)]
    return _tiff(*_tiff_fields(28, 28), *strip, (34_665, LONG, 1, -1), data=exif_ifd + bytes(BODY_BYTES))


@_hostile("TIFF with 800,000 fields", TIFF)
def _() -> bytes:
    fields = b"".join(struct.pack("<HHQQ", number & 0xFFFF, SHORT, 1, 0) for number in range(60_000))
    fields += _fill(struct.pack("<HHQQ", 1, SHORT, 1, 0), BODY_BYTES - len(fields))
    return b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, len(fields) // 20) + fields + bytes(8)


@_hostile("TIFF with 8 million samples a pixel", TIFF)
def _() -> bytes:
    count = BODY_BYTES // 2
    strip: list[Entry] = [(273, LONG, 1, 8), (278, LONG, 1, 28), (279, LONG, 1, 784)]
    others = (field for field in _tiff_fields(28, 28) if field[0] != 258)
    return _tiff(*others, *strip, (258, SHORT, count, _fill(b"\x08\0")))


@_hostile("TIFF of 25 megapixels and 2,000 scans", TIFF)
def _() -> bytes:
    data = _progressive_jpeg(5000, 2000)
    strip: list[Entry] = [(273, LONG, 1, -1), (278, LONG, 1, 5000), (279, LONG, 1, len(data))]
    return _tiff(*_tiff_fields(5000, 5000, compression=7), *strip, data=data)


@_hostile("TIFF whose 1,000 strips are the same JPEG of 90 scans", TIFF)
def _() -> bytes:
    data = _progressive_jpeg(5000, 90)
    strips = [_repeat_offset(273, 1000, 9000), _repeat_offset(279, 1000, len(data)), (278, LONG, 1, 5)]
    return _tiff(*_tiff_fields(5000, 5000, compression=7), *strips, data=data)


@_hostile("TIFF in LZMA whose dictionary takes 1.5 GiB", TIFF)
def _() -> bytes:
    data = _claim_lzma_dictionary(lzma.compress(bytes(784), lzma.FORMAT_XZ))
    strip: list[Entry] = [(273, LONG, 1, -1), (278, LONG, 1, 28), (279, LONG, 1, len(data))]
    return _tiff(*_tiff_fields(28, 28, compression=34_925), *strip, data=data)


def _claim_lzma_dictionary(data: bytes) -> bytes:
    """Change the size of the dictionary in the block header of an .xz stream to 1.5 GiB (code 37)."""
    size = (data[12] + 1) * 4
    header = bytearray(data[12 : 12 + size - 4])
    header[header.index(b"\x21\x01") + 2] = 37
    return data[:12] + bytes(header) + struct.pack("<I", zlib.crc32(header)) + data[12 + size :]


@_hostile("PNG whose orientation is two million fractions", PNG)
def _() -> bytes:
    fractions = _tiff((274, RATIONAL, BODY_BYTES // 8, _fill(struct.pack("<II", 3, 7))))
    return _png(_chunk(b"eXIf", fractions))


@_hostile("PNG that is rotated, with two million fractions in its EXIF", PNG)
def _() -> bytes:
    fractions = (37_000, RATIONAL, BODY_BYTES // 8, _fill(struct.pack("<II", 3, 7)))
    return _png(_chunk(b"eXIf", _tiff((274, SHORT, 1, 6), fractions)))


@_hostile("PNG whose EXIF is a million fractions in hexadecimal", PNG)
def _() -> bytes:
    fractions = _tiff((274, RATIONAL, BODY_BYTES // 20, _fill(struct.pack("<II", 3, 7), BODY_BYTES // 20 * 8)))
    return _png(_chunk(b"tEXt", b"Raw profile type exif\0\n\n\n" + fractions.hex().encode()))


# JPEG -----------------------------------------------------------------------------------------------------------------


def _segment(marker: int, content: bytes = b"") -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def _jpeg(before: bytes = b"", pixels: Pixels | None = None, *, scans: bytes = b"", progressive: bool = False) -> bytes:
    """A JPEG with other segments after its first marker, and other scans before its last."""
    file = encode(stroke() if pixels is None else pixels, kind="JPEG", progressive=progressive)
    return file[:2] + before + file[2:-2] + scans + file[-2:]


_EMPTY_SCAN = _segment(0xDA, b"\x01\x01\x00\x00\x00\x10")
"""The refinement of one bit of each block's mean, without its data."""


def _progressive_jpeg(side: int, scans: int) -> bytes:
    """A white JPEG with so many scans, each of which passes over all coefficients and has next to no data."""
    blocks = (side // 8) ** 2
    frame = _segment(0xC2, struct.pack(">BHHB", 8, side, side, 1) + b"\x01\x11\x00")
    tables = _segment(0xDB, b"\0" + b"\x04" * 64)
    tables += _segment(
        0xC4, b"\x00\x01" + bytes(15) + b"\x00"
    )  # one code of one bit: no difference to the block before
    tables += _segment(0xC4, b"\x10\x01" + bytes(15) + b"\xe0")  # one code of one bit: 16,384 blocks and more end here
    means = _segment(0xDA, b"\x01\x01\x00\x00\x00\x00") + bytes(blocks // 8 + 1)
    first, refinement = (_segment(0xDA, b"\x01\x01\x00\x01\x3f" + step) for step in (b"\x01", b"\x10"))
    run = bytes(blocks // 16_384 * 15 // 8 + 8)
    return b"\xff\xd8" + tables + frame + means + first + run + (refinement + run) * scans + b"\xff\xd9"


@_hostile("progressive JPEG of 25 megapixels and 2,000 scans", JPEG)
def _() -> bytes:
    return _progressive_jpeg(5000, 2000)


@_hostile("progressive JPEG of 4 megapixels and 15 MiB of scans", JPEG)
def _() -> bytes:
    return _progressive_jpeg(2000, BODY_BYTES // 24)


@_hostile("progressive JPEG of 1.5 million empty scans", JPEG)
def _() -> bytes:
    return _jpeg(scans=_fill(_EMPTY_SCAN), progressive=True)


@_hostile("progressive JPEG of 32 megapixels in CMYK", JPEG)
def _() -> bytes:
    return encode(np.zeros((2000, 16_000, 3), np.uint8), kind="JPEG", mode="CMYK", progressive=True)


@_hostile("JPEG of 3 million empty comments", JPEG)
def _() -> bytes:
    return _jpeg(_fill(_segment(0xFE)))


@_hostile("JPEG of 3 million application segments", JPEG)
def _() -> bytes:
    return _jpeg(_fill(_segment(0xE5)))


@_hostile("JPEG of 200,000 quantisation tables", JPEG)
def _() -> bytes:
    return _jpeg(_fill(_segment(0xDB, b"\0" + bytes(range(1, 65)))))


@_hostile("JPEG of 15 MiB of bytes between two segments", JPEG)
def _() -> bytes:
    return _jpeg(_segment(0xFE) + _fill(b"a"))


@_hostile("JPEG of 15 MiB of fill bytes before a segment", JPEG)
def _() -> bytes:
    return _jpeg(_fill(b"\xff"))


@_hostile("JPEG whose EXIF is 800,000 segments after 8 MiB", JPEG)
def _() -> bytes:
    large = _segment(0xE1, b"Exif\0\0" + bytes(65_000)) * 120
    return _jpeg(large + _fill(_segment(0xE1, b"Exif\0\0a"), BODY_BYTES - len(large)))


@_hostile("JPEG whose EXIF is a million fractions", JPEG)
def _() -> bytes:
    blob = _tiff((274, RATIONAL, 1_200_000, struct.pack("<II", 3, 7) * 1_200_000))
    parts = (blob[place : place + 65_000] for place in range(0, len(blob), 65_000))
    return _jpeg(b"".join(_segment(0xE1, b"Exif\0\0" + part) for part in parts))


@_hostile("JPEG of a million Photoshop blocks", JPEG)
def _() -> bytes:
    block = b"8BIM\x04\x04\0\0\0\0\0\0"
    return _jpeg(_fill(_segment(0xED, b"Photoshop 3.0\0" + block * 5000)))


# GIF, BMP, WebP -------------------------------------------------------------------------------------------------------


def _gif(before: bytes, data: bytes | None = None) -> bytes:
    """A GIF with blocks before its first picture, and with other data."""
    file = encode(stroke(), kind="GIF")
    place = file.index(b",\0\0\0\0")
    return file[:place] + before + (file[place:] if data is None else file[place : place + 11] + data + b"\0;")


@_hostile("GIF of a comment in 7 million blocks", GIF)
def _() -> bytes:
    return _gif(b"!\xfe" + _fill(b"\x01a") + b"\0")


@_hostile("GIF of an application's 7 million blocks", GIF)
def _() -> bytes:
    return _gif(b"!\xff" + _fill(b"\x01a") + b"\0")


@_hostile("GIF of 5 million empty extensions", GIF)
def _() -> bytes:
    return _gif(_fill(b"!\x01\0"))


@_hostile("GIF whose data is clear codes in 7 million blocks", GIF)
def _() -> bytes:
    return _gif(b"", b"\x07" + _fill(b"\x01\x80"))


def _bmp(size: tuple[int, int], data: bytes, *, bits: int = 8, compression: int = 1, colours: int = 2) -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, *size, 1, bits, compression, len(data), 0, 0, colours, 0)
    palette = b"\xff\0\0\0\0\xff\0\0" if colours == 2 else b""
    offset = 14 + len(header) + len(palette)
    return b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + header + palette + data


@_hostile("BMP of 25 megapixels in runs", BMP)
def _() -> bytes:
    return _bmp((5000, 5000), _fill(b"\x03\x01"))


@_hostile("BMP of 25 megapixels in runs of two colours", BMP)
def _() -> bytes:
    return _bmp((5000, 5000), _fill(b"\xff\x01"), bits=4, compression=2)


@_hostile("BMP of 25 megapixels in ends of lines", BMP)
def _() -> bytes:
    return _bmp((16_000, 1500), b"\x01\x01\0\0" * 2000)


@_hostile("BMP of 7 million runs outside of the row", BMP)
def _() -> bytes:
    return _bmp((28, 28), b"\x1c\x01" + _fill(b"\x01\x01"))


@_hostile("form of 10,000 BMPs that claim 65,536 colours", FORM)
def _() -> bytes:
    return form(*[_bmp((28, 28), bytes(784), compression=0, colours=65_536)] * 10_000)


def _webp(chunks: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks


def _webp_chunk(name: bytes, content: bytes = b"") -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def _webp_header(flags: int, width: int, height: int) -> bytes:
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return _webp_chunk(b"VP8X", bytes([flags, 0, 0, 0]) + size)


def _webp_pixels(width: int, height: int) -> bytes:
    return encode(np.zeros((height, width), np.uint8), kind="WEBP", lossless=True)[12:]


@_hostile("WebP with a canvas of 16 million pixels a side", WEBP)
def _() -> bytes:
    frame = bytes(6) + b"\x1b\0\0\x1b\0\0" + bytes(4) + _webp_pixels(28, 28)
    return _webp(_webp_header(2, 65_000, 65_000) + _webp_chunk(b"ANIM", bytes(6)) + _webp_chunk(b"ANMF", frame))


@_hostile("WebP of 25 megapixels", WEBP)
def _() -> bytes:
    return encode(_scribble(5000, 5000), kind="WEBP", lossless=True, method=0)


@_hostile("WebP of a megapixel with 65,536 sets of Huffman codes", WEBP, deadline_only=True)
def _() -> bytes:
    """Each block of 4x4 pixels has codes of its own (RFC 9649, 6.2.2), whose tables take 600 MB together."""
    size = [*_bits(1023, 14), *_bits(1023, 14), *_bits(0, 4)]
    no_transform_nor_cache, blocks_of_4 = [0, 0], [1, 0, 0, 0]
    lengths = [(3, 0)] * 2 + [(3, 1)] + [(3, 0)] * 8 + [(3, 1)]  # of the code for the lengths 0 and 8
    all_of_8_bits = [0, *_bits(8, 4), *(bit for width, value in lengths for bit in _bits(value, width))]
    all_of_8_bits += [1, *_bits(3, 3), *_bits(254, 8), *[1] * 256]
    only_0 = [1, 0, 0, 0]
    groups = np.unpackbits(
        np.arange(65_536, dtype="<u2").view(np.uint8)
    ).tolist()  # green and red, most significant first
    entropy_image = [0, *all_of_8_bits, *all_of_8_bits, *only_0 * 3, *groups]
    stream = [*size, *no_transform_nor_cache, *blocks_of_4, *entropy_image, *only_0 * 5 * 65_536]
    return _webp(_webp_chunk(b"VP8L", b"\x2f" + np.packbits(np.array(stream, np.uint8), bitorder="little").tobytes()))


def _bits(value: int, width: int) -> list[int]:
    """The bits of a number, least significant first."""
    return [value >> place & 1 for place in range(width)]


@_hostile("WebP of 2 million chunks", WEBP)
def _() -> bytes:
    return _webp(_webp_header(0, 28, 28) + _webp_pixels(28, 28) + _fill(_webp_chunk(b"abcd")))


@_hostile("WebP of 200,000 frames", WEBP)
def _() -> bytes:
    frame = bytes(6) + b"\x1b\0\0\x1b\0\0" + bytes(4) + _webp_pixels(28, 28)
    frames = _fill(_webp_chunk(b"ANMF", frame))
    return _webp(_webp_header(2, 28, 28) + _webp_chunk(b"ANIM", bytes(6)) + frames)


@_hostile("WebP whose orientation is two million fractions", WEBP)
def _() -> bytes:
    blob = _tiff((274, RATIONAL, BODY_BYTES // 8, _fill(struct.pack("<II", 3, 7))))
    return _webp(_webp_header(8, 28, 28) + _webp_pixels(28, 28) + _webp_chunk(b"EXIF", blob))


# Many pictures --------------------------------------------------------------------------------------------------------


@_hostile("form of 300 pictures of 20 megapixels", FORM)
def _() -> bytes:
    return form(*[encode(_scribble(5000, 4000))] * 300)


@_hostile("JSON of 300 pictures of 20 megapixels", JSON)
def _() -> bytes:
    picture = b64encode(encode(_scribble(5000, 4000)))
    return b'{"images": [' + b", ".join([b'"' + picture + b'"'] * 300) + b"]}"


@_hostile("form of 3,000 pictures of a megapixel", FORM)
def _() -> bytes:
    return form(*[encode(_scribble(1000, 1000))] * 3000)


@_hostile("form of 700 GIFs of 9,000 blocks", FORM, deadline_only=True)
def _() -> bytes:
    return form(*[_gif(b"!\x01" + b"\x01a" * 9000 + b"\0")] * 700)


@_hostile("form of 900 PNGs of 16 colour profiles of 1 MiB", FORM, deadline_only=True)
def _() -> bytes:
    pixels = encode(stroke())[33:-12]
    return form(*[_png(_compressed_text(b"iCCP", b"name\0\0") * 16, pixels)] * 900)


@_hostile("form of 10,000 pictures to normalise", FORM, b"split=digits&show=image", deadline_only=True)
def _() -> bytes:
    return form(*[encode(255 - stroke())] * 10_000)


@_hostile("10,000 bulk images to show", OCTETS, b"show=image")
def _() -> bytes:
    return np.random.default_rng(0).integers(0, 256, (10_000, 784), np.uint8).tobytes()


@_hostile("10,000 bulk images to normalise", OCTETS, b"normalise=always&split=digits&show=image", deadline_only=True)
def _() -> bytes:
    return stroke().tobytes() * 10_000


@_hostile("10,000 bulk images of many specks to split", OCTETS, b"normalise=always&split=digits", deadline_only=True)
def _() -> bytes:
    specks = np.zeros((28, 28), np.uint8)
    specks[2:26:2, 2:26:2] = 255
    return specks.tobytes() * 10_000


@_hostile("form of 150 pictures of 0.65 megapixels with 20,000 specks", FORM, b"split=digits", deadline_only=True)
def _() -> bytes:
    specks = np.full((810, 810), 255, np.uint8)
    specks[8:-8:6, 8:-8:5] = 0
    return form(*[encode(specks)] * 150)


# AVIF -----------------------------------------------------------------------------------------------------------------


def _avif(height: int, width: int) -> bytes:
    return encode(_scribble(height, width), kind="AVIF", speed=10)


@_hostile("AVIF of 25 megapixels", AVIF)
def _() -> bytes:
    return _avif(5000, 5000)


@_hostile("AVIF of 64 megapixels that claims to have few", AVIF)
def _() -> bytes:
    file = _avif(8000, 8000)
    return file.replace(struct.pack(">II", 8000, 8000), struct.pack(">II", 80, 80))


@_hostile("AVIF of two million boxes", AVIF)
def _() -> bytes:
    return _avif(28, 28) + _fill(struct.pack(">I4s", 8, b"free"))


@_hostile("AVIF of 65,535 items", AVIF)
def _() -> bytes:
    file = _avif(28, 28)
    place = file.index(b"iloc") + 10
    return file[:place] + b"\xff\xff" + file[place + 2 :]


@_hostile("AVIF whose orientation is two million fractions", AVIF)
def _() -> bytes:
    count = (BODY_BYTES - 64) // 8
    exif = b"Exif\0\0" + _tiff((271, RATIONAL, count, bytes(8 * count)))
    orientation, other = (struct.pack("<HHI", tag, RATIONAL, count) for tag in (274, 271))
    return encode(_scribble(28, 28), kind="AVIF", exif=exif).replace(other, orientation)


# JSON, forms, arrays --------------------------------------------------------------------------------------------------


def _json(entries: bytes) -> bytes:
    return b'{"images": [' + entries + b"0]}"


@_hostile("JSON of 5 million empty lists", JSON)
def _() -> bytes:
    return _json(_fill(b"[],"))


@_hostile("JSON of 5 million empty objects", JSON)
def _() -> bytes:
    return _json(_fill(b"{},"))


@_hostile("JSON of 3 million strings", JSON)
def _() -> bytes:
    return _json(_fill(b'"ab",'))


@_hostile("JSON of a million keys", JSON)
def _() -> bytes:
    return _json(b"{" + b"".join(b'"%06d":0,' % number for number in range(1_000_000)) + b'"a":0},')


@_hostile("JSON of 5 million negative numbers", JSON)
def _() -> bytes:
    return _json(_fill(b"-9,"))


@_hostile("JSON of 3 million fractions", JSON)
def _() -> bytes:
    return _json(_fill(b"1.5,"))


@_hostile("JSON of 4 million large numbers", JSON, deadline_only=True)
def _() -> bytes:
    return _json(_fill(b"999,"))


@_hostile("JSON of 4 million powers of ten", JSON, deadline_only=True)
def _() -> bytes:
    return _json(_fill(b"1e9,"))


@_hostile("JSON nested 15 million deep", JSON)
def _() -> bytes:
    return _fill(b"[")


@_hostile("JSON of 3.9 million pixels in arrays of one", JSON)
def _() -> bytes:
    return _json(_fill(b"[0],"))


@_hostile("JSON of 2 million objects of base64", JSON)
def _() -> bytes:
    return _json(_fill(b'{"b64":1},'))


@_hostile("JSON of 2.4 million fractions in images", JSON)
def _() -> bytes:
    image = b"[" + b",".join([b"0.5"] * 783) + b",0.9]"
    return b'{"images": [' + b",".join([image] * 3100) + b"]}"


@_hostile("base64 of 15 MiB with line breaks", "text/plain")
def _() -> bytes:
    return b"iVBORw0KGgoAAAANSUhEUgAAABwAAAAcCAAAAAA" + _fill(b"A\n")


@_hostile("URL-encoded form of 15 MiB of percent signs", URL_ENCODED)
def _() -> bytes:
    return b"image=" + _fill(b"%")


@_hostile("URL-encoded form of 5 million escapes", URL_ENCODED)
def _() -> bytes:
    return b"image=" + _fill(b"%41")


@_hostile("URL-encoded form of 15 million fields", URL_ENCODED)
def _() -> bytes:
    return _fill(b"&")


@_hostile("text of 15 MiB that starts like a form", "text/plain")
def _() -> bytes:
    return b"--a\r\n" + _fill(b"a: b\r\n")


def _part(head: bytes, content: bytes = b"") -> bytes:
    return b"--edge\r\n" + head + b"\r\n\r\n" + content + b"\r\n"


_DISPOSITION = b'Content-Disposition: form-data; name="a"; filename="a.png"'


@_hostile("form of 300,000 parts", FORM)
def _() -> bytes:
    return _fill(_part(b'Content-Disposition: form-data; name="a"')) + b"--edge--\r\n"


@_hostile("form of a part with a million headers", FORM)
def _() -> bytes:
    return _part(_DISPOSITION + b"\r\n" + _fill(b"a: b\r\n") + b"c: d", encode(stroke())) + b"--edge--\r\n"


@_hostile("form of a part with a header of 15 MiB", FORM)
def _() -> bytes:
    return _part(_DISPOSITION + b"\r\na: " + _fill(b"b"), encode(stroke())) + b"--edge--\r\n"


@_hostile("form of a part with a million parameters", FORM)
def _() -> bytes:
    return _part(_DISPOSITION + _fill(b"; a*0*=b"), encode(stroke())) + b"--edge--\r\n"


@_hostile("form of 10,000 parts with 1,500 bytes of parameters", FORM)
def _() -> bytes:
    return _part(_DISPOSITION + _fill(b"; a=b", 1500), encode(stroke())) * 9000 + b"--edge--\r\n"


@_hostile("form of 15 MiB of boundaries", FORM)
def _() -> bytes:
    return _fill(b"--edge\r\n") + b"--edge--\r\n"


@_hostile("form of 15 MiB of beginnings of a boundary", FORM)
def _() -> bytes:
    return _part(_DISPOSITION, _fill(b"\r\n--edg")) + b"--edge--\r\n"


def _npy(header: bytes) -> bytes:
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(header)) + header


@_hostile("npy with a header of 15 MiB", NPY)
def _() -> bytes:
    return _npy(b"{'descr': '|u1', 'fortran_order': False, 'shape': (" + _fill(b"1,") + b")}\n")


@_hostile("npy with a header of 9,000 brackets", NPY)
def _() -> bytes:
    return _npy(_fill(b"[", 9000))


@_hostile("npy with a dtype of 1,000 fields", NPY)
def _() -> bytes:
    fields = b"".join(b"('%x','|u1')," % number for number in range(700))
    return _npy(b"{'descr': [" + fields + b"], 'fortran_order': False, 'shape': (1, 28, 28)}\n")


# The largest good pictures --------------------------------------------------------------------------------------------

LARGE_PICTURES: dict[str, Callable[[], bytes]] = {
    "PNG of 25 megapixels with an alpha channel": lambda: encode(_layers(5000, 5000, 4), compress_level=1),
    "PNG of 25 grey megapixels with an alpha channel": lambda: encode(_layers(5000, 5000, 2), compress_level=1),
    "wide PNG of 25 megapixels with an alpha channel": lambda: encode(_layers(1525, 16_384, 4), compress_level=1),
    "PNG of 25 megapixels with a transparent colour of its palette": lambda: encode(
        _scribble(5000, 5000), mode="P", transparency=255, compress_level=1
    ),
    "PNG of 25 megapixels of 16 bits": lambda: encode(_scribble(5000, 5000) * np.uint16(257), compress_level=1),
    "GIF of 25 megapixels": lambda: encode(_scribble(5000, 5000), kind="GIF", transparency=255),
    "wide progressive JPEG of 33 megapixels": lambda: encode(
        _layers(2040, 16_384, 3), kind="JPEG", progressive=True, subsampling=0
    ),
    "wide JPEG of 8 megapixels in CMYK that is not reduced": lambda: encode(
        _layers(511, 16_384, 3), kind="JPEG", mode="CMYK"
    ),
    "JPEG of 64 megapixels": lambda: encode(_layers(6936, 9248, 3), kind="JPEG", quality=95),
    "progressive JPEG of 48 megapixels": lambda: encode(_layers(6048, 8064, 3), kind="JPEG", progressive=True),
    "TIFF of 25 megapixels with an alpha channel in one strip": lambda: encode(
        _layers(5000, 5000, 4), kind="TIFF", compression="tiff_adobe_deflate", tiffinfo={278: 5000}
    ),
    "TIFF of 25 megapixels of floating point": lambda: encode(
        _scribble(5000, 5000).astype(np.float32), kind="TIFF", compression="tiff_adobe_deflate"
    ),
    "AVIF of 12 megapixels with an alpha channel": lambda: encode(_layers(3000, 4000, 4), kind="AVIF", speed=10),
    "WebP of 12 megapixels with an alpha channel": lambda: encode(
        _layers(3000, 4000, 4), kind="WEBP", lossless=True, quality=0, method=0
    ),
}
"""Good pictures of the largest size that each kind may have: they must fit into the memory too."""


def _layers(height: int, width: int, channels: int) -> Pixels:
    """A sheet with a digit one; an even number of channels has a half-transparent sheet."""
    page = _scribble(height, width)
    alpha = np.where(page > 0, 128, 255).astype(np.uint8)
    return np.dstack([page] * (channels - 1) + [alpha if channels % 2 == 0 else page])
