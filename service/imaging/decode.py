"""Decodes an upload: bytes -> an upright, opaque picture.

The size is checked on the header, before anything is decoded. Then: decode, rotate by EXIF, composite transparency.
A picture here is a Pillow image of mode L or RGB: 8 bits a channel, no alpha.

Two settings of Pillow are global, and are set at import: its own limit of pixels is off, and its warnings are ignored.
"""

import struct
import threading
import warnings
import zlib
from contextlib import suppress
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from service.errors import BadRequest, PayloadTooLarge, UnsupportedMediaType
from service.settings import Settings

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF")
HIGH_DEPTH_MODES = ("I", "F")
"""The first letters of Pillow's modes with more than 8 bits a channel."""
WHITE_LEVELS = (1, 255, 1023, 4095, 16383, 65535)
"""The value of white in pictures of more than 8 bits: fractions, then 8, 10, 12, 14 and 16 bits."""

JPEG_DRAFT_SIDE = 1024
"""Pixels: a JPEG is decoded at 1/2, 1/4 or 1/8 of its size if both sides keep at least this length."""
OPAQUE_ALPHA = 250
CARD_CONTRAST, CARD_SHARE = 64, 0.5
"""Grey levels and fraction of the bounding box: opaque pixels above both are a card with a digit on it."""

SERIALISE_ABOVE_PIXELS = 4_000_000
"""Larger pictures are decoded one at a time: decoding one of 25 million pixels takes hundreds of megabytes."""

_large_decode_lock = threading.Lock()

warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # about damaged metadata of the client's file
Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit warns first; `_check_size` decides on the same header

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
        PayloadTooLarge: its header states more pixels, or a longer side, than the settings allow.
    """
    if not data:
        raise BadRequest("the picture has 0 bytes")
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as picture:
            pixels = _check_size(picture, settings)
            if pixels <= SERIALISE_ABOVE_PIXELS:
                return _decode(picture)
            with _large_decode_lock:
                return _decode(picture)
    except UnidentifiedImageError:
        raise UnsupportedMediaType(f"the picture is none of {', '.join(FORMATS)}") from None
    except _DECODE_ERRORS as error:
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise BadRequest(f"the picture cannot be decoded: {reason}") from None


def _check_size(picture: Image.Image, settings: Settings) -> int:
    """Check the size in the header against the settings; returns the number of pixels."""
    width, height = picture.size
    pixels = width * height
    if pixels > settings.max_pixels:
        raise PayloadTooLarge(f"the picture has {width}x{height} pixels; {settings.max_pixels} are allowed")
    if max(width, height) > settings.max_side:
        raise PayloadTooLarge(f"the picture has {width}x{height} pixels; a side may have {settings.max_side}")
    if not pixels:
        raise ValueError(f"it has {width}x{height} pixels")
    return pixels


def _decode(picture: Image.Image) -> Decoded:
    if (
        picture.mode == "L"
        and picture.format == "PNG"
        and not ("transparency" in picture.info or "exif" in picture.info)
    ):
        picture.load()
        return Decoded(picture)
    width = picture.size[0]
    picture.draft(None, (JPEG_DRAFT_SIDE, JPEG_DRAFT_SIDE))
    picture.load()
    scale = width / picture.size[0]
    if picture.mode == "P" and picture.palette is None:
        raise ValueError("it has no palette")
    with suppress(*_DECODE_ERRORS):  # with damaged EXIF data the picture stays as it is
        ImageOps.exif_transpose(picture, in_place=True)
    return Decoded(_to_8bit(picture), scale)


def _to_8bit(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith(HIGH_DEPTH_MODES):
        return _rescale_to_8bit(picture)
    if picture.has_transparency_data:
        return _composite_alpha(picture.convert("RGBA"))
    return picture.convert("L" if picture.mode in {"1", "L"} else "RGB")


def _rescale_to_8bit(picture: Image.Image) -> Image.Image:
    """Rescale values of any depth to 0 to 255: by the lowest white level above them, else by their own range."""
    values = np.array(picture, np.float32)
    fractions = picture.mode == "F"
    np.nan_to_num(values, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    whites = [white for white in WHITE_LEVELS if high <= white and (white > 1 or fractions)]
    if low < 0 or not whites:
        values -= low
    values *= 255 / (whites[0] if whites and low >= 0 else max(high - low, 1e-9))
    return Image.fromarray(np.rint(values, out=values).astype(np.uint8))


def _composite_alpha(picture: Image.Image) -> Image.Image:
    """Composite an RGBA picture on the background that it implies.

    A card, which is opaque and has contrast of its own, gets its own median colour. Ink without a background gets
    white or black, whichever differs more.
    """
    small = picture.reduce(max(1, max(picture.size) // 256))
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
    composite.paste(picture.convert("RGB"), mask=picture.getchannel("A"))
    return composite


def _opaque_mask(alpha: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Where a picture is opaque; where it is most opaque, if it is so nowhere."""
    return alpha >= min(OPAQUE_ALPHA, int(alpha.max()))
