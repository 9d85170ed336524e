"""Rectangles on a picture."""

import math
from collections.abc import Iterable
from typing import NamedTuple, Self

import numpy as np

from service.types import FloatImage, Mask


class Box(NamedTuple):
    """Pixels, the lower and right ends not included."""

    top: int
    bottom: int
    left: int
    right: int

    @classmethod
    def bounding(cls, ink: FloatImage | Mask) -> Self:
        """The least box that holds all that is not 0 in [H, W], of which there is some."""
        rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
        return cls(int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1)

    @classmethod
    def enclosing(cls, boxes: Iterable["Box"]) -> Self:
        """The smallest box that holds all of these boxes; at least one."""
        tops, bottoms, lefts, rights = zip(*boxes, strict=True)
        return cls(min(tops), max(bottoms), min(lefts), max(rights))

    @property
    def height(self) -> int:
        """Rows."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """Columns."""
        return self.right - self.left

    @property
    def area(self) -> int:
        """Pixels."""
        return self.height * self.width

    def translated(self, down: int, right: int) -> "Box":
        """The same box elsewhere."""
        return Box(self.top + down, self.bottom + down, self.left + right, self.right + right)

    def scaled(self, factor: int) -> "Box":
        """The same box where each pixel is `factor` pixels."""
        return Box(*(factor * edge for edge in self))

    def distance_to(self, other: "Box") -> float:
        """Pixels between two boxes; 0 if they touch or overlap."""
        down = max(other.top - self.bottom, self.top - other.bottom, 0)
        across = max(other.left - self.right, self.left - other.right, 0)
        return math.hypot(down, across)

    def horizontal_overlap(self, other: "Box") -> float:
        """The share of the narrower box's width that the two have in common."""
        common = min(self.right, other.right) - max(self.left, other.left)
        return max(common, 0) / min(self.width, other.width)

    def strictly_contains(self, other: "Box") -> bool:
        """Whether the other box lies inside of this one and touches none of its sides."""
        upright = self.top < other.top and other.bottom < self.bottom
        return upright and self.left < other.left and other.right < self.right
