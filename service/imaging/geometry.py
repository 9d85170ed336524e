"""Rectangles on a picture."""

import math
from collections.abc import Iterable
from typing import NamedTuple, Self

import numpy as np

from service.types import FloatImage, GreyImage, Mask


class Box(NamedTuple):
    """A rectangle in pixels; `bottom` and `right` are exclusive."""

    top: int
    bottom: int
    left: int
    right: int

    @classmethod
    def bounding(cls, pixels: FloatImage | GreyImage | Mask) -> Self:
        """The smallest box around all non-zero pixels of [H, W]; there must be one."""
        rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
        return cls(int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1)

    @classmethod
    def enclosing(cls, boxes: Iterable["Box"]) -> Self:
        """The smallest box that contains all of these boxes; there must be one."""
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

    @property
    def middle_row(self) -> float:
        """Half way between top and bottom."""
        return (self.top + self.bottom) / 2

    @property
    def middle_column(self) -> float:
        """Half way between left and right."""
        return (self.left + self.right) / 2

    @property
    def slices(self) -> tuple[slice, slice]:
        """The rows and the columns, to index [H, W]."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def translated(self, rows: int, columns: int) -> "Box":
        """The box moved down and to the right."""
        return Box(self.top + rows, self.bottom + rows, self.left + columns, self.right + columns)

    def scaled(self, factor: int) -> "Box":
        """The box on a picture that is enlarged by `factor`."""
        return Box(*(factor * edge for edge in self))

    def expanded(self, margin: int, height: int, width: int) -> "Box":
        """The box with a margin on each side, cut to a picture of `height` x `width` pixels."""
        top, left = max(self.top - margin, 0), max(self.left - margin, 0)
        return Box(top, min(self.bottom + margin, height), left, min(self.right + margin, width))

    def distance_to(self, other: "Box") -> float:
        """The distance between two boxes in pixels; 0 if they touch or overlap."""
        rows = max(other.top - self.bottom, self.top - other.bottom, 0)
        columns = max(other.left - self.right, self.left - other.right, 0)
        return math.hypot(rows, columns)

    def horizontal_overlap(self, other: "Box") -> float:
        """The fraction of the narrower box's columns that the other box has too, 0 to 1."""
        common = min(self.right, other.right) - max(self.left, other.left)
        return max(common, 0) / min(self.width, other.width)

    def strictly_contains(self, other: "Box") -> bool:
        """Whether the other box lies inside and touches no side."""
        in_rows = self.top < other.top and other.bottom < self.bottom
        return in_rows and self.left < other.left and other.right < self.right
