"""One uploaded picture -> one image: decode, bound, check.

An image is uint8 [28, 28], 0 background to 255 ink. A picture that already is one, 28x28 pixels and
light on dark, passes through bit for bit.
"""

import struct
import zlib
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from service.errors import Malformed, NoDigit, TooLarge, UnknownType

Pixels = npt.NDArray[np.uint8]

SIDE = 28
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF")
LEAST_CONTRAST = 32
"""Between the darkest and the lightest pixel; less than this is no pen stroke."""

MODES = ("1", "L", "P", "RGB")
"""Pillow's names for what turns into 8-bit grey without loss of meaning."""

Image.MAX_IMAGE_PIXELS = None  # Pillow's own bound warns first; ours, on the same header, decides
_BORDER = np.flatnonzero(np.pad(np.zeros((SIDE - 2, SIDE - 2)), 1, constant_values=1))

_BROKEN = (
    *(OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError, OverflowError, MemoryError),
    *(AssertionError, AttributeError, KeyError, struct.error, zlib.error),
)
"""What Pillow's decoders raise on files that are damaged or lie."""


def read(data: bytes, max_pixels: int) -> Pixels:
    """The picture in `data` as an image uint8 [28, 28].

    Raises:
        Malformed: the file is empty, damaged or cut off.
        UnknownType: its format is not one of FORMATS.
        TooLarge: it has more than `max_pixels` pixels, by its header: nothing was decoded.
        NoDigit: it is not 28x28, opaque, light on dark, or it is blank.
    """
    if not data:
        raise Malformed("the picture has 0 bytes")
    image = _decode(data, max_pixels)
    check(image)
    return image


def check(image: Pixels) -> None:
    """Refuse an image that no digit can be read from: a blank one, or one that is dark on light.

    Raises:
        NoDigit: which of the two it is.
    """
    contrast = int(image.max()) - int(image.min())
    if contrast < LEAST_CONTRAST:
        raise NoDigit(f"no digit to read: the pixels differ by {contrast} at most; a stroke needs {LEAST_CONTRAST}")
    light = np.count_nonzero(image.reshape(-1)[_BORDER] > 127)
    if 2 * light > len(_BORDER):
        raise NoDigit(f"the picture is dark on light: {light} of its {len(_BORDER)} border pixels are over 127")


def _decode(data: bytes, max_pixels: int) -> Pixels:
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as picture:
            _bound(picture, max_pixels)
            return np.asarray(picture if picture.mode == "L" else picture.convert("L"))
    except UnidentifiedImageError:
        raise UnknownType(f"the picture is none of {', '.join(FORMATS)}") from None
    except _BROKEN as error:
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise Malformed(f"the picture cannot be decoded: {reason}") from None


def _bound(picture: Image.Image, max_pixels: int) -> None:
    width, height = picture.size
    if width * height > max_pixels:
        raise TooLarge(f"the picture has {width}x{height} pixels; {max_pixels} are allowed")
    if (width, height) != (SIDE, SIDE):
        raise NoDigit(f"the picture has {width}x{height} pixels; {SIDE}x{SIDE} is read")
    if picture.mode not in MODES or picture.has_transparency_data:
        raise NoDigit(f"the picture is {picture.mode} or transparent; opaque 8-bit grey or colour is read")
