"""Connected components of the ink: what digits are made of.

Components are 8-connected pixels above the low threshold, at least one of which is above the high one (hysteresis).
Ruled lines belong to none of them. Frames around others are left out. A component's mass is the sum of its intensity.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from service.errors import NoDigitFound
from service.imaging.geometry import Box
from service.imaging.ink import Ink
from service.imaging.ruled_lines import remove_ruled_lines
from service.imaging.underlines import may_have_underline, remove_underline
from service.types import GreyImage, Mask

MAX_COMPONENTS = 256
"""The components of the largest masses are examined; noise can have thousands."""
MAX_FRAME_FILL, MIN_FRAMED_HEIGHT = 0.3, 0.3
"""Fraction of its box that a frame fills at most, and fraction of its height that a component inside has at least."""
MIN_FRAMED_MASS = 0.15
"""Fraction of a frame's mass that the components inside have at least."""
MIN_FRAME_MASS = 0.015
"""Fraction of the largest mass: less is a speck, neither a frame nor in one."""
MAX_LABELS_16 = np.iinfo(np.uint16).max
"""Labels of 16 bits are enough for as many pixels of ink; OpenCV's statistics take a third of the time with them."""

NO_INK = "no digit to read: all ink is ruled lines"


class Component(NamedTuple):
    """A connected component: its label, its box on the picture, its number of pixels and the sum of their intensity."""

    label: int
    box: Box
    pixels: int
    mass: float


class Components(NamedTuple):
    """The components of a picture of `height` x `width` pixels, the one of the largest mass first.

    area: the smallest box around all ink. intensity uint8 [H, W] and labels int [H, W]: of the pixels in `area`.
    """

    height: int
    width: int
    area: Box
    intensity: GreyImage
    labels: npt.NDArray[Any]
    members: list[Component]

    def crop(self, members: Iterable[Component]) -> tuple[GreyImage, Box]:
        """The intensity of some members, uint8 [H, W], 0 everywhere else, and their box on the picture."""
        members = list(members)
        box = Box.enclosing(member.box for member in members)
        ink = np.zeros((box.height, box.width), np.uint8)
        for member in members:
            there, here = (member.box.translated(-each.top, -each.left).slices for each in (self.area, box))
            np.copyto(ink[here], self.intensity[there], where=self.labels[there] == member.label)
        return ink, box


def find_components(ink: Ink) -> Components:
    """Find the components that a digit may be made of: the MAX_COMPONENTS of the largest mass, without frames.

    Raises:
        NoDigitFound: there is none.
    """
    mask = remove_ruled_lines(ink)
    found = _label_components(mask, ink)
    underlines = _find_underlines(found)
    if underlines is not None:
        mask = mask.copy()
        mask[found.area.slices] &= ~underlines
        found = _label_components(mask, ink)
    return found._replace(members=_without_frames(found.members))


def _find_underlines(found: Components) -> Mask | None:
    """The pixels of underlines that touch digits, bool [H, W] of the area; None if there are none."""
    underlines: Mask | None = None
    for member in found.members:
        if member.mass < MIN_FRAME_MASS * found.members[0].mass:
            break
        if not may_have_underline(member.box):
            continue
        place = member.box.translated(-found.area.top, -found.area.left).slices
        component = found.labels[place] == member.label
        rest = remove_underline(component, found.intensity[place])
        if rest is not None:
            underlines = np.zeros(found.labels.shape, bool) if underlines is None else underlines
            underlines[place] |= component & ~rest
    return underlines


def _label_components(mask: Mask, ink: Ink) -> Components:
    """The components of some ink, the MAX_COMPONENTS of the largest mass."""
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    if not width:  # OpenCV crashes on empty arrays
        raise NoDigitFound(NO_INK)
    area = Box(top, top + height, left, left + width)
    intensity, mask = ink.intensity[area.slices], np.ascontiguousarray(mask[area.slices])
    pixels = np.flatnonzero(mask)
    depth = cv2.CV_16U if len(pixels) < MAX_LABELS_16 else cv2.CV_32S
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8, ltype=depth)
    label_of = labels.reshape(-1)[pixels]
    mass = np.bincount(label_of, intensity.reshape(-1)[pixels], minlength=count)
    high_pixels = np.flatnonzero(ink.high_mask[area.slices])
    mass[np.bincount(labels.reshape(-1)[high_pixels], minlength=count) == 0] = 0
    members = []
    for label in np.argsort(-mass, kind="stable")[:MAX_COMPONENTS].tolist():
        left, top, width, height, size = statistics[label].tolist()
        if mass[label] > 0:
            box = Box(top, top + height, left, left + width).translated(area.top, area.left)
            members.append(Component(label, box, size, float(mass[label])))
    if not members:
        raise NoDigitFound(NO_INK)
    labels = np.asarray(labels)
    return Components(ink.low_mask.shape[0], ink.low_mask.shape[1], area, intensity, labels, members)


def _without_frames(members: Sequence[Component]) -> list[Component]:
    """Leave out frames, boxes of forms and circles: thin components around others of some height."""
    heavy = [member for member in members if member.mass >= MIN_FRAME_MASS * members[0].mass]
    frames = {
        frame.label
        for frame in heavy
        if frame.pixels <= MAX_FRAME_FILL * frame.box.area and _surrounds_a_digit(frame, heavy)
    }
    return [member for member in members if member.label not in frames]


def _surrounds_a_digit(frame: Component, others: Iterable[Component]) -> bool:
    inside = [other for other in others if frame.box.strictly_contains(other.box)]
    is_tall = any(other.box.height >= MIN_FRAMED_HEIGHT * frame.box.height for other in inside)
    return is_tall and sum(other.mass for other in inside) >= MIN_FRAMED_MASS * frame.mass
