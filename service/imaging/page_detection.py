"""Page detection: where a picture shows the paper, without what lies on it, around it or over its border.

A median filter removes the strokes of a thumbnail. What remains falls into regions, which steep edges separate: the
sheet, the table below it, bars around a scan, a telephone across a border. The paper is the region with the writing,
and all regions with some of it: a hard shadow is one too.
"""

from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from service.types import GreyImage, Mask, Pixels

MIN_PICTURE_SIDE = 56
"""Pixels: a smaller picture is taken for a page."""
MIN_STEP = 14
"""Grey levels within three pixels of the filtered thumbnail: a steeper step separates two regions."""
MIN_EDGE = 24
"""Grey levels between paper and a stroke, at least."""
MIN_WRITING_CONTRAST = 0.4
"""Fraction of the largest difference between a pixel and its region: from there on a pixel is writing."""
MIN_WRITING_SHARE = 0.25
"""Fraction of the writing of the region with most of it: a region with less of it may be surroundings."""
MIN_BORDER = 0.1
"""Fraction of the shorter side: surroundings run along the border for so long, or longer."""
MIN_PAPER_AREA, MIN_INK_SHARE = 0.08, 0.003
"""The fraction of the thumbnail that paper covers, and the fraction of the paper that ink covers."""
MIN_PAPER_BORDER, MIN_CONVEXITY = 0.35, 0.75
"""Fraction of the border of the thumbnail, and of the convex hull of the paper that runs along so much of it."""
MIN_SHADOW, MAX_SHADOW_TINT = 0.36, 0.15
"""Fraction of the light that paper in a shadow has, and by how much it may differ between the channels."""
MAX_ROUGHNESS = 1.2
"""The length of the outline of the paper by that of its convex hull."""
MIN_RECTANGLE_FILL = 0.85
"""Fraction of the smallest rectangle around a sheet that does not."""
MIN_FRAME_LENGTH = 0.2
"""Fraction of the shorter side that a frame runs along the surroundings."""
MAX_FRAME, MIN_FRAME_CONTRAST = 5, 0.5
"""Of the frame of a telephone: its width in pixels of the thumbnail, and its contrast to the paper, a fraction of the
largest one."""
LARGE_PART, MIN_PART_CONVEXITY = 0.1, 0.85
"""Fraction of the thumbnail, and of the convex hull of a smaller part of the surroundings."""
SOFT_EDGE = 2
"""Pixels of the thumbnail to either side of the border of the paper, where it may be blurred."""
MAX_CONTACT = 0.1
"""Fraction of a component of the writing that touches the surroundings: a soft edge has more."""
MAX_CROSSING = 2
"""Pixels of the thumbnail, beyond a soft edge, of strokes that go on outside of the paper."""
SAME_COLOUR = 8.0
"""Grey levels between a hole and the surroundings in a drawing, at most; on a photograph, ink and table differ more."""
MIN_STROKE_AREA = 16
"""Pixels of the thumbnail: what is smaller may be a hole."""
MAX_HOLES, MIN_HOLE_FILL, MAX_HOLE_ASPECT = 2, 0.65, 3.0
"""Of a fat digit: an 8 has two holes, which fill so much of a rectangle that is not more elongated."""

Labels = npt.NDArray[np.int32]
"""int32 [h, w]: the number of the region or component of each pixel."""
Value = TypeVar("Value", np.uint8, np.int32)


@dataclass(frozen=True)
class Paper:
    """The pixels of a thumbnail that show paper, bool [h, w].

    has_surroundings: what is not in the mask is no paper; otherwise it may be paper in a shadow, with writing on it.
    """

    mask: Mask
    has_surroundings: bool


def find_paper(thumbnail: Pixels) -> Paper | None:
    """Find the paper on a thumbnail, uint8 [h, w] or [h, w, 3], of about 96 x 96 pixels.

    Returns:
        None if all of it is paper, or if no page can be told from its surroundings.
    """
    window = (min(thumbnail.shape[:2]) // 4) | 1
    filtered = np.asarray(cv2.medianBlur(thumbnail, window), np.uint8)
    edges = _step_heights(filtered) >= MIN_STEP
    if not edges.any():
        return None
    count, components = cv2.connectedComponents((~edges).view(np.uint8), connectivity=4)
    labels = _nearest_values(np.asarray(components, np.int32), ~edges)  # an edge belongs to the nearest region
    writing = np.bincount(labels[_find_strokes(thumbnail, filtered, edges)], minlength=count)
    is_along_border = _border_lengths(labels, count) >= MIN_BORDER * min(labels.shape)
    is_surroundings = is_along_border & (writing < MIN_WRITING_SHARE * writing.max())
    if not is_surroundings.any() or is_surroundings.all():
        return None
    return _restore_corners(thumbnail, filtered, ~is_surroundings[labels])


def _find_strokes(thumbnail: Pixels, filtered: Pixels, edges: Mask) -> Mask:
    """The pixels that the median filter has removed, bool [h, w], except close to the edges of the regions.

    On a sheet that is smaller than two frames, only those on its soft edge are left out.
    """
    difference = _largest_difference(thumbnail, filtered)
    contrast = difference
    for margin in (MAX_FRAME, SOFT_EDGE):
        contrast = np.where(_dilate(edges, margin), np.uint8(0), difference)
        if contrast.max() >= MIN_EDGE:
            break
    return np.asarray(contrast >= max(MIN_WRITING_CONTRAST * float(contrast.max()), MIN_EDGE))


def _border_lengths(labels: Labels, count: int) -> npt.NDArray[np.int64]:
    """The number of pixels of each of the `count` regions along the border of the thumbnail, int64 [count]."""
    border = (labels[0], labels[-1], labels[1:-1, 0], labels[1:-1, -1])
    return np.bincount(np.concatenate(border), minlength=count)


def _restore_corners(thumbnail: Pixels, filtered: Pixels, seeds: Mask) -> Paper | None:
    """The paper, from the regions that show some of it, whose corners the median filter has rounded off; None if none.

    What surrounds the paper is connected, and has the colour of the surroundings rather than that of the paper nearby.
    """
    inner_paper, inner_surroundings = _erode(seeds, 2), _erode(~seeds, 2)
    if not (inner_paper.any() and inner_surroundings.any()):
        return None
    to_paper = _largest_difference(thumbnail, _nearest_values(filtered, inner_paper))
    to_surroundings = _largest_difference(thumbnail, _nearest_values(filtered, inner_surroundings))
    is_frame = _find_frame(seeds, to_paper >= max(MIN_FRAME_CONTRAST * float(to_paper.max()), MIN_EDGE))
    _, labels = cv2.connectedComponents(((to_surroundings < to_paper) | is_frame).view(np.uint8), connectivity=4)
    surroundings = [label for label in np.unique(labels[inner_surroundings]).tolist() if label]
    parts = [part for part in (labels == label for label in surroundings) if _is_large_or_convex(part)]
    if not parts:
        return None
    paper = _erode(~np.logical_or.reduce(parts), 1)
    if np.count_nonzero(paper) < MIN_PAPER_AREA * paper.size or not _is_sheet(paper):
        return None
    writing = _find_writing(paper, to_paper, to_surroundings)
    strokes = _label_strokes(writing & paper, paper)
    if not _is_written_on(paper, strokes, to_paper, to_surroundings):
        return None
    may_be_shadow = _runs_along_border(paper) and _is_shadow(thumbnail, paper)
    return Paper(paper, not may_be_shadow and not _strokes_go_on(paper, strokes, writing))


def _is_large_or_convex(part: Mask) -> bool:
    """Whether a component is a part of the surroundings, as a table or a telephone, and no digit at the border."""
    area = int(np.count_nonzero(part))
    if area >= LARGE_PART * part.size:
        return True
    hull = cv2.convexHull(np.argwhere(part)[:, None, ::-1].astype(np.int32))
    return area >= MIN_PART_CONVEXITY * cv2.contourArea(hull)


def _find_frame(seeds: Mask, is_dark: Mask) -> Mask:
    """The dark pixels close to the surroundings that run along them, as the frame of a telephone does."""
    count, labels = cv2.connectedComponents((is_dark & _dilate(~seeds, MAX_FRAME)).view(np.uint8), connectivity=8)
    contact = np.bincount(labels[_dilate(~seeds, 1) & seeds], minlength=count)
    is_frame = contact >= MIN_FRAME_LENGTH * min(seeds.shape)
    is_frame[0] = False
    return np.asarray(is_frame[labels])


def _runs_along_border(paper: Mask) -> bool:
    length = 2 * (paper.shape[0] + paper.shape[1]) - 4
    return bool(_border_lengths(paper.astype(np.int32), 2)[1] >= MIN_PAPER_BORDER * length)


def _is_shadow(thumbnail: Pixels, paper: Mask) -> bool:
    """Whether the paper and what surrounds it differ as paper in the light and in a shadow: by brightness alone."""
    inside, outside = (
        np.median(thumbnail[area].reshape(np.count_nonzero(area), -1), axis=0) for area in (paper, ~paper)
    )
    ratios = np.maximum(outside, 1.0) / np.maximum(inside, 1.0)
    ratios = np.minimum(ratios, 1 / ratios)
    return bool(ratios.mean() > MIN_SHADOW and np.ptp(ratios) < MAX_SHADOW_TINT)


def _is_written_on(paper: Mask, strokes: Labels, to_paper: GreyImage, to_surroundings: GreyImage) -> bool:
    """Whether the strokes cover enough of the paper, and are not all holes.

    A fat 0 looks like a sheet with a hole: strokes are neither compact nor of the colour of the surroundings.
    """
    sizes = np.bincount(strokes.ravel())
    sizes[0] = 0
    if sizes.sum() < MIN_INK_SHARE * np.count_nonzero(paper):
        return False
    largest = np.flatnonzero(sizes >= 0.1 * sizes.max()).tolist()
    return len(largest) > MAX_HOLES or not all(
        _is_hole(strokes == label, to_paper, to_surroundings) for label in largest
    )


def _is_hole(component: Mask, to_paper: GreyImage, to_surroundings: GreyImage) -> bool:
    """Whether a component may be a hole: tiny, of the colour of the surroundings, or compact and of one close to it."""
    if np.count_nonzero(component) < MIN_STROKE_AREA:
        return True
    difference = float(np.median(to_surroundings[component]))
    is_similar = 2 * difference < float(to_paper[component].mean())
    return difference < SAME_COLOUR or (is_similar and _is_compact(component))


def _strokes_go_on(paper: Mask, strokes: Labels, writing: Mask) -> bool:
    """Whether strokes go on outside of the paper: then it is paper too, in a shadow."""
    near = _dilate((strokes > 0) & _erode(paper, SOFT_EDGE), 3 * SOFT_EDGE)
    return bool(np.count_nonzero(writing & near & _erode(~paper, SOFT_EDGE)) > MAX_CROSSING)


def _find_writing(paper: Mask, to_paper: GreyImage, to_surroundings: GreyImage) -> Mask:
    """The pixels that stand out, on the paper from the paper and elsewhere from the surroundings."""
    contrast = np.where(paper, to_paper, to_surroundings)
    return np.asarray(contrast >= max(MIN_WRITING_CONTRAST * float(to_paper[paper].max()), MIN_EDGE))


def _label_strokes(writing: Mask, paper: Mask) -> Labels:
    """The components of the writing on the paper; 0 where there is none, and on soft edges of the paper."""
    count, labels = cv2.connectedComponents(writing.view(np.uint8), connectivity=8)
    sizes = np.bincount(labels.ravel(), minlength=count)
    contact = np.bincount(labels[_dilate(~paper, 1)], minlength=count)
    is_stroke = contact <= MAX_CONTACT * sizes
    return np.where(is_stroke[labels], labels, 0).astype(np.int32)


def _is_sheet(paper: Mask) -> bool:
    """Whether the paper is a rectangle, at any angle, or nearly convex and along the border of the thumbnail."""
    points = np.argwhere(paper)[:, None, ::-1].astype(np.int32)
    hull = cv2.convexHull(points)
    outlines, _ = cv2.findContours(paper.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if sum(cv2.arcLength(outline, closed=True) for outline in outlines) > MAX_ROUGHNESS * cv2.arcLength(
        hull, closed=True
    ):
        return False
    if _runs_along_border(paper):
        return len(points) >= MIN_CONVEXITY * cv2.contourArea(hull)
    (_, (width, height), _) = cv2.minAreaRect(points)
    return bool(len(points) >= MIN_RECTANGLE_FILL * (width + 1) * (height + 1))


def _is_compact(component: Mask) -> bool:
    """Whether a component fills most of a rectangle that is not elongated."""
    area = np.count_nonzero(component)
    (_, (width, height), _) = cv2.minAreaRect(np.argwhere(component)[:, None].astype(np.float32))
    short, long = sorted((width + 1, height + 1))
    return bool(long < MAX_HOLE_ASPECT * short and area >= MIN_HOLE_FILL * short * long)


def _nearest_values(values: npt.NDArray[Value], known: Mask) -> npt.NDArray[Value]:
    """For each pixel of [h, w] or [h, w, 3], the value of the nearest known one; known: bool [h, w]."""
    unknown = (~known).view(np.uint8)
    _, nearest = cv2.distanceTransformWithLabels(unknown, cv2.DIST_L1, 3, labelType=cv2.DIST_LABEL_PIXEL)
    by_pixel = np.zeros((int(nearest.max()) + 1, *values.shape[2:]), values.dtype)
    by_pixel[nearest[known]] = values[known]
    return np.asarray(by_pixel[nearest])


def _step_heights(filtered: Pixels) -> GreyImage:
    """The range of the levels within three by three pixels, uint8 [h, w]; of the channel where it is largest."""
    steps = np.asarray(cv2.morphologyEx(filtered, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)), np.uint8)
    return steps if steps.ndim == 2 else np.asarray(steps.max(axis=2))


def _largest_difference(one: Pixels, other: Pixels) -> GreyImage:
    """The absolute difference of two thumbnails, uint8 [h, w]; of the channel where it is largest."""
    difference = np.asarray(cv2.absdiff(one, other), np.uint8)
    return difference if difference.ndim == 2 else np.asarray(difference.max(axis=2))


def _dilate(mask: Mask, radius: int) -> Mask:
    """The pixels at most `radius` rows and columns away from the mask, bool [h, w]."""
    return np.asarray(cv2.dilate(mask.view(np.uint8), np.ones([2 * radius + 1] * 2, np.uint8)) > 0)


def _erode(mask: Mask, radius: int) -> Mask:
    """The pixels of the mask from which no other pixel is at most `radius` rows and columns away, bool [h, w]."""
    return np.asarray(cv2.erode(mask.view(np.uint8), np.ones([2 * radius + 1] * 2, np.uint8)) > 0)
