"""Limits of a JPEG file: segments, bytes between them, EXIF, and scans by pixels (ITU-T T.81, annex B).

Pillow reads the segments before the first scan in Python. Of a JPEG with several scans, the decoder keeps all
coefficients of the picture, and each scan passes over all of them, even if it has no data.
"""

import re
from dataclasses import dataclass
from struct import unpack_from

from service.errors import PayloadTooLarge

MAX_EXIF_BYTES = 256 << 10
"""Of any format. One segment of a JPEG has 64 KiB. Pillow takes 4 us to read a fraction, of 8 bytes."""
MAX_SEGMENTS = 1000
"""A segment has up to 64 KiB: a photograph with a depth map has about 100."""
MAX_FILL_BYTES = 4096
"""Between segments there are none, or a few to align them."""
MAX_PHOTOSHOP_BLOCKS = 1000
"""Photoshop writes about 30."""
MAX_SCAN_PIXELS = 500_000_000
"""Scans x pixels. A scan without data takes 0.6 ns a pixel. Encoders write 10 scans, optimisers up to 20."""
MAX_SCANS = 1000
MAX_COEFFICIENT_BYTES = 250_000_000
"""Coefficients and pixels of a JPEG with several scans."""
MAX_PIXELS = 65_000_000
"""Pixels that a JPEG states: the decoder reads the data of all of them, whatever the scale. Phones write 48, 50 and 64
million."""
MIN_LONGER_SIDE, MIN_SHORTER_SIDE = 1000, 256
"""Pixels that the sides keep when a JPEG is decoded at a reduced scale."""

_APP1, _APP13, _EOI, _SOS = 0xE1, 0xED, 0xD9, 0xDA
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = {0xC8, *range(0xD0, 0xDA), *range(0xF0, 0xFE)}
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


@dataclass
class _Head:
    """What precedes the first scan; `scan` is the place of its header."""

    scan: int
    segments: int
    frame: int = 0
    frame_marker: int = 0


def decoding_scale(width: int, height: int) -> int:
    """The divisor of both sides at which a JPEG is decoded: 1, 2, 4 or 8; 4000x3000 pixels give 1000x750."""
    longer, shorter = max(width, height), min(width, height)
    return max(
        scale
        for scale in (1, 2, 4, 8)
        if scale == 1 or (longer >= scale * MIN_LONGER_SIDE and shorter >= scale * MIN_SHORTER_SIDE)
    )


def check_jpeg(data: bytes) -> tuple[int, int]:
    """Check the bytes of a JPEG file; returns the width and the height that it states.

    Raises:
        PayloadTooLarge: it is over a limit.
        struct.error, IndexError: it is truncated.
    """
    head = _check_segments(data)
    if not head or not head.frame:
        return 0, 0
    height, width, components = unpack_from(">HHB", data, head.frame + 3)
    if head.frame_marker not in _PROGRESSIVE and data[head.scan + 2] >= components:
        return width, height  # one scan has everything, and the decoder reads no other
    _check_memory(data, head.frame, width, height, components)
    allowed = min(MAX_SCAN_PIXELS // max(width * height, 1), MAX_SCANS)
    scans = 1 + data.count(b"\xff\xda", head.scan)  # may include bytes of metadata
    if scans > allowed:
        scans = _count_scans(data, head, allowed + 1)
    if scans > allowed:
        found = f"more than {allowed} scans of {width}x{height} pixels"
        raise PayloadTooLarge(f"the JPEG has {found}, which is the limit; send a baseline JPEG")
    return width, height


def _check_segments(data: bytes) -> _Head | None:
    """Walk over the segments as Pillow does; None if no scan follows."""
    head = _Head(scan=0, segments=0)
    place, fill, exif, blocks = 2, 0, 0, 0
    while True:
        start = data.find(b"\xff", place)
        if start < 0:
            return None
        fill += start - place
        place, marker = start + 1, data[start + 1]
        if marker in (0, 0xFF):
            fill += 1
        elif marker in _WITHOUT_LENGTH:
            place, head.segments = place + 1, head.segments + 1
        elif marker < 0xC0:
            return None  # Pillow rejects it
        else:
            place, head.segments = place + 1, head.segments + 1
            (length,) = unpack_from(">H", data, place)
            if marker == _SOS:
                head.scan = place
                return head
            if marker in _FRAMES:
                head.frame, head.frame_marker = place, marker
            elif marker == _APP1 and data.startswith(b"Exif", place + 2):
                exif += length
            elif marker == _APP13:
                blocks += data.count(b"8BIM", place, place + length)
            place += max(length, 2)
        _check_counts(head.segments, fill, exif, blocks)


def _check_counts(segments: int, fill: int, exif: int, blocks: int) -> None:
    for count, limit, what in (
        (segments, MAX_SEGMENTS, "segments"),
        (fill, MAX_FILL_BYTES, "bytes between segments"),
        (exif, MAX_EXIF_BYTES, "bytes of EXIF data"),
        (blocks, MAX_PHOTOSHOP_BLOCKS, "Photoshop blocks"),
    ):
        if count > limit:
            raise PayloadTooLarge(f"the JPEG has more than {limit} {what}, which is the limit; remove its metadata")


def _check_memory(data: bytes, frame: int, width: int, height: int, components: int) -> None:
    """Coefficients take two bytes a sample, decoded pixels one for each component, or four."""
    sampling = [divmod(data[place], 16) for place in range(frame + 9, frame + 9 + 3 * components, 3)]
    largest = max(h for h, _ in sampling) * max(v for _, v in sampling) if sampling else 0
    samples = sum(h * v for h, v in sampling) / largest if largest else components
    bytes_per_pixel = 2 * samples + (1 if components == 1 else 4) / decoding_scale(width, height) ** 2
    size = round(width * height * bytes_per_pixel)
    if size > MAX_COEFFICIENT_BYTES:
        limit = f"{MAX_COEFFICIENT_BYTES} are allowed; send a baseline JPEG"
        raise PayloadTooLarge(f"the JPEG of several scans and {width}x{height} pixels takes {size} bytes; {limit}")


def _count_scans(data: bytes, head: _Head, limit: int) -> int:
    """Walk over the segments up to the end of the picture, and count the scans, up to a limit."""
    scans, segments, place = 1, head.segments, head.scan
    while scans < limit and (found := _MARKER.search(data, place)):
        place, marker = found.end(), data[found.end() - 1]
        if marker == _EOI or place + 2 > len(data):
            break
        scans, segments = scans + (marker == _SOS), segments + (marker != _SOS)
        if segments > MAX_SEGMENTS:
            raise PayloadTooLarge(f"the JPEG has more than {MAX_SEGMENTS} segments, which is the limit")
        place += max(unpack_from(">H", data, place)[0], 2) if marker not in _WITHOUT_LENGTH else 0
    return scans
