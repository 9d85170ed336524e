"""Limits of an AVIF file: the size of its pictures, its boxes and items, and the bytes of its EXIF data.

An AVIF is a tree of boxes (ISO/IEC 14496-12, 4.2) that describe items: pictures and metadata (ISO/IEC 23008-12). Its
decoder allocates a picture several times, and Pillow parses the EXIF data when it opens the file.
"""

from collections.abc import Iterator
from struct import unpack_from

from service.errors import PayloadTooLarge
from service.imaging.jpeg_limits import MAX_EXIF_BYTES

MAX_PIXELS = 12_500_000
"""As of WebP: a telephone's pictures have 4032x3024."""
MAX_BOXES = 1000
"""Boxes before and among those that are read; encoders write about 20."""
MAX_ITEMS = 1000
"""Items and their extents; a picture in tiles, as telephones write it, has about 50."""


def check_avif(data: bytes) -> tuple[int, int]:
    """Check a file; return the largest width and height of its items.

    Raises:
        PayloadTooLarge: it is over a limit.
        struct.error, IndexError: it is truncated or damaged.
    """
    width = height = 0
    for content in _find_boxes(data, b"meta", b"iprp", b"ipco", b"ispe"):
        sides = unpack_from(">II", data, content + 4)
        width, height = max(width, sides[0]), max(height, sides[1])
    if width * height > MAX_PIXELS:
        limit = f"{MAX_PIXELS} are allowed in an AVIF; send a JPEG"
        raise PayloadTooLarge(f"the picture has {width}x{height} pixels; {limit}")
    exif_items = {_read_item_type(data, content) for content in _find_boxes(data, b"meta", b"iinf", b"infe")}
    for content in _find_boxes(data, b"meta", b"iloc"):
        for item, size in _read_item_sizes(data, content):
            if (item, b"Exif") in exif_items and size > MAX_EXIF_BYTES:
                raise PayloadTooLarge(f"the EXIF data has {size} bytes; {MAX_EXIF_BYTES} are allowed; remove it")
    return width, height


def _find_boxes(data: bytes, *path: bytes) -> Iterator[int]:
    """The place of the content of each box with this path of names."""
    boxes = 0
    spans = [(0, len(data), 0)]
    while spans:
        place, end, depth = spans.pop()
        while place + 8 <= end:
            boxes += 1
            if boxes > MAX_BOXES:
                raise PayloadTooLarge(f"the AVIF has more than {MAX_BOXES} boxes, which is the limit")
            size, name = unpack_from(">I4s", data, place)
            box_end = min(place + size, end) if size >= 8 else end
            if name == path[depth]:
                if depth + 1 == len(path):
                    yield place + 8
                else:
                    spans.append((place + 8 + _prefix_size(data, place, name), box_end, depth + 1))
            place = box_end


def _prefix_size(data: bytes, place: int, name: bytes) -> int:
    """Bytes before the first box in a box: version and flags, and in iinf the number of its boxes."""
    if name == b"iinf":
        return 8 if data[place + 8] else 6
    return 4 if name == b"meta" else 0


def _read_item_type(data: bytes, content: int) -> tuple[int, bytes]:
    """The number of an item and its type (14496-12, 8.11.6); versions before 2 have no type."""
    if data[content] < 2:
        return 0, b""
    item, _, kind = unpack_from(">HH4s" if data[content] == 2 else ">IH4s", data, content + 4)
    return item, kind


def _read_item_sizes(data: bytes, content: int) -> Iterator[tuple[int, int]]:
    """The number of each item and the bytes of its extents together (14496-12, 8.11.3)."""
    version, widths, more_widths = data[content], data[content + 4], data[content + 5]
    number = ">I" if version == 2 else ">H"
    number_size = 4 if version == 2 else 2
    (count,) = unpack_from(number, data, content + 6)
    if count > MAX_ITEMS:
        raise PayloadTooLarge(f"the AVIF has {count} items; {MAX_ITEMS} are allowed")
    length_size, index_size = widths & 15, more_widths & 15 if version else 0
    place, extents = content + 6 + number_size, 0
    for _ in range(count):
        (item,) = unpack_from(number, data, place)
        place += number_size + (2 if version else 0) + 2 + (more_widths >> 4)
        (parts,) = unpack_from(">H", data, place)
        extents += parts
        if extents > MAX_ITEMS:
            raise PayloadTooLarge(f"the items of the AVIF have more than {MAX_ITEMS} extents, which is the limit")
        place, size = place + 2, 0
        for _ in range(parts):
            place += index_size + (widths >> 4) + length_size
            size += int.from_bytes(data[place - length_size : place], "big") or len(data)
        yield item, size
