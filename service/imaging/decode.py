"""Uploaded bytes -> an upright, opaque picture: bound, decode, turn as EXIF says, lay on its ground.

A picture here is a Pillow image of mode L or RGB: 8 bits a channel, nothing shows through. Nothing is
decoded before the header is within the limits.
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
"""How Pillow's names of modes with more than 8 bits a channel begin."""
WHITE_LEVELS = (1, 255, 1023, 4095, 16383, 65535)
"""What white is in pictures of more than 8 bits: fractions, then 8, 10, 12, 14 and 16 bits of a camera or scanner."""

JPEG_DRAFT_SIDE = 1024
"""Pixels along both sides under which a JPEG is not decoded at a half, a quarter or an eighth of its size."""
OPAQUE_ALPHA = 250
CARD_CONTRAST, CARD_SHARE = 64, 0.5
"""Opaque pixels that differ that much, and fill that share of the box around them, are a card with a digit on it."""

SERIALISE_ABOVE_PIXELS = 4_000_000
"""Pixels over which pictures are decoded one at a time: on the way, one of 25 million takes hundreds of megabytes."""

_large_decode_lock = threading.Lock()

warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # of damaged tags: the client's, not ours
Image.MAX_IMAGE_PIXELS = None  # Pillow's own bound warns first; ours, on the same header, decides

_DECODE_ERRORS = (
    *(OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError, OverflowError, MemoryError),
    *(AssertionError, AttributeError, KeyError, struct.error, zlib.error),
)
"""What Pillow's decoders raise on files that are damaged or lie."""


class Decoded:
    """A picture, and how many pixels of the upload, after turning, one of its pixels stands for along each side."""

    __slots__ = ("picture", "scale")

    def __init__(self, picture: Image.Image, factor: float = 1.0) -> None:
        self.picture, self.scale = picture, factor


def decode(data: bytes, settings: Settings) -> Decoded:
    """The first picture in a file.

    Raises:
        Malformed: the file is empty, damaged or cut off.
        UnknownType: its format is not one of FORMATS.
        TooLarge: its header says more pixels, or a longer side, than the settings allow.
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
    """How many pixels the picture has, by its header."""
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
    factor = width / picture.size[0]
    if picture.mode == "P" and picture.palette is None:
        raise ValueError("it has no palette")
    with suppress(*_DECODE_ERRORS):  # a picture with a damaged orientation is taken as it lies
        ImageOps.exif_transpose(picture, in_place=True)
    return Decoded(_to_8bit(picture), factor)


def _to_8bit(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith(HIGH_DEPTH_MODES):
        return _rescale_to_8bit(picture)
    if picture.has_transparency_data:
        return _composite_alpha(picture.convert("RGBA"))
    return picture.convert("L" if picture.mode in {"1", "L"} else "RGB")


def _rescale_to_8bit(picture: Image.Image) -> Image.Image:
    """Values of any depth as 0 to 255, by the least full scale that holds them, else from their least to their most."""
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
    """An RGBA picture laid on the ground that it implies.

    A card, opaque and with contrast of its own, lies on more of itself. Ink without a ground lies on
    white or black, whichever is farther from it.
    """
    small = picture.reduce(max(1, max(picture.size) // 256))
    grey, alpha = (np.asarray(small.convert(mode)) for mode in ("L", "RGBA"))
    there = _opaque_mask(alpha[..., 3])
    ink = grey[there]
    low, high = np.percentile(ink, [1, 99])
    rows, columns = np.flatnonzero(there.any(axis=1)), np.flatnonzero(there.any(axis=0))
    box = (rows[-1] + 1 - rows[0]) * (columns[-1] + 1 - columns[0])
    if high - low >= CARD_CONTRAST and len(ink) >= CARD_SHARE * box:
        ground = tuple(int(value) for value in np.median(alpha[there][:, :3], axis=0))
    else:
        ground = (0, 0, 0) if ink.mean() > 127 else (255, 255, 255)
    under = Image.new("RGB", picture.size, ground)
    under.paste(picture.convert("RGB"), mask=picture.getchannel("A"))
    return under


def _opaque_mask(alpha: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Where a picture is opaque; where it is most so, if it nowhere is."""
    return alpha >= min(OPAQUE_ALPHA, int(alpha.max()))
