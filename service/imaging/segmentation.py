"""Ink -> the marks of one digit, or of each digit in a row.

A mark is what hangs together. Specks, ruled lines, frames and what runs out of the picture are none of a
digit; a stroke that lies beside another, as in a broken 5, is.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import cc3d
import numpy as np
import numpy.typing as npt

from service.errors import NoDigitFound
from service.imaging import ruled_lines
from service.imaging.geometry import Box
from service.imaging.ink import Ink
from service.types import FloatImage

MIN_COMPONENT_MASS = 0.015
"""Of the heaviest mark's ink: less is a speck."""
MAX_STROKE_GAP = 0.25
"""Of a digit's longer side: a mark within that distance is a stroke of it."""
MIN_PEER_MASS = 0.3
"""Of the heaviest mark's ink: a mark as heavy as that is meant, wherever it is."""
MIN_INNER_MASS = 0.15
"""Of the heaviest mark's ink: if as much lies inside of the border, or of a frame, that is what is meant."""
MAX_FRAME_FILL, MIN_FRAMED_HEIGHT = 0.3, 0.3
"""Of its box, that a frame fills at most; of its height, that something in it has at least."""
MIN_DIGIT_HEIGHT = 0.4
"""Of the tallest mark: what is as tall as that is a digit of its own in a row."""
MIN_COLUMN_OVERLAP = 0.4
"""Of the narrower one's width: marks over each other by as much are one digit."""
TOUCHING_ASPECT, DASH_ASPECT = 1.7, 8.0
"""Times its height: what is as wide as that is digits that touch, or a dash. 1 in 400 of MNIST's is wider than 1.6."""
TYPICAL_ASPECT = 0.75  # of a digit's height
FULL_HEIGHT = 0.8
"""Of the tallest mark: two that are as tall as that are two digits, however they lean over each other."""
UNDERLINE_ASPECT = 5.0
"""Times its height: a mark as wide as that, and wider than the digit under or over it, is a line."""
MAX_COMPONENTS = 256  # marks that are looked at


@dataclass(frozen=True)
class Components:
    """The marks on a picture.

    labels int [H, W]: the number of each pixel's mark, 0 on paper. mass float64 and boxes: of each number; the
    mass is 0 where there is no digit to look for.
    """

    intensity: FloatImage
    labels: npt.NDArray[np.unsignedinteger]
    mass: npt.NDArray[np.float64]
    boxes: list[Box]

    def crop(self, numbers: Iterable[int], box: Box) -> FloatImage:
        """The ink of some marks within a box: float32, 0 where there is none of it, at most 1."""
        part = np.s_[box.top : box.bottom, box.left : box.right]
        ours = np.isin(self.labels[part], list(numbers))
        return np.where(ours, np.clip(self.intensity[part], 0, 1), np.float32(0))


class DigitInk(NamedTuple):
    """The ink of a digit, float32 0 to 1, and where on the picture it is."""

    ink: FloatImage
    box: Box


def find_components(ink: Ink) -> Components:
    """The marks that a digit may be made of.

    Raises:
        NoDigit: there is none.
    """
    weak = ruled_lines.remove_ruled_lines(ink.low_mask)
    labels = cc3d.connected_components(weak, connectivity=8)
    count = int(labels.max()) + 1
    strong = np.bincount(labels[ink.high_mask], minlength=count) > 0
    strong[0] = False
    weights = np.clip(ink.intensity, 0, 1).ravel().astype(np.float64)
    mass = np.where(strong, np.bincount(labels.ravel(), weights, minlength=count), 0.0)
    edges = cc3d.statistics(labels, no_slice_conversion=True)["bounding_boxes"].tolist()
    boxes = [Box(top, bottom + 1, left, right + 1) for top, bottom, left, right in edges]
    mass = _drop_frames(_drop_border_components(mass, boxes, labels.shape), boxes)
    if not mass.any():
        raise NoDigitFound("no digit to read: all ink is ruled lines, or runs out of the picture")
    return Components(ink.intensity, labels, mass, boxes)


def extract_single_digit(marks: Components) -> DigitInk:
    """All marks that are meant, as one digit."""
    heaviest = int(marks.mass.argmax())
    chosen = {heaviest} | set(_at_least(marks, MIN_PEER_MASS))
    near = MAX_STROKE_GAP * max(marks.boxes[heaviest].height, marks.boxes[heaviest].width)
    chosen = {number for number in chosen if not _is_underline(marks.boxes[number], marks.boxes[heaviest])}
    waiting, latest = set(_at_least(marks, MIN_COMPONENT_MASS)) - chosen, chosen
    waiting = {number for number in waiting if not _is_underline(marks.boxes[number], marks.boxes[heaviest])}
    while latest:
        beside = [marks.boxes[number] for number in latest]
        latest = {one for one in waiting if any(marks.boxes[one].distance_to(box) <= near for box in beside)}
        chosen, waiting = chosen | latest, waiting - latest
    return _merge(marks, chosen)


def segment_row(marks: Components) -> list[DigitInk]:
    """The digits of a row, from left to right."""
    numbers = _at_least(marks, MIN_COMPONENT_MASS)
    tallest = max(marks.boxes[number].height for number in numbers)
    tall = [number for number in numbers if marks.boxes[number].height >= MIN_DIGIT_HEIGHT * tallest]
    groups = _group_by_column_overlap(tall, marks.boxes, tallest)
    for number in set(numbers) - set(tall):
        gaps = [Box.enclosing(marks.boxes[one] for one in group).distance_to(marks.boxes[number]) for group in groups]
        if min(gaps) <= MAX_STROKE_GAP * tallest:
            groups[gaps.index(min(gaps))].add(number)
    whole = [_merge(marks, group) for group in groups]
    return sorted((part for digit in whole for part in _split_touching_digits(digit)), key=lambda digit: digit.box.left)


def _at_least(marks: Components, share: float) -> list[int]:
    """The marks with this share of the heaviest one's ink; of very many, the heaviest."""
    order = np.argsort(-marks.mass, kind="stable")[:MAX_COMPONENTS]
    return [number for number in order.tolist() if marks.mass[number] >= max(share * marks.mass.max(), 1e-9)]


def _drop_border_components(
    mass: npt.NDArray[np.float64], boxes: Sequence[Box], shape: tuple[int, ...]
) -> npt.NDArray[np.float64]:
    """Without the marks that touch the border, if enough lies inside."""
    edges = np.array(boxes)
    touching = (edges[:, 0] == 0) | (edges[:, 1] == shape[0]) | (edges[:, 2] == 0) | (edges[:, 3] == shape[1])
    inner = np.where(touching, 0, mass)
    return inner if inner.max() >= MIN_INNER_MASS * mass.max() else mass


def _drop_frames(mass: npt.NDArray[np.float64], boxes: Sequence[Box]) -> npt.NDArray[np.float64]:
    """Without the marks of little ink that others of some height lie in: frames, boxes of forms, circles."""
    heavy = np.argsort(-mass, kind="stable")[:MAX_COMPONENTS]
    heavy = heavy[mass[heavy] >= MIN_COMPONENT_MASS * mass.max()]
    left = mass.copy()
    for one in (int(number) for number in heavy if mass[number] <= MAX_FRAME_FILL * boxes[number].area):
        within = [int(other) for other in heavy if other != one and boxes[one].strictly_contains(boxes[other])]
        tall = any(boxes[other].height >= MIN_FRAMED_HEIGHT * boxes[one].height for other in within)
        if tall and sum(mass[other] for other in within) >= MIN_INNER_MASS * mass[one]:
            left[one] = 0
    return left


def _is_underline(box: Box, digit: Box) -> bool:
    """Whether a mark is a line over or under a digit."""
    beyond = box.top >= digit.bottom or box.bottom <= digit.top
    return beyond and box.width >= UNDERLINE_ASPECT * box.height and box.width > digit.width


def _group_by_column_overlap(numbers: Iterable[int], boxes: Sequence[Box], tallest: int) -> list[set[int]]:
    """Marks in groups, from left to right: those over each other together, unless both are whole digits."""
    groups: list[set[int]] = []
    for number in sorted(numbers, key=lambda one: boxes[one].left):
        last = Box.enclosing(boxes[one] for one in groups[-1]) if groups else None
        whole = last is not None and min(last.height, boxes[number].height) >= FULL_HEIGHT * tallest
        if last and not whole and last.horizontal_overlap(boxes[number]) >= MIN_COLUMN_OVERLAP:
            groups[-1].add(number)
        else:
            groups.append({number})
    return groups


def _merge(marks: Components, numbers: Iterable[int]) -> DigitInk:
    numbers = set(numbers)
    box = Box.enclosing(marks.boxes[number] for number in numbers)
    return DigitInk(marks.crop(numbers, box), box)


def _split_touching_digits(digit: DigitInk) -> list[DigitInk]:
    """Digits that touch, cut where a column between them has the least ink."""
    box = digit.box
    if not TOUCHING_ASPECT * box.height < box.width < DASH_ASPECT * box.height:
        return [digit]
    count = max(2, round(box.width / (TYPICAL_ASPECT * box.height)))
    columns, step = digit.ink.sum(axis=0), box.width / count
    cuts = {0, box.width}
    for number in range(1, count):
        first, last = round((number - 0.3) * step), round((number + 0.3) * step)
        cuts.add(first + int(columns[first : last + 1].argmin()))
    parts = pairwise(sorted(cuts))
    return [_crop_columns(digit, left, right) for left, right in parts if digit.ink[:, left:right].any()]


def _crop_columns(digit: DigitInk, left: int, right: int) -> DigitInk:
    """The part between two columns of a digit's box, in a box of its own."""
    part = digit.ink[:, left:right]
    box = Box.bounding(part)
    ink = part[box.top : box.bottom, box.left : box.right]
    return DigitInk(ink, box.translated(digit.box.top, digit.box.left + left))
