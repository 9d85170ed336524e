"""Decodes an upload: bytes -> an upright, opaque picture.

The file is checked by file_limits.py, and the size on the header, before anything is decoded. Then: decode, rotate by
EXIF, composite transparency. A picture here is a Pillow image of mode L or RGB: 8 bits a channel, no alpha.

Decoding takes at most 256 MiB, for the largest pictures too: what is no longer needed is freed, and conversions work on
bands of rows.

Two settings of Pillow are global, and are set at import: its own limit of pixels is off, and its warnings are ignored.
"""

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from service.errors import BadRequest, UnsupportedMediaType
from service.imaging import file_limits
from service.imaging.jpeg_limits import DRAFT_SIDE
from service.settings import Settings

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF")
HIGH_DEPTH_MODES = ("I", "F")
"""The first letters of Pillow's modes with more than 8 bits a channel."""
WHITE_LEVELS = (1, 255, 1023, 4095, 16383, 65535)
"""The value of white in pictures of more than 8 bits: fractions, then 8, 10, 12, 14 and 16 bits."""

OPAQUE_ALPHA = 250
CARD_CONTRAST, CARD_SHARE = 64, 0.5
"""Grey levels and fraction of the bounding box: opaque pixels above both are a card with a digit on it."""

BAND_PIXELS = 2 << 20
"""Pixels of a band of rows."""

_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""By the EXIF orientation, as in ImageOps.exif_transpose, which encodes all of the EXIF data again."""

warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # about damaged metadata of the client's file
Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit warns first; `check_size` decides on the same header

_DECODE_ERRORS = (
    *(OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError, OverflowError),
    *(AssertionError, AttributeError, KeyError, struct.error, zlib.error),
)
"""What Pillow's decoders raise on damaged and forged files."""


class Decoded:
    """A picture; one of its pixels stands for `scale` pixels of the upload along each side."""

    __slots__ = ("picture", "scale")

    def __init__(self, picture: Image.Image, scale: float = 1.0) -> None:
        self.picture, self.scale = picture, scale


def decode(data: bytes, settings: Settings) -> Decoded:
    """Decode the first picture of a file.

    Raises:
        BadRequest: the file is empty, damaged or truncated.
        UnsupportedMediaType: its format is not one of FORMATS.
        PayloadTooLarge: it is over a limit: its pixels, its longer side, or those of its format in file_limits.py.
        MemoryError: the process may not allocate the memory that it takes.
    """
    if not data:
        raise BadRequest("the picture has 0 bytes")
    file_limits.check_file(data, settings)
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as picture:
            file_limits.check_size(*picture.size, settings)
            return _decode(picture)
    except UnidentifiedImageError:
        raise UnsupportedMediaType(f"the picture is none of {', '.join(FORMATS)}") from None
    except _DECODE_ERRORS as error:
        if str(error).startswith("out of memory"):  # so Pillow's own decoders report it; libtiff's and libjpeg's do not
            raise MemoryError from error
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise BadRequest(f"the picture cannot be decoded: {reason}") from None


def _decode(picture: Image.Image) -> Decoded:
    if (
        picture.mode == "L"
        and picture.format == "PNG"
        and not ("transparency" in picture.info or "exif" in picture.info)
    ):
        picture.load()
        return Decoded(picture)
    width = picture.size[0]
    picture.draft(None, (DRAFT_SIDE, DRAFT_SIDE))
    picture.load()
    scale = width / picture.size[0]
    if picture.mode == "P" and picture.palette is None:
        raise ValueError("it has no palette")
    transposition = _read_transposition(picture)
    if transposition is not None:
        picture = _replace(picture, picture.transpose(transposition))
    return Decoded(_to_8bit(picture), scale)


def _replace(old: Image.Image, new: Image.Image) -> Image.Image:
    """Free the pixels of the old picture; returns the new one."""
    if old is not new:
        old.close()
    return new


def _read_transposition(picture: Image.Image) -> Image.Transpose | None:
    """How to turn a picture upright by its EXIF orientation; with damaged EXIF data the picture stays as it is."""
    file_limits.check_exif_size(len(picture.info.get("exif", b"")))
    file_limits.check_exif_size(len(picture.info.get("Raw profile type exif", "")) // 2)  # in hexadecimal digits
    with suppress(*_DECODE_ERRORS):
        return _TRANSPOSITIONS.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
    return None


def _to_8bit(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith(HIGH_DEPTH_MODES):
        return _replace(picture, _rescale_to_8bit(picture))
    if picture.has_transparency_data:
        return _replace(picture, _composite_alpha(picture))
    mode = "L" if picture.mode in {"1", "L"} else "RGB"
    if picture.mode == mode and picture.format != "WEBP":  # the object of a WebP keeps its decoder and two canvases
        return picture
    return _replace(picture, picture.convert(mode))


def _bands(picture: Image.Image, multiple: int = 1) -> Iterator[tuple[int, Image.Image]]:
    """Yield the first row of each band of rows, and the band; all but the last have a multiple of so many rows."""
    width, height = picture.size
    rows = max(1, BAND_PIXELS // width // multiple) * multiple
    if rows >= height:
        yield 0, picture
        return
    for top in range(0, height, rows):
        yield top, picture.crop((0, top, width, min(top + rows, height)))


def _rescale_to_8bit(picture: Image.Image) -> Image.Image:
    """Rescale values of any depth to 0 to 255: by the lowest white level above them, else by their own range."""
    fractions = picture.mode == "F"
    ranges = [(float(values.min()), float(values.max())) for _, values in _float_bands(picture)]
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    whites = [white for white in WHITE_LEVELS if high <= white and (white > 1 or fractions)]
    is_level = bool(whites) and low >= 0
    factor = 255 / (whites[0] if is_level else max(high - low, 1e-9))
    levels = np.empty((picture.height, picture.width), np.uint8)
    for top, values in _float_bands(picture):
        scaled = (values if is_level else values - low) * factor
        levels[top : top + len(values)] = np.rint(scaled)
    return Image.fromarray(levels)


def _float_bands(picture: Image.Image) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    """Yield the bands of a picture of one channel as float32 [H, W], with 0 for NaN and infinities."""
    for top, band in _bands(picture):
        values = np.array(band, np.float32)
        yield top, np.nan_to_num(values, copy=False, nan=0.0, posinf=0.0, neginf=0.0)


def _composite_alpha(picture: Image.Image) -> Image.Image:
    """Composite a picture with transparency on the background that it implies.

    A card, which is opaque and has contrast of its own, gets its own median colour. Ink without a background gets
    white or black, whichever differs more.
    """
    small = _reduce_rgba(picture, max(1, max(picture.size) // 256))
    grey, rgba = (np.asarray(small.convert(mode)) for mode in ("L", "RGBA"))
    opaque = _opaque_mask(rgba[..., 3])
    ink = grey[opaque]
    low, high = np.percentile(ink, [1, 99])
    rows, columns = np.flatnonzero(opaque.any(axis=1)), np.flatnonzero(opaque.any(axis=0))
    area = (rows[-1] + 1 - rows[0]) * (columns[-1] + 1 - columns[0])
    if high - low >= CARD_CONTRAST and len(ink) >= CARD_SHARE * area:
        background = tuple(int(value) for value in np.median(rgba[opaque][:, :3], axis=0))
    else:
        background = (0, 0, 0) if ink.mean() > 127 else (255, 255, 255)
    composite = Image.new("RGB", picture.size, background)
    for top, band in _bands(picture):
        layer = _to_rgba(band)
        composite.paste(layer.convert("RGB"), (0, top), layer.getchannel("A"))
    return composite


def _to_rgba(picture: Image.Image) -> Image.Image:
    """Convert a picture, without the copy that Pillow makes of one that is RGBA."""
    return picture if picture.mode == "RGBA" else picture.convert("RGBA")


def _reduce_rgba(picture: Image.Image, factor: int) -> Image.Image:
    """Convert a picture to RGBA and reduce it by an integer factor."""
    small = Image.new("RGBA", (-(-picture.width // factor), -(-picture.height // factor)))
    for top, band in _bands(picture, factor):
        small.paste(_to_rgba(band).reduce(factor), (0, top // factor))
    return small


def _opaque_mask(alpha: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Where a picture is opaque; where it is most opaque, if it is so nowhere."""
    return alpha >= min(OPAQUE_ALPHA, int(alpha.max()))
