"""Ink drawn from rectangles, for the tests of segmentation."""

from collections.abc import Iterable

import numpy as np

from service.imaging.components import Components, find_components
from service.imaging.ink import Ink
from service.types import GreyImage

Rectangle = tuple[int, int, int, int]
"""Top, bottom, left, right."""


def ink_of(intensity: GreyImage) -> Ink:
    """Ink above 25 belongs to a component that has a pixel above 100."""
    return Ink(intensity, intensity > 25, intensity > 100)


def components_of(*rectangles: Rectangle, height: int = 200, width: int = 300) -> Components:
    """The components of a page with these rectangles of ink."""
    intensity = np.zeros((height, width), np.uint8)
    for top, bottom, left, right in rectangles:
        intensity[top:bottom, left:right] = 200
    return find_components(ink_of(intensity))


def draw_frame(top: int, bottom: int, left: int, right: int, *, pen: int = 3) -> list[Rectangle]:
    """The four sides of a frame."""
    return [
        (top, top + pen, left, right),
        (bottom - pen, bottom, left, right),
        (top, bottom, left, left + pen),
        (top, bottom, right - pen, right),
    ]


def draw_block(top: int, left: int, height: int = 40, width: int = 25) -> Rectangle:
    """A block of ink of the size of a digit."""
    return top, top + height, left, left + width


def shift(rectangles: Iterable[Rectangle], rows: int, columns: int) -> list[Rectangle]:
    """The rectangles moved down and to the right."""
    return [(top + rows, bottom + rows, left + columns, right + columns) for top, bottom, left, right in rectangles]
