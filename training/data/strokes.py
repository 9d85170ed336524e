"""Strokes: the control points of handwriting -> curves, as another hand would write them.

A drawing is a list of strokes, a stroke a list of pieces, and a piece the control points [(x, y), ...] of one smooth
curve. Where a piece follows another there may be a corner; between two strokes the pen is lifted. x is to the right and
y is down; a character is about 100 high. Each coordinate is a number, or float [N] with one value for each of N
drawings, so that all drawings of a form are made at once.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Coordinate = Any
"""A number, or float [N]."""
Point = tuple[Coordinate, Coordinate]
Piece = Sequence[Point]
Stroke = Sequence[Piece]
Strokes = Sequence[Stroke]
Random = np.random.Generator

LINES_PER_SPAN = 4
"""Line segments between two control points, each about 2 pixels of an image long."""
JITTER = (1.0, 4.5)
"""Range of the standard deviation of a control point, in hundredths of the height: from a neat hand to a hasty one."""
PROPORTION = (0.10, 0.18)
"""Standard deviations along x and y of the logarithm of the power that moves the middle of a character."""
SHEAR, SHEAR_RANGE = (0.12, 0.22), (-0.4, 0.75)
"""Mean and standard deviation of the slant to the right, and its limits."""
TURN = 6.0
"""Standard deviation of the rotation in degrees."""
ASPECT = (-0.12, 0.2)
"""Mean and standard deviation of the logarithm of the factor of the width."""
BEND = 2.0
"""Standard deviation of the amplitude of the sines that bend a character, in hundredths of the height."""
STRETCH_SHARE, MAX_STRETCH = 0.2, 2.2
"""The share of drawings that are stretched towards a square, as some scans are, and the largest factor of the width."""


def trace(strokes: Strokes, count: int, random: Random) -> tuple[Floats, list[int]]:
    """Draw `count` drawings of the same strokes, each with its own jitter, proportions, slant, rotation and bend.

    Args:
        strokes: coordinates are numbers or float [count].
        count: N, the number of drawings.
        random: the source of all that differs.

    Returns:
        Points float32 [N, M, 2] of all curves, and the indices of the points at which a stroke ends.
    """
    jitter = random.uniform(*JITTER, (count, 1, 1)).astype(np.float32)
    curves, ends, length = [], [], 0
    for stroke in strokes:
        end = None
        for piece in stroke:
            points = _stack(piece, count)
            moves = jitter * random.standard_normal(points.shape, np.float32)
            if end is not None:
                moves[:, 0] = end
            end = moves[:, -1]
            curves.append(smooth(points + moves))
            length += curves[-1].shape[1]
        ends.append(length - 1)
    return distort(np.concatenate(curves, axis=1), random), ends


def _stack(piece: Piece, count: int) -> Floats:
    points = np.empty((count, len(piece), 2), np.float32)
    for index, (x, y) in enumerate(piece):
        points[:, index, 0], points[:, index, 1] = x, y
    return points


def smooth(points: Floats) -> Floats:
    """A centripetal Catmull-Rom curve through the points of each drawing.

    Yuksel, Schaefer and Keyser, "Parameterization and applications of Catmull-Rom curves" (2011): the centripetal one
    has no loops or cusps within a span.

    Args:
        points: float32 [N, K, 2].

    Returns:
        float32 [N, 4 (K - 1) + 1, 2]; one or two points are returned as they are.
    """
    if points.shape[1] <= 2:
        return points
    before, after = 2 * points[:, :1] - points[:, 1:2], 2 * points[:, -1:] - points[:, -2:-1]
    p = np.concatenate([before, points, after], axis=1)
    d = np.sqrt(np.maximum(np.linalg.norm(np.diff(p, axis=1), axis=2, keepdims=True), 1e-3))
    chords = np.diff(p, axis=1)
    # The tangent at each point times the length of the span before it (left) and after it (right).
    both = (p[:, 2:] - p[:, :-2]) / (d[:, :-1] + d[:, 1:])
    tangent = chords[:, :-1] / d[:, :-1] - both + chords[:, 1:] / d[:, 1:]
    middle = d[:, 1:-1]
    out, into = (middle * tangent[:, :-1])[:, :, None], (middle * tangent[:, 1:])[:, :, None]
    start, stop = points[:, :-1, None], points[:, 1:, None]
    t = (np.arange(LINES_PER_SPAN, dtype=np.float32) / LINES_PER_SPAN)[:, None]
    curve = (2 * t**3 - 3 * t**2 + 1) * start + (t**3 - 2 * t**2 + t) * out
    curve = curve + (3 * t**2 - 2 * t**3) * stop + (t**3 - t**2) * into
    return np.concatenate([curve.reshape(len(points), -1, 2), points[:, -1:]], axis=1)


def distort(points: Floats, random: Random) -> Floats:
    """Change proportions, width, slant, rotation and bend of each drawing float32 [N, M, 2]."""
    count = len(points)
    low, size = points.min(axis=1, keepdims=True), np.maximum(np.ptp(points, axis=1, keepdims=True), 1)
    power = np.exp(random.normal(0, PROPORTION, (count, 1, 2))).astype(np.float32)
    points = low + size * ((points - low) / size) ** power
    points = (points - points.mean(axis=1, keepdims=True)) @ _matrices(count, random)
    amplitude = random.normal(0, BEND, (count, 1, 2))
    phase, frequency = random.uniform(0, 6.3, (count, 1, 2)), random.uniform(0.02, 0.06, (count, 1, 2))
    bent = points + amplitude * np.sin(frequency * points[:, :, ::-1] + phase)
    return np.asarray(bent * _stretch(bent, random), np.float32)


def _stretch(points: npt.NDArray[np.float64], random: Random) -> npt.NDArray[np.float64]:
    """Factors [N, 1, 2] that make some drawings as wide as they are high, or nearly."""
    width, height = np.maximum(np.ptp(points, axis=1), 1).T
    power = np.where(random.random(len(points)) < STRETCH_SHARE, random.uniform(0.3, 1, len(points)), 0)
    factor = np.minimum((height / width) ** power, MAX_STRETCH)
    return np.stack([factor, np.ones_like(factor)], axis=1)[:, None]


def _matrices(count: int, random: Random) -> Floats:
    """Matrices [N, 2, 2] that scale the width, slant and rotate row vectors (x, y)."""
    width = np.exp(random.normal(*ASPECT, count))
    shear = np.clip(random.normal(*SHEAR, count), *SHEAR_RANGE)
    angle = np.radians(random.normal(0, TURN, count))
    cosine, sine = np.cos(angle), np.sin(angle)
    x_row = np.stack([width * cosine, width * sine], axis=1)
    y_row = np.stack([-shear * cosine - sine, cosine - shear * sine], axis=1)
    return np.stack([x_row, y_row], axis=1).astype(np.float32)
