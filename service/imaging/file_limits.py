"""Limits of a picture file that are checked on its bytes, before a decoder reads it.

A file of some kilobytes can make a decoder run for minutes or allocate gigabytes: it repeats what costs more to read
than to store, or claims sizes. What each format can repeat and claim is counted here; the limits are far above the
files of cameras, scanners and drawing programs. Damaged files pass: the decoder reports them.

    PNG    chunks, compressed texts and profiles, bytes of metadata
    GIF    blocks of comments and extensions before the first frame
    BMP    colours; pixels and bytes of run-length encoding, which Pillow decodes in Python
    WebP   pixels, since its decoder holds three copies of the canvas; chunks and frames
    JPEG   see jpeg_limits.py
    AVIF   see avif_limits.py
    TIFF   see tiff_limits.py
"""

import struct
from collections.abc import Callable
from struct import unpack_from

from service.errors import PayloadTooLarge
from service.imaging import avif_limits, jpeg_limits, tiff_limits
from service.imaging.jpeg_limits import MAX_EXIF_BYTES
from service.settings import Settings

MAX_PNG_CHUNKS = 8192
"""Encoders write chunks of 8 KiB and more, which are 2,048 in 16 MiB."""
MAX_PNG_COMPRESSED_TEXTS = 16
"""Each expands to 1 MiB at most, which takes 3 ms."""
MAX_PNG_METADATA_BYTES = 4 << 20
MAX_GIF_BLOCKS = 10_000
"""Of up to 255 bytes each."""
MAX_BMP_COLOURS = 256
MAX_BMP_RUN_PIXELS = 1_000_000
"""Pillow decodes run-length encoding in Python: a million pixels take up to 0.6 s."""
MAX_WEBP_PIXELS = 12_500_000
"""The decoder takes 16 bytes a pixel, 200 MB: two canvases, a copy, and the picture."""
MAX_WEBP_CHUNKS = 2000
"""Each frame of an animation is one."""
MAX_AVIF_PIXELS = 12_500_000
"""As of WebP: 4032x3024 of a telephone."""
MAX_AVIF_BOXES = 1000
"""Boxes before and in that of the sizes; encoders write about 20."""

_PNG_COMPRESSED = {b"iCCP", b"zTXt", b"iTXt"}
_BMP_RUN_LENGTH = {1, 2}
_FIRST_BOX, _BOX_NAME = b"ftyp", 4
"""The name of the first box of an AVIF file, and its place."""
_JPEG = b"\xff\xd8\xff"
"""The first bytes of a JPEG file."""


def check_file(data: bytes, settings: Settings) -> int:
    """Check the bytes of a picture file against the settings and the limits of its format; other files pass.

    Returns:
        The number of pixels that its header states; 0 if it is damaged or of another format.

    Raises:
        PayloadTooLarge: it is over a limit.
        UnsupportedMediaType: it is a TIFF with a rare compression.
    """
    for signature, check in _CHECKS.items():
        if data.startswith(signature, _BOX_NAME if signature == _FIRST_BOX else 0):
            try:
                width, height = check(data)
            except (struct.error, IndexError):
                return 0  # the file is truncated or damaged, which the decoder reports
            check_size(width, height, settings, is_jpeg=signature == _JPEG)
            return width * height
    return 0


def check_size(width: int, height: int, settings: Settings, *, is_jpeg: bool = False) -> None:
    """Check the size of a picture in pixels against the settings; a JPEG is decoded at a reduced scale.

    Raises:
        PayloadTooLarge: it has too many pixels, or too long a side.
    """
    scale = jpeg_limits.decoding_scale(width, height) if is_jpeg else 1
    if -(-width // scale) * -(-height // scale) > settings.max_pixels:
        scaled = f", decoded at 1/{scale} of each side" if scale > 1 else ""
        raise PayloadTooLarge(f"the picture has {width}x{height} pixels{scaled}; {settings.max_pixels} are allowed")
    if is_jpeg and width * height > (allowed := max(jpeg_limits.MAX_PIXELS, settings.max_pixels)):
        raise PayloadTooLarge(f"the picture has {width}x{height} pixels; {allowed} are allowed in a JPEG")
    if max(width, height) > settings.max_side:
        raise PayloadTooLarge(f"the picture has {width}x{height} pixels; a side may have {settings.max_side}")


Size = tuple[int, int]
"""Width and height."""


def _check_png(data: bytes) -> Size:
    """Walk over the chunks up to IEND, where Pillow stops."""
    place, chunks, texts, metadata = 8, 0, 0, 0
    width, height = 0, 0
    while place + 8 <= len(data):
        length, name = unpack_from(">I4s", data, place)
        if name == b"IEND":
            break
        if name == b"IHDR":  # Pillow takes the last one
            width, height = unpack_from(">II", data, place + 8)
        place += length + 12
        chunks += 1
        if name in _PNG_COMPRESSED:
            texts += 1
        if name == b"eXIf":
            check_exif_size(length)
        if name[0] & 0x20:  # small letters: chunks that are not needed to show the picture
            metadata += length
        if chunks > MAX_PNG_CHUNKS:
            raise PayloadTooLarge(f"the PNG has more than {MAX_PNG_CHUNKS} chunks, which is the limit")
        if texts > MAX_PNG_COMPRESSED_TEXTS:
            limit = f"{MAX_PNG_COMPRESSED_TEXTS} compressed texts and profiles, which is the limit"
            raise PayloadTooLarge(f"the PNG has more than {limit}; remove its metadata")
        if metadata > MAX_PNG_METADATA_BYTES:
            limit = f"{MAX_PNG_METADATA_BYTES} bytes of metadata, which is the limit"
            raise PayloadTooLarge(f"the PNG has more than {limit}; remove it")
    return width, height


def check_exif_size(length: int) -> None:
    """Check the size of EXIF data in bytes.

    Raises:
        PayloadTooLarge: it is over the limit.
    """
    if length > MAX_EXIF_BYTES:
        raise PayloadTooLarge(f"the EXIF data has {length} bytes; {MAX_EXIF_BYTES} are allowed; remove it")


def _check_gif(data: bytes) -> Size:
    """Walk over the blocks before the first frame as Pillow does, which takes an empty first block for none."""
    flags, blocks = data[10], 0

    def next_block(place: int) -> tuple[int, bytes]:
        nonlocal blocks
        blocks += 1
        if blocks > MAX_GIF_BLOCKS:
            limit = f"{MAX_GIF_BLOCKS} blocks of metadata, which is the limit"
            raise PayloadTooLarge(f"the GIF has more than {limit}; remove it")
        end = place + 1 + data[place]
        return end, data[place + 1 : end]

    place = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    while (kind := data[place]) not in b",;":
        if kind != ord("!"):  # a byte between two blocks, which Pillow skips
            next_block(place)
            place += 1
            continue
        label = data[place + 1]
        place, block = next_block(place + 2)
        if label == 255 and block.startswith(b"NETSCAPE2.0"):
            place, _ = next_block(place)
        if label != 254 or block:
            while block := next_block(place)[1]:
                place += len(block) + 1
            place += 1
    (width, height), frame = unpack_from("<HH", data, 6), (0, 0, 0, 0)
    if kind == ord(","):
        frame = unpack_from("<4H", data, place + 1)
    return max(width, frame[0] + frame[2]), max(height, frame[1] + frame[3])


def _check_bmp(data: bytes) -> Size:
    (head,) = unpack_from("<I", data, 14)
    if head == 12:
        width, height = unpack_from("<HH", data, 18)
        return width, height  # the oldest header has neither run-length encoding nor a number of colours
    width, height = unpack_from("<ii", data, 18)
    bits, compression = unpack_from("<HI", data, 28)
    (colours,) = unpack_from("<I", data, 46)
    if bits <= 8 and colours > MAX_BMP_COLOURS:
        raise PayloadTooLarge(f"the BMP has {colours} colours; {MAX_BMP_COLOURS} are allowed")
    width, height = abs(width), abs(height)
    if compression not in _BMP_RUN_LENGTH:
        return width, height
    if width * height > MAX_BMP_RUN_PIXELS:
        limit = f"{MAX_BMP_RUN_PIXELS} are allowed in a run-length encoded BMP; send a PNG"
        raise PayloadTooLarge(f"the picture has {width}x{height} pixels; {limit}")
    max_bytes = 2 * width * height + 4 * height + 2048  # a run of one pixel takes two bytes
    if len(data) > max_bytes:
        limit = f"{width}x{height} pixels take {max_bytes} at most in a run-length encoded BMP"
        raise PayloadTooLarge(f"the picture has {len(data)} bytes; {limit}")
    return width, height


def _check_webp(data: bytes) -> Size:
    if data[8:12] != b"WEBP":
        return 0, 0
    width, height = _webp_size(data)
    if width * height > MAX_WEBP_PIXELS:
        limit = f"{MAX_WEBP_PIXELS} are allowed in a WebP; send a PNG or a JPEG"
        raise PayloadTooLarge(f"the picture has {width}x{height} pixels; {limit}")
    place, chunks = 12, 0
    while place + 8 <= len(data):
        name, length = unpack_from("<4sI", data, place)
        place += 8 + length + length % 2
        chunks += 1
        if name == b"EXIF":
            check_exif_size(length)
        if chunks > MAX_WEBP_CHUNKS:
            limit = f"{MAX_WEBP_CHUNKS} chunks, which is the limit"
            raise PayloadTooLarge(f"the WebP has more than {limit}; send one frame")
    return width, height


def _webp_size(data: bytes) -> Size:
    """The width and height of the canvas, which the decoder allocates (RFC 9649)."""
    if data[12:16] == b"VP8X":
        width, height = (int.from_bytes(data[place : place + 3], "little") + 1 for place in (24, 27))
        return width, height
    if data[12:16] == b"VP8L":
        (bits,) = unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


_CHECKS: dict[bytes, Callable[[bytes], Size]] = {
    b"\x89PNG\r\n\x1a\n": _check_png,
    _JPEG: jpeg_limits.check_jpeg,
    b"GIF87a": _check_gif,
    b"GIF89a": _check_gif,
    b"BM": _check_bmp,
    b"RIFF": _check_webp,
    _FIRST_BOX: avif_limits.check_avif,
    b"II*\0": tiff_limits.check_tiff,
    b"MM\0*": tiff_limits.check_tiff,
    b"II\0*": tiff_limits.check_tiff,
    b"MM*\0": tiff_limits.check_tiff,
    b"II+\0": tiff_limits.check_tiff,
    b"MM\0+": tiff_limits.check_tiff,
}
