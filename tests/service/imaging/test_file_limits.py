"""Tests the limits on the bytes of a picture file: good files of every kind pass, and each limit is exact."""

import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.errors import PayloadTooLarge, RequestError, UnsupportedMediaType
from service.imaging import file_limits, jpeg_limits, tiff_limits
from service.imaging.decode import decode
from service.imaging.file_limits import check_file
from service.settings import Settings
from tests.service.payloads import Pixels, encode, png_with_size, stroke

LIMITS = Settings()
WIDTH, HEIGHT = 60, 40


def page(*channels: int) -> Pixels:
    return np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH, *channels), np.uint8)


GOOD: dict[str, tuple[str, str, dict[str, Any]]] = {
    **{f"{kind} {mode}": (kind, mode, {}) for kind in ("PNG", "GIF", "BMP", "TIFF") for mode in ("1", "L", "P", "RGB")},
    **{f"{kind} {mode}": (kind, mode, {}) for kind in ("PNG", "TIFF", "WEBP") for mode in ("RGBA",)},
    **{f"JPEG {mode}": ("JPEG", mode, {}) for mode in ("L", "RGB", "CMYK")},
    "progressive JPEG": ("JPEG", "RGB", {"progressive": True}),
    "optimised JPEG": ("JPEG", "RGB", {"optimize": True, "comment": "a comment", "dpi": (300, 300)}),
    "lossy WebP": ("WEBP", "RGB", {}),
    "lossless WebP": ("WEBP", "RGB", {"lossless": True}),
    "GIF with a comment": ("GIF", "L", {"comment": b"c" * 1000}),
    **{
        f"TIFF {name}": ("TIFF", mode, {"compression": name})
        for name, mode in {
            **dict.fromkeys(("tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits", "jpeg"), "RGB"),
            **dict.fromkeys(("group3", "group4", "tiff_ccitt"), "1"),
        }.items()
    },
    "AVIF": ("AVIF", "RGB", {}),
    "grey AVIF": ("AVIF", "L", {}),
    "AVIF with transparency": ("AVIF", "RGBA", {"quality": 100}),
    "BigTIFF": ("TIFF", "L", {"big_tiff": True}),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_file_passes_and_its_pixels_are_counted(name: str) -> None:
    kind, mode, options = GOOD[name]
    assert check_file(encode(page(), kind=kind, mode=mode, **options), LIMITS) == WIDTH * HEIGHT


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
def test_a_file_with_metadata_passes(kind: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = "d" * 60_000
    exif.get_ifd(0x8769)[0x829A] = (1, 60)
    data = encode(page(3), kind=kind, exif=exif, icc_profile=bytes(range(256)) * 200)
    assert check_file(data, LIMITS) == WIDTH * HEIGHT
    assert decode(data, LIMITS).pixels.shape[:2] == (HEIGHT, WIDTH)


def test_other_and_empty_files_pass() -> None:
    for data in (b"", b"<svg/>", b"RIFF\0\0\0\0WAVE", encode(page(), kind="ICO")):
        assert check_file(data, LIMITS) == 0


@pytest.mark.parametrize("name", GOOD)
def test_a_truncated_file_passes_or_is_rejected(name: str) -> None:
    kind, mode, options = GOOD[name]
    data = encode(page(), kind=kind, mode=mode, **options)
    for length in (*range(min(len(data), 600)), len(data) - 1):
        with suppress(RequestError):
            assert check_file(data[:length], LIMITS) in {0, WIDTH * HEIGHT}


@pytest.mark.parametrize("name", GOOD)
def test_a_changed_byte_raises_nothing_but_a_request_error(name: str) -> None:
    kind, mode, options = GOOD[name]
    data, random = encode(page(), kind=kind, mode=mode, **options), np.random.default_rng(1)
    for place in random.integers(0, min(len(data), 400), 400).tolist():
        changed = bytearray(data)
        changed[place] = random.integers(256)
        with suppress(RequestError):
            assert check_file(bytes(changed), LIMITS) >= 0


def test_the_size_is_checked_before_a_file_is_decoded() -> None:
    with pytest.raises(PayloadTooLarge, match=r"^the picture has 50000x50000 pixels; 25000000 are allowed$"):
        check_file(png_with_size(50_000, 50_000), LIMITS)
    with pytest.raises(PayloadTooLarge, match=r"^the picture has 60x40 pixels; a side may have 59$"):
        check_file(encode(page()), Settings(max_side=59))
    assert check_file(encode(page()), Settings(max_pixels=2400, max_side=60)) == 2400


def chunk(name: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(*chunks: bytes) -> bytes:
    file = encode(stroke())
    return file[:33] + b"".join(chunks) + file[33:]


def segment(marker: int, content: bytes = b"") -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def jpeg(*segments: bytes) -> bytes:
    file = encode(stroke(), kind="JPEG")
    return file[:2] + b"".join(segments) + file[2:]


def gif(*blocks: bytes) -> bytes:
    file = encode(stroke(), kind="GIF")
    place = file.index(b",\0\0\0\0")
    return file[:place] + b"".join(blocks) + file[place:]


def webp(*chunks: bytes) -> bytes:
    return encode(stroke(), kind="WEBP") + b"".join(chunks)


JPEG_SEGMENTS = 10
"""Those of a grey JPEG by Pillow before its first scan, and one to spare."""
LIMITS_BY_COUNT: dict[str, tuple[Callable[[int], bytes], int, str]] = {
    "PNG chunks": (lambda count: png(*[chunk(b"prVt")] * (count - 2)), 8192, "the PNG has more than 8192 chunks"),
    "PNG texts": (lambda count: png(*[chunk(b"zTXt", b"a\0\0")] * count), 16, "the PNG has more than 16 compressed"),
    "PNG metadata": (lambda count: png(chunk(b"tEXt", bytes(count))), 4_194_304, "the PNG has more than 4194304 bytes"),
    "PNG EXIF": (
        lambda count: png(chunk(b"eXIf", bytes(count))),
        262_144,
        "the EXIF data has 262145 bytes; 262144 are",
    ),
    "JPEG fill": (lambda count: jpeg(b"\xff" * count), 4096, "the JPEG has more than 4096 bytes between segments"),
    "JPEG bytes": (
        lambda count: jpeg(segment(0xFE), b"a" * count),
        4096,
        "the JPEG has more than 4096 bytes between segments",
    ),
    "JPEG blocks": (
        lambda count: jpeg(segment(0xED, b"8BIM" * count)),
        1000,
        "the JPEG has more than 1000 Photoshop blocks, which is the limit",
    ),
    "GIF blocks": (lambda count: gif(b"!\xfe" + b"\1a" * (count - 1) + b"\0"), 10_000, "the GIF has more than 10000"),
    "GIF extensions": (lambda count: gif(b"!\xfe\0" * count), 10_000, "the GIF has more than 10000 blocks of metadata"),
    "GIF bytes": (lambda count: gif(b"a" * count), 10_000, "the GIF has more than 10000 blocks of metadata"),
    "WebP chunks": (lambda count: webp(*[b"abcd\0\0\0\0"] * (count - 1)), 2000, "the WebP has more than 2000 chunks"),
}


@pytest.mark.parametrize("name", LIMITS_BY_COUNT)
def test_the_limit_is_exact(name: str) -> None:
    build, limit, message = LIMITS_BY_COUNT[name]
    assert check_file(build(limit), LIMITS) == 784
    with pytest.raises(PayloadTooLarge) as caught:
        check_file(build(limit + 1), LIMITS)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "blocks",
    [
        b"",
        b"!\xfe\x03abc\x02de\0",
        b"!\xfe\0",
        b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0",
        b"!\xff\x0bNETSCAPE2.0\0\x02ab\0",
        b"!\xff\x0bXMP DataXMP\x05abcde\0",
        b"!\xf9\x04\0\0\0\0\0",
        b"!\x01\0\x02,;\0",
        b"!\x01\x02,;\x01!\0",
        b"junk",
    ],
    ids=repr,
)
def test_the_blocks_of_a_gif_are_those_that_pillow_reads(blocks: bytes) -> None:
    """The frame is larger than the screen, so that the size shows whether the frame was found."""
    data = bytearray(gif(blocks))
    data[6:10] = struct.pack("<HH", 5, 5)
    with Image.open(BytesIO(data)) as picture:
        assert picture.size == (28, 28)
    assert check_file(bytes(data), LIMITS) == 784


def test_the_segments_between_scans_are_limited() -> None:
    """They are counted only if there may be too many scans."""
    data = progressive(1000, 500)
    tables = segment(0xC4, b"\x10\x01" + bytes(15) + b"\xe0")
    assert check_file(data[:-2] + tables * 2000 + data[-2:], LIMITS) == 1_000_000
    with pytest.raises(PayloadTooLarge, match=r"^the JPEG has more than 1000 segments, which is the limit$"):
        check_file(data[:-2] + tables * 2000 + segment(0xDA) + data[-2:], LIMITS)


def test_the_segments_of_a_jpeg_are_limited() -> None:
    assert check_file(jpeg(*[segment(0xFE)] * (1000 - JPEG_SEGMENTS)), LIMITS) == 784
    with pytest.raises(PayloadTooLarge, match=r"^the JPEG has more than 1000 segments, which is the limit; "):
        check_file(jpeg(*[segment(0xE5)] * 1001), LIMITS)


def test_the_exif_segments_of_a_jpeg_are_limited_together() -> None:
    part = segment(0xE1, b"Exif\0\0" + bytes(65_000))
    assert check_file(jpeg(*[part] * 4), LIMITS) == 784
    with pytest.raises(PayloadTooLarge, match=r"^the JPEG has more than 262144 bytes of EXIF data, which is the limit"):
        check_file(jpeg(*[part] * 5), LIMITS)


def progressive(side: int, scans: int) -> bytes:
    """A grey progressive JPEG of so many scans; Pillow writes six."""
    file = encode(np.zeros((side, side), np.uint8), kind="JPEG", progressive=True)
    assert file.count(b"\xff\xda") == 6
    return file[:-2] + segment(0xDA, b"\1\1\0\0\0\x10") * (scans - 6) + file[-2:]


@pytest.mark.parametrize(("side", "scans"), [(28, 1000), (1000, 500), (2000, 125)])
def test_scans_by_pixels_are_limited(side: int, scans: int) -> None:
    """500 million pixels of all scans together, and 1,000 scans."""
    assert check_file(progressive(side, scans), LIMITS) == side * side
    with pytest.raises(
        PayloadTooLarge, match=rf"^the JPEG has more than {scans} scans of {side}x{side} pixels, which "
    ):
        check_file(progressive(side, scans + 1), LIMITS)


def test_the_scans_of_a_sequential_jpeg_are_limited_if_the_first_has_not_all_components() -> None:
    data = encode(np.zeros((2000, 2000, 3), np.uint8), kind="JPEG")
    start, more = data.index(b"\xff\xda"), segment(0xDA, b"\1\1\0\0\x3f\0") * 200
    assert check_file(data[:-2] + more + data[-2:], LIMITS) == 4_000_000  # the decoder reads one scan
    first = data[: start + 4] + b"\1" + data[start + 5 :]
    assert check_file(first, LIMITS) == 4_000_000
    with pytest.raises(PayloadTooLarge, match=r"^the JPEG has more than 125 scans of 2000x2000 pixels, which is the"):
        check_file(first[:-2] + more + first[-2:], LIMITS)


def test_markers_without_a_length_are_segments_too() -> None:
    exif = segment(0xE1, b"Exif\0\0" + bytes(65_000)) * 5
    assert check_file(jpeg(b"\xff\xd0" * 900), LIMITS) == 784
    for before in (b"\xff\xd0" * 1001, b"\xff\xd0" + exif):
        with pytest.raises(PayloadTooLarge):
            check_file(jpeg(before), LIMITS)


def test_scans_are_counted_up_to_the_end_of_the_picture_and_not_in_metadata() -> None:
    """A photograph may be followed by a film or another picture."""
    data = progressive(1000, 500)
    assert check_file(data + b"\xff\xda" * 1000, LIMITS) == 1_000_000
    start = data.index(b"\xff\xda")
    assert check_file(data[:start] + segment(0xFE, b"\xff\xda" * 1000) + data[start:], LIMITS) == 1_000_000


def test_a_jpeg_of_several_scans_is_limited_by_its_coefficients() -> None:
    """Three components take 6 bytes a pixel, four 8, and the decoded picture 4, at 1/4 of 16000x2000 pixels."""
    wide = np.zeros((2000, 16_000, 3), np.uint8)
    data = encode(wide, kind="JPEG", progressive=True, subsampling=0)
    assert check_file(data, LIMITS) == 32_000_000
    data = encode(wide, kind="JPEG", mode="CMYK", progressive=True)
    message = r"^the JPEG of several scans and 16000x2000 pixels takes 264000000 bytes; 250000000 are allowed; "
    with pytest.raises(PayloadTooLarge, match=message):
        check_file(data, LIMITS)
    assert check_file(encode(wide, kind="JPEG", mode="CMYK"), LIMITS) == 32_000_000


def bmp(width: int, height: int, *, compression: int = 0, colours: int = 0, size: int = 0) -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, compression, 0, 0, 0, colours, 0)
    return (b"BM" + struct.pack("<IHHI", 0, 0, 0, 54) + header).ljust(size, b"\0")


def test_the_colours_of_a_bmp_are_limited() -> None:
    assert check_file(bmp(28, 28, colours=256), LIMITS) == 784
    with pytest.raises(PayloadTooLarge, match=r"^the BMP has 257 colours; 256 are allowed$"):
        check_file(bmp(28, 28, colours=257), LIMITS)


@pytest.mark.parametrize("compression", [1, 2])
def test_a_run_length_encoded_bmp_is_limited_in_pixels_and_bytes(compression: int) -> None:
    assert check_file(bmp(1000, -1000, compression=compression), LIMITS) == 1_000_000
    assert check_file(bmp(1000, 1001), LIMITS) == 1_001_000
    with pytest.raises(
        PayloadTooLarge, match=r"^the picture has 1000x1001 pixels; 1000000 are allowed in a run-length"
    ):
        check_file(bmp(1000, 1001, compression=compression), LIMITS)
    largest = 2 * 784 + 4 * 28 + 2048
    assert check_file(bmp(28, 28, compression=compression, size=largest), LIMITS) == 784
    with pytest.raises(PayloadTooLarge, match=rf"^the picture has {largest + 1} bytes; 28x28 pixels take {largest} at"):
        check_file(bmp(28, 28, compression=compression, size=largest + 1), LIMITS)


def test_a_webp_has_a_limit_of_pixels_of_its_own() -> None:
    head = b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0"
    fits, over = (head + (width - 1).to_bytes(3, "little") + (2499).to_bytes(3, "little") for width in (5000, 5001))
    assert check_file(fits, LIMITS) == 12_500_000
    message = r"^the picture has 5001x2500 pixels; 12500000 are allowed in a WebP; send a PNG or a JPEG$"
    with pytest.raises(PayloadTooLarge, match=message):
        check_file(over, LIMITS)


Entry = tuple[int, int, int, int]


def tiff(*entries: Entry, order: str = "<", data: bytes = b"") -> bytes:
    """A TIFF of 28x28 pixels with these fields too: tag, type, count, value; data follows the directory."""
    fields = sorted([(256, 4, 1, 28), (257, 4, 1, 28), *entries])
    directory = b"".join(struct.pack(f"{order}HHII", *field) for field in fields)
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HIH", 42, 8, len(fields))
    return head + directory + bytes(4) + data


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([(322, 4, 1, 45_000), (323, 4, 1, 45_000)], "the TIFF has tiles of 45000x45000 pixels; 4194304 are allowed;"),
        ([(322, 9, 1, 2049), (323, 4, 1, 2048)], "the TIFF has tiles of 2049x2048 pixels; 4194304 are allowed;"),
        ([(256, 4, 1, 4000), (257, 4, 1, 4000), (322, 4, 1, 1), (323, 4, 1, 1)], "the TIFF has 16000000 tiles of 1x1;"),
        ([(273, 4, 20_001, 8)], "the TIFF has 20001 strips or tiles; 20000 are allowed"),
        ([(325, 4, 20_001, 8)], "the TIFF has 20001 strips or tiles; 20000 are allowed"),
        ([(274, 5, 10_001, 8)], "the TIFF has 10001 fractions in its fields; 10000 are allowed"),
        ([(274, 5, 9000, 8), (275, 10, 1001, 8)], "the TIFF has 10001 fractions in its fields; 10000 are allowed"),
        ([(258, 3, 100_000, 8)], "the TIFF has 100002 numbers in its fields; 100000 are allowed"),
        ([(259, 3, 1, 5), (279, 4, 1, 1000)], "the strips of the TIFF claim 1000 bytes of its 62; "),
    ],
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_over_a_limit_is_rejected(entries: list[Entry], message: str, order: str) -> None:
    if order == ">":  # short values stand at the left
        entries = [(tag, kind, count, value << 16 if kind == 3 else value) for tag, kind, count, value in entries]
    with pytest.raises(PayloadTooLarge) as caught:
        check_file(tiff(*entries, order=order), LIMITS)
    assert str(caught.value).startswith(message)


def test_a_tiff_at_its_limits_passes() -> None:
    tile = [(322, 4, 1, 2048), (323, 4, 1, 2048)]
    values = [(273, 4, 20_000, 8), (274, 5, 10_000, 8), (258, 3, 89_996, 8), (37_500, 7, 10_000_000, 8)]
    assert check_file(tiff(*tile, *values), LIMITS) == 784
    assert check_file(tiff(*[(number, 3, 1, 0) for number in range(1000, 1998)]), LIMITS) == 784
    with pytest.raises(PayloadTooLarge, match=r"^the TIFF has a directory of 1001 fields; 1000 are allowed$"):
        check_file(tiff(*[(number, 3, 1, 0) for number in range(1000, 1999)]), LIMITS)


@pytest.mark.parametrize("tags", [(34_665,), (34_853,), (40_965,), (34_665, 40_965)])
def test_the_exif_directories_of_a_tiff_are_checked(tags: tuple[int, ...]) -> None:
    start = 8 + 2 + 12 * 3 + 4
    directories = b""
    for depth, tag in enumerate(tags[1:], 1):
        directories += struct.pack("<HHHIII", 1, tag, 4, 1, start + 18 * depth, 0)
    directories += struct.pack("<HHHIII", 1, 33_434, 5, 10_001, 8, 0)
    with pytest.raises(PayloadTooLarge, match=r"^the TIFF has 10001 fractions in its fields; 10000 are allowed$"):
        check_file(tiff((tags[0], 4, 1, start), data=directories), LIMITS)


@pytest.mark.parametrize("place", [10**6, 2**31, 2**32 - 1])
def test_a_damaged_exif_directory_hides_nothing(place: int) -> None:
    tile = [(322, 4, 1, 45_000), (323, 4, 1, 45_000)]
    with pytest.raises(PayloadTooLarge, match=r"^the TIFF has tiles of 45000x45000 pixels"):
        check_file(tiff(*tile, (34_665, 4, 1, place)), LIMITS)


def test_a_truncated_directory_hides_nothing() -> None:
    """Pillow uses the fields before the end of the file."""
    data = bytearray(tiff((322, 4, 1, 45_000), (323, 4, 1, 45_000)))
    data[8] = 100
    with pytest.raises(PayloadTooLarge, match=r"^the TIFF has tiles of 45000x45000 pixels"):
        check_file(bytes(data), LIMITS)


def test_directories_that_refer_to_each_other_are_read_once() -> None:
    loop = [(34_665, 4, 1, 8), (34_853, 4, 1, 8), (40_965, 4, 1, 8)]
    assert check_file(tiff(*loop), LIMITS) == 784


@pytest.mark.parametrize("compression", [6, 32_771, 32_809, 34_676, 34_925, 50_000, 50_001])
def test_a_tiff_with_a_rare_compression_is_not_supported(compression: int) -> None:
    with pytest.raises(UnsupportedMediaType) as caught:
        check_file(tiff((259, 3, 1, compression)), LIMITS)
    supported = "none, CCITT, LZW, JPEG, Deflate, PackBits"
    assert str(caught.value) == f"the TIFF has compression {compression}; supported: {supported}"


def test_a_big_endian_bigtiff_is_not_supported() -> None:
    """Pillow reads it as a TIFF, and libtiff as a BigTIFF."""
    with pytest.raises(UnsupportedMediaType, match=r"^the TIFF is a big-endian BigTIFF; "):
        check_file(b"MM\0+\0\x08\0\0" + bytes(100), LIMITS)


def test_the_scans_of_a_jpeg_in_a_tiff_are_limited() -> None:
    fields = [(256, 4, 1, 5000), (257, 4, 1, 5000), (259, 3, 1, 7), (279, 4, 1, 10)]
    data = tiff(*fields, data=b"\xff\xda" * 20)
    assert check_file(data, LIMITS) == 25_000_000
    with pytest.raises(PayloadTooLarge, match=r"^the TIFF has 21 scans of 5000x5000 pixels, which is over the limit; "):
        check_file(data + b"\xff\xda", LIMITS)


def test_the_limits() -> None:
    """Each stands in docs/api.md."""
    assert (file_limits.MAX_PNG_CHUNKS, file_limits.MAX_WEBP_PIXELS) == (8192, 12_500_000)
    assert (jpeg_limits.MAX_SEGMENTS, jpeg_limits.MAX_SCAN_PIXELS) == (1000, 500_000_000)
    assert (tiff_limits.MAX_FIELDS, tiff_limits.MAX_STRIPS) == (1000, 20_000)
