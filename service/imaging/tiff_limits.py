"""Limits of a TIFF file: fields and their values, strips and tiles, and the bytes that these claim (TIFF 6.0).

libtiff allocates the tile that a file claims, and decodes each strip from the bytes that it claims, even if all strips
claim the same ones. Pillow reads fields in Python, and those of the EXIF directories too. Compressions are those of
TIFF 6.0 and Deflate: LZMA and Zstandard claim the memory of their dictionaries.
"""

import struct
from collections.abc import Iterator
from contextlib import suppress
from struct import calcsize, unpack_from
from typing import NamedTuple

from service.errors import PayloadTooLarge, UnsupportedMediaType
from service.imaging.jpeg_limits import MAX_SCAN_PIXELS

MAX_FIELDS = 1000
"""Of one directory; a scanner writes about 20, a camera's raw file about 100."""
MAX_NUMBERS = 100_000
"""In all fields of a directory but those of strips and tiles; a palette has 768."""
MAX_FRACTIONS = 10_000
"""Pillow takes 4 us to read one."""
MAX_STRIPS = 20_000
"""Strips or tiles. A picture has 16,384 rows at most; Pillow takes 10 us to read a strip."""
MAX_TILE_PIXELS = 1 << 22
_CCITT, _DEFLATE = "CCITT", "Deflate"
COMPRESSIONS = {
    1: "none",
    2: _CCITT,
    3: _CCITT,
    4: _CCITT,
    5: "LZW",
    7: "JPEG",
    8: _DEFLATE,
    32_773: "PackBits",
    32_946: _DEFLATE,
}

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of a value by the type of a field."""
_FORMATS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
_TEXT_TYPES = {1, 2, 7}
_FRACTION_TYPES = {5, 10}

_WIDTH, _HEIGHT, _COMPRESSION, _TILE_WIDTH, _TILE_LENGTH = 256, 257, 259, 322, 323
_JPEG = 7
_STRIP_FIELDS = {273, 279, 324, 325}
_BYTE_COUNTS = {279, 325}
_EXIF_DIRECTORIES = {34_665, 34_853, 40_965}


class _Field(NamedTuple):
    """A field: its tag, the type and the number of its values, and the place of the first."""

    tag: int
    kind: int
    length: int
    place: int


class _Reader:
    """Reads the directories of a file."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._order = "<" if data.startswith(b"II") else ">"
        self._big = data.startswith(b"II+")
        self.first = self.unpack("Q", 8) if self._big else self.unpack("I", 4)

    def unpack(self, layout: str, place: int) -> int:
        """Read one integer."""
        return int(unpack_from(self._order + layout, self._data, place)[0])

    def read_fields(self, place: int) -> list[_Field]:
        """Read the fields of the directory at a place, as far as they are in the file: so does Pillow."""
        fields = []
        with suppress(struct.error, OverflowError):
            for field in self._iterate_fields(place):
                fields.append(field)  # noqa: PERF402 - the fields before an error count
        return fields

    def _iterate_fields(self, place: int) -> Iterator[_Field]:
        count_layout, entry, inline = ("Q", "HHQ", 8) if self._big else ("H", "HHI", 4)
        count = self.unpack(count_layout, place)
        if count > MAX_FIELDS:
            raise PayloadTooLarge(f"the TIFF has a directory of {count} fields; {MAX_FIELDS} are allowed")
        head = calcsize(self._order + entry)
        place += calcsize(count_layout)
        for start in range(place, place + count * (head + inline), head + inline):
            tag, kind, values = unpack_from(self._order + entry, self._data, start)
            is_inline = values * _SIZES.get(kind, 0) <= inline
            yield _Field(tag, kind, values, start + head if is_inline else self.unpack(entry[-1], start + head))

    def read_values(self, field: _Field, limit: int = MAX_STRIPS) -> tuple[int, ...]:
        """Read the first integers of a field; none if its values have another type, or are not in the file."""
        layout, count = _FORMATS.get(field.kind), min(field.length, limit)
        if layout is None or field.place + count * _SIZES[field.kind] > len(self._data):
            return ()
        return unpack_from(f"{self._order}{count}{layout}", self._data, field.place)

    def largest_value(self, fields: list[_Field], tag: int) -> int:
        """The largest integer of the fields with a tag, of which there should be one with one value; 0 without any."""
        return max((value for field in fields if field.tag == tag for value in self.read_values(field, 16)), default=0)


def check_tiff(data: bytes) -> tuple[int, int]:
    """Check the bytes of a TIFF file, its first picture; returns the width and the height that it states.

    Raises:
        PayloadTooLarge: it is over a limit.
        UnsupportedMediaType: it has a rare compression.
        struct.error: it is truncated.
    """
    if data.startswith(b"MM\0+"):
        raise UnsupportedMediaType(
            "the TIFF is a big-endian BigTIFF; supported: TIFF, and BigTIFF in little-endian order"
        )
    reader = _Reader(data)
    fields = reader.read_fields(reader.first)
    _check_values(fields)
    for field in fields:
        if field.tag in _EXIF_DIRECTORIES:
            _check_exif_directory(reader, field, nested=True)
    compression = reader.largest_value(fields, _COMPRESSION) or 1
    if compression not in COMPRESSIONS:
        supported = ", ".join(dict.fromkeys(COMPRESSIONS.values()))
        raise UnsupportedMediaType(f"the TIFF has compression {compression}; supported: {supported}")
    width, height = (reader.largest_value(fields, tag) for tag in (_WIDTH, _HEIGHT))
    _check_tiles(width, height, *(reader.largest_value(fields, tag) for tag in (_TILE_WIDTH, _TILE_LENGTH)))
    if compression == _JPEG:
        strips = max((field.length for field in fields if field.tag in _BYTE_COUNTS), default=1)
        scans = data.count(b"\xff\xda") / max(strips, 1)
        if scans * width * height > MAX_SCAN_PIXELS:
            found = f"{scans:.0f} scans of {width}x{height} pixels"
            raise PayloadTooLarge(f"the TIFF has {found}, which is over the limit; send another compression")
    counts = sum(sum(reader.read_values(field)) for field in fields if field.tag in _BYTE_COUNTS)
    if compression != 1 and counts > 2 * len(data):
        limit = "strips may not share bytes"
        raise PayloadTooLarge(f"the strips of the TIFF claim {counts} bytes of its {len(data)}; {limit}")
    return width, height


def _check_exif_directory(reader: _Reader, field: _Field, *, nested: bool) -> None:
    """Check the values of an EXIF directory, and of the one that it may refer to."""
    for offset in reader.read_values(field)[:1]:
        fields = reader.read_fields(offset)
        _check_values(fields)
        for inner in fields:
            if nested and inner.tag in _EXIF_DIRECTORIES:
                _check_exif_directory(reader, inner, nested=False)


def _check_values(fields: list[_Field]) -> None:
    numbers = sum(field.length for field in fields if field.kind not in _TEXT_TYPES and field.tag not in _STRIP_FIELDS)
    fractions = sum(field.length for field in fields if field.kind in _FRACTION_TYPES)
    strips = max((field.length for field in fields if field.tag in _STRIP_FIELDS), default=0)
    for count, limit, what in (
        (numbers, MAX_NUMBERS, "numbers in its fields"),
        (fractions, MAX_FRACTIONS, "fractions in its fields"),
        (strips, MAX_STRIPS, "strips or tiles"),
    ):
        if count > limit:
            raise PayloadTooLarge(f"the TIFF has {count} {what}; {limit} are allowed")


def _check_tiles(width: int, height: int, tile_width: int, tile_length: int) -> None:
    if tile_width < 1 or tile_length < 1:
        return
    if tile_width * tile_length > MAX_TILE_PIXELS:
        limit = f"{MAX_TILE_PIXELS} are allowed; write strips"
        raise PayloadTooLarge(f"the TIFF has tiles of {tile_width}x{tile_length} pixels; {limit}")
    tiles = -(-width // tile_width) * -(-height // tile_length)
    if tiles > MAX_STRIPS:
        raise PayloadTooLarge(f"the TIFF has {tiles} tiles of {tile_width}x{tile_length}; {MAX_STRIPS} are allowed")
