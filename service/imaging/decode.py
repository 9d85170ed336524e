"""Decodes an upload: bytes -> the pixels of an upright, opaque picture.

The file is checked by file_limits.py, and the size on the header, before anything is decoded. Then: decode, convert to
8 bits a channel, composite transparency (transparency.py), rotate by EXIF. A picture whose three channels are equal
becomes grey.

A JPEG is decoded at 1/2, 1/4 or 1/8 of its size if enough pixels remain (`jpeg_limits.decoding_scale`): the decoder
leaves out the high frequencies, which takes half of the time, and down to a 64th of the memory.

Decoding takes at most 256 MiB, for the largest pictures too: what is no longer needed is freed, and conversions work on
bands of rows.

Three settings of Pillow are global, and are set at import: its own limit of pixels is off, its warnings are ignored,
and AVIF is decoded in one thread.
"""

import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import BytesIO
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import AvifImagePlugin, ExifTags, Image, UnidentifiedImageError, features

from service.errors import BadRequest, UnsupportedMediaType
from service.imaging import file_limits
from service.imaging.file_signatures import describe_unsupported_file, identify_file
from service.imaging.jpeg_limits import decoding_scale
from service.imaging.transparency import choose_background, composite
from service.settings import Settings
from service.types import GreyImage, Pixels

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", *(("AVIF",) if features.check("avif") else ()))
JPEG_FORMATS = {"JPEG", "MPO"}
"""Pillow's names of a JPEG, and of a JPEG that more pictures follow in one file, as cameras write it."""
HIGH_DEPTH_MODES = ("I", "F")
"""The first letters of Pillow's modes with more than 8 bits a channel."""
WHITE_LEVELS = (1, 255, 1023, 4095, 16383, 65535)
"""The value of white in pictures of more than 8 bits: fractions, then 8, 10, 12, 14 and 16 bits."""

MAX_WHOLE_PIXELS = 2 << 20
"""A picture with more pixels is converted in bands of rows."""
BAND_PIXELS = 1 << 18
"""Pixels of a band of rows."""
SAMPLE_SIDE = 1024
"""Pixels: the background of a larger picture with transparency is chosen on every n-th pixel."""
SAMPLE_STEP = 16
"""One pixel in so many rows and columns is compared first, which shows that most pictures have colours."""

_UPRIGHT: dict[int, Callable[[Any], Any]] = {
    2: lambda pixels: cv2.flip(pixels, 1),
    3: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_180),
    4: lambda pixels: cv2.flip(pixels, 0),
    5: cv2.transpose,
    6: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE),
    7: lambda pixels: cv2.rotate(cv2.transpose(pixels), cv2.ROTATE_180),
    8: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE),
}
"""How to turn a picture upright, by its EXIF orientation (EXIF 2.32, 4.6.4.A)."""

warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # about damaged metadata of the client's file
AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # as OpenCV's
Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit warns first; `check_size` decides on the same header

_DECODE_ERRORS = (
    *(OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError, OverflowError),
    *(AssertionError, AttributeError, KeyError, RuntimeError, struct.error, zlib.error),
)
"""What Pillow's decoders raise on damaged and forged files."""


class Decoded(NamedTuple):
    """A picture: uint8 [H, W] if it is grey, else [H, W, 3] in RGB; contiguous, upright and opaque.

    One of its pixels stands for `scale` pixels of the upload along each side.
    """

    pixels: Pixels
    scale: float = 1.0


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
            file_limits.check_size(*picture.size, settings, is_jpeg=picture.format in JPEG_FORMATS)
            return _decode(picture)
    except UnidentifiedImageError:
        raise UnsupportedMediaType(_describe_unidentified(data)) from None
    except _DECODE_ERRORS as error:
        if "out of memory" in str(error).lower():  # so Pillow's own decoders report it; libtiff's and libjpeg's do not
            raise MemoryError from error
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise BadRequest(f"the picture cannot be decoded: {reason}") from None


def _describe_unidentified(data: bytes) -> str:
    name = identify_file(data)
    if name and name not in FORMATS:
        return describe_unsupported_file(name)
    return f"the picture is none of {', '.join(FORMATS)}"


def _decode(picture: Image.Image) -> Decoded:
    width, height = picture.size
    if picture.format in JPEG_FORMATS:
        scale = decoding_scale(width, height)
        picture.draft(None, (width // scale, height // scale))
    picture.load()
    if picture.mode == "P" and picture.palette is None:
        raise ValueError("it has no palette")
    scale_found, orientation = width / picture.size[0], _read_orientation(picture)
    pixels = _to_8bit(picture)
    return Decoded(_UPRIGHT[orientation](pixels) if orientation in _UPRIGHT else pixels, scale_found)


def _read_orientation(picture: Image.Image) -> int | None:
    """The EXIF orientation, from 1 to 8; None without one, and if the EXIF data is damaged."""
    file_limits.check_exif_size(len(picture.info.get("exif", b"")))
    file_limits.check_exif_size(len(picture.info.get("Raw profile type exif", "")) // 2)  # in hexadecimal digits
    with suppress(*_DECODE_ERRORS):
        return int(picture.getexif()[ExifTags.Base.Orientation])
    return None


def _to_8bit(picture: Image.Image) -> Pixels:
    """The pixels of a picture of any mode; its own are freed."""
    if picture.mode.startswith(HIGH_DEPTH_MODES):
        return _rescale_to_8bit(picture)
    if picture.has_transparency_data:
        return _composite_alpha(picture)
    pixels = _to_array(picture, "L" if picture.mode in {"1", "L"} else "RGB")
    picture.close()
    return _drop_equal_channels(pixels)


def _to_array(picture: Image.Image, mode: str) -> npt.NDArray[np.uint8]:
    """Convert a picture to mode L, RGB or RGBA, and to an array [H, W] or [H, W, C]."""
    if picture.width * picture.height <= MAX_WHOLE_PIXELS:
        return np.asarray(picture if picture.mode == mode else picture.convert(mode))
    channels = {"L": (), "RGB": (3,), "RGBA": (4,)}[mode]
    pixels = np.empty((picture.height, picture.width, *channels), np.uint8)
    for top, band in _bands(picture):
        pixels[top : top + band.height] = np.asarray(band if band.mode == mode else band.convert(mode))
    return pixels


def _drop_equal_channels(pixels: Pixels) -> Pixels:
    """The first channel of [H, W, 3], if all are equal; a grey picture as it is."""
    if pixels.ndim == 2:
        return pixels
    sample = pixels[::SAMPLE_STEP, ::SAMPLE_STEP]
    if (sample != sample[..., :1]).any():
        return pixels
    first = np.asarray(cv2.extractChannel(pixels, 0), np.uint8)
    for channel in (1, 2):
        if cv2.norm(first, cv2.extractChannel(pixels, channel), cv2.NORM_INF):
            return pixels
    return first


def _bands(picture: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yield the first row of each band of rows, and the band."""
    width, height = picture.size
    rows = max(1, BAND_PIXELS // width)
    for top in range(0, height, rows):
        yield top, picture.crop((0, top, width, min(top + rows, height)))


def _rescale_to_8bit(picture: Image.Image) -> GreyImage:
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
    return levels


def _float_bands(picture: Image.Image) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    """Yield the bands of a picture of one channel as float32 [H, W], with 0 for NaN and infinities."""
    for top, band in _bands(picture):
        values = np.array(band, np.float32)
        yield top, np.nan_to_num(values, copy=False, nan=0.0, posinf=0.0, neginf=0.0)


def _composite_alpha(picture: Image.Image) -> Pixels:
    """Composite a picture with transparency on the background that it implies; its own pixels are freed."""
    step = -(-max(picture.size) // SAMPLE_SIDE)
    if picture.width * picture.height <= MAX_WHOLE_PIXELS:
        rgba = _to_array(picture, "RGBA")
        return composite(rgba, choose_background(np.ascontiguousarray(rgba[::step, ::step])))
    small = picture.resize((-(-picture.width // step), -(-picture.height // step)), Image.Resampling.NEAREST)
    background = choose_background(_to_array(small, "RGBA"))
    pixels = np.empty((picture.height, picture.width, 3), np.uint8)
    for top, band in _bands(picture):
        part = composite(_to_array(band, "RGBA"), background)
        pixels[top : top + band.height] = part if part.ndim == 3 else part[..., None]
    picture.close()
    return _drop_equal_channels(pixels)
