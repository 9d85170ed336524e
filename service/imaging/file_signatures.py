"""File formats by their first bytes: what is a picture, and what must not be taken for one, or for raw pixels.

Raw pixels start with any bytes. So a signature has at least three bytes, and a short one is checked further: of
MNIST's 70,000 images, none starts like a file.
"""

from collections.abc import Callable
from struct import unpack_from

PICTURE_FORMATS = frozenset({"PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "AVIF"})
"""Those that a decoder may know; service/imaging/decode.py has those that it reads."""
ARRAY_FORMATS = frozenset({"NPY", "IDX3"})
"""Files of whole arrays of images; they are no pictures."""
_SEND_PICTURE = "send a JPEG or a PNG"
_SEND_ARRAY = "send the array as the body of the request, with curl by --data-binary @FILE"
ADVICE = {
    "HEIC": f"{_SEND_PICTURE}; on an iPhone, choose Settings > Camera > Formats > Most Compatible",
    "PDF": f"{_SEND_PICTURE} of its page",
    "SVG": f"{_SEND_PICTURE} that is drawn from it",
    "gzip": "unpack it, or send it with the header Content-Encoding: gzip",
    "ZIP": "send the files in it; of an .npz file, the .npy array",
    "NPY": _SEND_ARRAY,
    "IDX3": _SEND_ARRAY,
    "IDX1": "that is a file of labels; send the IDX3 file of images",
}
"""What to send instead of a file of this format."""

_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
_JPEG_SUCCESSORS = {b"\0\0\0\x0cJXL \r\n\x87\n": "JPEG XL", b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG 2000"}
_BMP_HEADER_SIZES = {12, 40, 52, 56, 64, 108, 124}
_MAX_BRANDS_BYTES = 256
_MIN_FILE_BYTES = 12


def identify_file(data: bytes) -> str | None:
    """The name of a file's format: one of PICTURE_FORMATS or ARRAY_FORMATS, another one, or None if it is unknown."""
    if data[:4] == b"\0\0\0\0":  # as nearly all images of raw pixels start
        return None
    for signature, identify in _BY_FIRST_BYTE.get(data[:1], ()):
        if data.startswith(signature):
            name = identify(data) if callable(identify) else identify
            if name:
                return name
    return None


def describe_unsupported_file(name: str) -> str:
    """The sentence for a file of a format that is not read here."""
    return f"the file is {name}, which is not read as a picture; {ADVICE.get(name, _SEND_PICTURE)}"


def _identify_zero(data: bytes) -> str | None:
    """The formats whose first byte is 0, as that of most images is."""
    if data[4:8] == b"ftyp":
        return _identify_iso_media(data)
    if data[:4] == b"\0\0\x08\x03":
        return "IDX3" if data[8:16] == b"\0\0\0\x1c\0\0\0\x1c" else None
    if data[:4] == b"\0\0\x08\x01":
        return "IDX1" if len(data) == 8 + int.from_bytes(data[4:8], "big") else None
    if data[:4] == b"\0\0\x01\0":
        return "ICO" if len(data) >= 22 and unpack_from("<I", data, 18)[0] == 6 + 16 * data[4] else None
    return _JPEG_SUCCESSORS.get(data[:12])


def _identify_iso_media(data: bytes) -> str:
    """Of the ISO base media format (ISO/IEC 14496-12, 4.3), by the brands that a file claims."""
    size = min(int.from_bytes(data[:4], "big"), _MAX_BRANDS_BYTES)
    brands = {data[8:12], *(data[place : place + 4] for place in range(16, size, 4))}
    if brands & _AVIF_BRANDS:
        return "AVIF"
    return "HEIC" if brands & _HEIC_BRANDS else "MP4"


def _identify_riff(data: bytes) -> str | None:
    if data[8:12] == b"WEBP":
        return "WEBP"
    return {b"WAVE": "WAV", b"AVI ": "AVI"}.get(data[8:12])


def _identify_bmp(data: bytes) -> str | None:
    if len(data) < 18:
        return None
    return "BMP" if unpack_from("<I", data, 14)[0] in _BMP_HEADER_SIZES else None


def _identify_gzip(data: bytes) -> str | None:
    """Method 8, and no flag but those of RFC 1952, section 2.3.1."""
    return "gzip" if data[3:4] < b"\x20" and len(data) >= _MIN_FILE_BYTES else None


def _identify_jpeg(data: bytes) -> str | None:
    return "JPEG" if data[3:4] >= b"\xc0" else None


def _identify_bzip2(data: bytes) -> str | None:
    return "bzip2" if data[4:10] == b"1AY&SY" else None


def _identify_pickle(data: bytes) -> str | None:
    """A frame of protocol 4 or 5 (PEP 3154), which is not longer than the file."""
    is_frame = len(data) >= 11 and unpack_from("<Q", data, 3)[0] <= len(data)
    return "pickle" if is_frame else None


def _identify_svg(data: bytes) -> str | None:
    return "SVG" if b"<svg" in data[:1024] else None


_SIGNATURES: tuple[tuple[bytes, str | Callable[[bytes], str | None]], ...] = (
    (b"\0", _identify_zero),
    (b"\x89PNG", "PNG"),
    (b"\x93NUMPY", "NPY"),
    (b"\xff\xd8\xff", _identify_jpeg),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", _identify_bmp),
    (b"RIFF", _identify_riff),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II\0*", "TIFF"),
    (b"MM*\0", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"%PDF-", "PDF"),
    (b"<svg", "SVG"),
    (b"<?xml", _identify_svg),
    (b"PK\x03\x04", "ZIP"),
    (b"PK\x05\x06", "ZIP"),
    (b"\x1f\x8b\x08", _identify_gzip),
    (b"BZh", _identify_bzip2),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "Zstandard"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"Rar!\x1a\x07", "RAR"),
    (b"8BPS", "Photoshop"),
    (b"\x89HDF\r\n\x1a\n", "HDF5"),
    (b"PAR1", "Parquet"),
    (b"\x80\x04\x95", _identify_pickle),
    (b"\x80\x05\x95", _identify_pickle),
    (b"\x7fELF", "ELF"),
    (b"OggS", "Ogg"),
    (b"SQLite format 3\0", "SQLite"),
    (b"\x1aE\xdf\xa3", "Matroska"),
)
_BY_FIRST_BYTE: dict[bytes, tuple[tuple[bytes, str | Callable[[bytes], str | None]], ...]] = {
    first: tuple(entry for entry in _SIGNATURES if entry[0][:1] == first)
    for first in {signature[:1] for signature, _ in _SIGNATURES}
}
