"""Composites a picture with transparency on the background that it implies.

A card, which is opaque and has contrast of its own, gets its own median colour. Ink without a background gets white or
black, whichever differs more.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from service.types import Pixels

OPAQUE_ALPHA = 250
CARD_CONTRAST, CARD_SHARE = 64, 0.5
"""Grey levels and fraction of the bounding box: opaque pixels above both are a card with a digit on it."""

Colour = tuple[int, int, int]
RgbaImage = npt.NDArray[np.uint8]
"""uint8 [H, W, 4]."""

WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def choose_background(rgba: RgbaImage) -> Colour:
    """Choose the colour behind a picture [H, W, 4]; where it is not opaque at all, its most opaque pixels count."""
    alpha = cv2.extractChannel(rgba, 3)
    lowest, highest, _, _ = cv2.minMaxLoc(alpha)
    if lowest == 255:
        return WHITE
    opaque = cv2.threshold(alpha, min(OPAQUE_ALPHA, highest) - 1, 255, cv2.THRESH_BINARY)[1]
    grey = cv2.cvtColor(rgba, cv2.COLOR_RGBA2GRAY)
    _, _, width, height = cv2.boundingRect(opaque)
    if cv2.countNonZero(opaque) >= CARD_SHARE * width * height:
        low, high = _quantiles(grey, opaque, 0.01, 0.99)
        if high - low >= CARD_CONTRAST:
            red, green, blue = (_quantiles(cv2.extractChannel(rgba, channel), opaque, 0.5)[0] for channel in range(3))
            return red, green, blue
    return BLACK if cv2.mean(grey, opaque)[0] > 127 else WHITE


def _quantiles(channel: cv2.typing.MatLike, mask: cv2.typing.MatLike, *fractions: float) -> list[int]:
    """The values of a channel below which these fractions of its pixels in a mask are."""
    counts = cv2.calcHist([channel], [0], mask, [256], [0, 256])[:, 0]
    cumulative = np.cumsum(counts, dtype=np.float64)
    return [int(value) for value in np.searchsorted(cumulative, np.array(fractions) * cumulative[-1])]


def composite(rgba: RgbaImage, background: Colour) -> Pixels:
    """Composite a picture [H, W, 4] on a background: [H, W] if the channels are equal, else [H, W, 3]."""
    *channels, alpha = cv2.split(rgba)
    if _are_equal(channels) and len(set(background)) == 1:
        del channels[1:]
    if cv2.minMaxLoc(alpha)[0] < 255:
        channels = [_blend(channel, alpha, level) for channel, level in zip(channels, background, strict=False)]
    return np.asarray(channels[0] if _are_equal(channels) else cv2.merge(channels), np.uint8)


def _are_equal(channels: Sequence[cv2.typing.MatLike]) -> bool:
    return not any(cv2.norm(channels[0], channel, cv2.NORM_INF) for channel in channels[1:])


def _blend(channel: cv2.typing.MatLike, alpha: cv2.typing.MatLike, level: int) -> cv2.typing.MatLike:
    """One channel in front of a grey level, to a grey level."""
    in_front = cv2.multiply(channel, alpha, scale=1 / 255)
    return cv2.add(in_front, cv2.convertScaleAbs(cv2.bitwise_not(alpha), alpha=level / 255))
