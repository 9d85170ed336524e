"""Segmentation: the connected components of the ink, and which of them make up one digit, or each digit of a row.

Components are 8-connected pixels above the low threshold, at least one of which is above the high one (hysteresis).
Specks, ruled lines, frames and components that run out of the picture belong to no digit. A stroke beside another one,
as in a broken 5, belongs to the same digit. A component's mass is the sum of its intensity.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import cc3d
import numpy as np
import numpy.typing as npt

from service.errors import NoDigitFound
from service.imaging.geometry import Box
from service.imaging.ink import Ink
from service.imaging.ruled_lines import remove_ruled_lines
from service.types import GreyImage

MIN_COMPONENT_MASS = 0.015
"""Fraction of the largest mass: a component of less is a speck."""
MAX_STROKE_GAP = 0.25
"""Fraction of the digit's longer side: a component within that distance is a stroke of the digit."""
MIN_PEER_MASS = 0.3
"""Fraction of the largest mass: a component of more belongs to the digit at any distance."""
MIN_INNER_MASS = 0.15
"""Fraction of the largest mass, or of a frame's: if more lies inside the border or the frame, that is the digit."""
MAX_FRAME_FILL, MIN_FRAMED_HEIGHT = 0.3, 0.3
"""Fraction of its box that a frame fills at most, and fraction of its height that a component inside has at least."""
MIN_DIGIT_HEIGHT = 0.4
"""Fraction of the tallest component's height: in a row, a component of more is a digit or a part of one."""
MIN_COLUMN_OVERLAP = 0.4
"""Fraction of the narrower width: components that overlap by more are one digit."""
TOUCHING_ASPECT, DASH_ASPECT = 1.7, 8.0
"""Width by height: between the two, a component is digits that touch; above, a dash. One in 400 digits of MNIST is
wider than 1.6."""
TYPICAL_ASPECT = 0.75
"""Width by height of a digit among digits that touch."""
FULL_HEIGHT = 0.8
"""Fraction of the tallest height: two components above it are two digits, even if their columns overlap."""
UNDERLINE_ASPECT = 5.0
"""Width by height: a wider component, wider than the digit above or below it, is an underline."""
MAX_COMPONENTS = 256
"""The components of the largest masses are examined; noise can have thousands."""

Masses = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Components:
    """The connected components of a picture; label 0 is the background.

    intensity uint8 [H, W] and labels int [H, W]: of each pixel. mass float64 [N] and boxes [N]: of each label; the
    mass is 0 for what belongs to no digit.
    """

    intensity: GreyImage
    labels: npt.NDArray[np.unsignedinteger]
    mass: Masses
    boxes: list[Box]

    def crop(self, labels: Iterable[int], box: Box) -> GreyImage:
        """The intensity of some components within a box, uint8 [H, W], 0 everywhere else."""
        area = np.s_[box.top : box.bottom, box.left : box.right]
        mask = np.isin(self.labels[area], list(labels))
        return np.where(mask, self.intensity[area], np.uint8(0))


class DigitInk(NamedTuple):
    """The intensity of one digit, uint8 [H, W], and its box on the picture, of H x W pixels."""

    ink: GreyImage
    box: Box


def find_components(ink: Ink) -> Components:
    """Find the components that a digit may be made of.

    Raises:
        NoDigitFound: there is none.
    """
    labels = cc3d.connected_components(remove_ruled_lines(ink.low_mask), connectivity=8)
    count = int(labels.max()) + 1
    is_ink = np.bincount(labels[ink.high_mask], minlength=count) > 0
    is_ink[0] = False
    intensities = ink.intensity.ravel().astype(np.float64)
    mass = np.where(is_ink, np.bincount(labels.ravel(), intensities, minlength=count), 0.0)
    edges = cc3d.statistics(labels, no_slice_conversion=True)["bounding_boxes"].tolist()
    boxes = [Box(top, bottom + 1, left, right + 1) for top, bottom, left, right in edges]
    mass = _drop_frames(_drop_border_components(mass, boxes, labels.shape), boxes)
    if not mass.any():
        raise NoDigitFound("no digit to read: all ink is ruled lines, or runs out of the picture")
    return Components(ink.intensity, labels, mass, boxes)


def extract_single_digit(components: Components) -> DigitInk:
    """Merge the components of the only digit: the heaviest ones, and, step by step, those close to a chosen one."""
    boxes, heaviest = components.boxes, int(components.mass.argmax())
    max_gap = MAX_STROKE_GAP * max(boxes[heaviest].height, boxes[heaviest].width)

    def candidates(share: float) -> set[int]:
        return {label for label in _at_least(components, share) if not _is_underline(boxes[label], boxes[heaviest])}

    chosen = {heaviest} | candidates(MIN_PEER_MASS)
    remaining, latest = candidates(MIN_COMPONENT_MASS) - chosen, chosen
    while latest:
        neighbours = [boxes[label] for label in latest]
        latest = {label for label in remaining if any(boxes[label].distance_to(box) <= max_gap for box in neighbours)}
        chosen, remaining = chosen | latest, remaining - latest
    return _merge(components, chosen)


def segment_row(components: Components) -> list[DigitInk]:
    """Segment a row of digits, from left to right."""
    boxes = components.boxes
    labels = _at_least(components, MIN_COMPONENT_MASS)
    tallest = max(boxes[label].height for label in labels)
    tall = [label for label in labels if boxes[label].height >= MIN_DIGIT_HEIGHT * tallest]
    groups = _group_by_column_overlap(tall, boxes, tallest)
    for label in set(labels) - set(tall):
        gaps = [Box.enclosing(boxes[member] for member in group).distance_to(boxes[label]) for group in groups]
        if min(gaps) <= MAX_STROKE_GAP * tallest:
            groups[gaps.index(min(gaps))].add(label)
    merged = [_merge(components, group) for group in groups]
    digits = [digit for each in merged for digit in _split_touching_digits(each)]
    return sorted(digits, key=lambda digit: digit.box.left)


def _at_least(components: Components, share: float) -> list[int]:
    """The labels with this share of the largest mass, heaviest first; MAX_COMPONENTS at most."""
    order = np.argsort(-components.mass, kind="stable")[:MAX_COMPONENTS]
    threshold = max(share * components.mass.max(), 1e-9)
    return [label for label in order.tolist() if components.mass[label] >= threshold]


def _drop_border_components(mass: Masses, boxes: Sequence[Box], shape: tuple[int, ...]) -> Masses:
    """Set the mass of components that touch the border to 0, if enough mass lies inside."""
    edges = np.array(boxes)
    touching = (edges[:, 0] == 0) | (edges[:, 1] == shape[0]) | (edges[:, 2] == 0) | (edges[:, 3] == shape[1])
    inner = np.where(touching, 0, mass)
    return inner if inner.max() >= MIN_INNER_MASS * mass.max() else mass


def _drop_frames(mass: Masses, boxes: Sequence[Box]) -> Masses:
    """Set the mass of frames, boxes of forms and circles to 0: thin components around others of some height."""
    heavy = np.argsort(-mass, kind="stable")[:MAX_COMPONENTS]
    heavy = heavy[mass[heavy] >= MIN_COMPONENT_MASS * mass.max()]
    remaining = mass.copy()
    for frame in (int(label) for label in heavy if mass[label] <= MAX_FRAME_FILL * boxes[label].area):
        inside = [int(label) for label in heavy if label != frame and boxes[frame].strictly_contains(boxes[label])]
        is_tall = any(boxes[label].height >= MIN_FRAMED_HEIGHT * boxes[frame].height for label in inside)
        if is_tall and sum(mass[label] for label in inside) >= MIN_INNER_MASS * mass[frame]:
            remaining[frame] = 0
    return remaining


def _is_underline(box: Box, digit: Box) -> bool:
    """Whether a component is a line above or below the digit."""
    is_beyond = box.top >= digit.bottom or box.bottom <= digit.top
    return is_beyond and box.width >= UNDERLINE_ASPECT * box.height and box.width > digit.width


def _group_by_column_overlap(labels: Iterable[int], boxes: Sequence[Box], tallest: int) -> list[set[int]]:
    """Group components whose columns overlap, from left to right, unless both have the full height of a digit."""
    groups: list[set[int]] = []
    for label in sorted(labels, key=lambda each: boxes[each].left):
        last = Box.enclosing(boxes[member] for member in groups[-1]) if groups else None
        both_full = last is not None and min(last.height, boxes[label].height) >= FULL_HEIGHT * tallest
        if last and not both_full and last.horizontal_overlap(boxes[label]) >= MIN_COLUMN_OVERLAP:
            groups[-1].add(label)
        else:
            groups.append({label})
    return groups


def _merge(components: Components, labels: Iterable[int]) -> DigitInk:
    labels = set(labels)
    box = Box.enclosing(components.boxes[label] for label in labels)
    return DigitInk(components.crop(labels, box), box)


def _split_touching_digits(digit: DigitInk) -> list[DigitInk]:
    """Cut digits that touch in the columns of least ink, near where a digit of typical width would end."""
    box = digit.box
    if not TOUCHING_ASPECT * box.height < box.width < DASH_ASPECT * box.height:
        return [digit]
    count = max(2, round(box.width / (TYPICAL_ASPECT * box.height)))
    column_mass, step = digit.ink.sum(axis=0), box.width / count
    cuts = {0, box.width}
    for number in range(1, count):
        first, last = round((number - 0.3) * step), round((number + 0.3) * step)
        cuts.add(first + int(column_mass[first : last + 1].argmin()))
    spans = pairwise(sorted(cuts))
    return [_crop_columns(digit, left, right) for left, right in spans if digit.ink[:, left:right].any()]


def _crop_columns(digit: DigitInk, left: int, right: int) -> DigitInk:
    """The ink between two columns of a digit's box, in its own bounding box."""
    columns = digit.ink[:, left:right]
    box = Box.bounding(columns)
    ink = columns[box.top : box.bottom, box.left : box.right]
    return DigitInk(ink, box.translated(digit.box.top, digit.box.left + left))
