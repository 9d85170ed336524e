"""A pen that draws strokes as images in MNIST's form.

    images = pen.draw(lambda uniform: [[[(50, 0), (uniform(45, 55), 100)]]], 1000, np.random.default_rng(0))

draws 1000 vertical lines, each by another hand (training/data/strokes.py). The longer side of the ink is 20 pixels and
the centre of mass is where MNIST has it, as training/data/glyphs.py explains. An image is rendered at its final size:
the ink of a pixel is its distance to the nearest line, so that 10,000 drawings take about a second.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image

from training.data import glyphs, strokes
from training.data.strokes import Coordinate, Floats, Random, Strokes
from training.types import Images

Uniform = Callable[[Coordinate, Coordinate], Coordinate]
"""(low, high) -> uniform random numbers float64 [N], one for each drawing."""
Form = Callable[[Uniform], Strokes]
"""A way to write a character: its strokes for N drawings at once, with all that differs between hands as a range."""

BOX, SIDE = 20, 28
PEN_WIDTH = (1.6, 4.6)
"""Pixels, before the pressure; the mean stroke width of 98 in 100 of MNIST's digits is between 1.5 and 4.3."""
PRESSURE = 0.25
"""Maximum relative change of the width along a stroke."""
NIB_SHARE, NIB = 0.25, 0.35
"""The share of drawings with a nib, narrower by this share along its edge."""
SCAN_SHARE, SCAN_SIDE, SCAN_THRESHOLD = 0.3, (14, 33), (60, 130)
"""The share of drawings that are coarse scans in black and white; their longer side in pixels, and the grey level."""
_CHUNK = 250  # drawings rendered at once; the arrays fit the processor's cache
_CENTRE = 15.0


def draw(form: Form, count: int, random: Random) -> Images:
    """Draw a form `count` times: uint8 [count, 28, 28]; the same state of `random` gives the same images."""
    points, ends = strokes.trace(form(lambda low, high: random.uniform(low, high, count)), count, random)
    width = random.triangular(PEN_WIDTH[0], 0.5 * sum(PEN_WIDTH) - 0.3, PEN_WIDTH[1], count).astype(np.float32)
    radii = _radii(points, width, random)
    points = _place(points, radii)
    starts = np.setdiff1d(np.arange(points.shape[1]), ends)
    lonely = [end for end in ends if end == 0 or end - 1 in ends]  # a stroke of one point is a dot
    first = np.concatenate([starts, lonely]).astype(int)
    second = np.concatenate([starts + 1, lonely]).astype(int)
    chunks = [slice(begin, begin + _CHUNK) for begin in range(0, count, _CHUNK)]
    ink = [render(points[c][:, first], points[c][:, second], radii[c][:, first]) for c in chunks]
    return _to_images(np.concatenate(ink), random)


def _place(points: Floats, radii: Floats) -> Floats:
    """Scale points [N, M, 2] so that the ink of a pen of these radii [N, M] fills the box along its longer side.

    Along the shorter side the ink is in the middle of the box, to a whole pixel.
    """
    points, radii = points - points.min(axis=1, keepdims=True), radii[:, :, None]
    longer = np.maximum(np.ptp(points, axis=1).max(axis=1), 1e-3)
    scale = (BOX - 2 * radii.max(axis=(1, 2))) / longer
    for _ in range(2):  # the second time the ink's extreme points are known
        scaled = points * scale[:, None, None]
        low, high = (scaled - radii).min(axis=1), (scaled + radii).max(axis=1)
        scale = scale + (BOX - (high - low).max(axis=1)) / longer
    scaled = points * scale[:, None, None]
    low, high = (scaled - radii).min(axis=1), (scaled + radii).max(axis=1)
    margin = np.floor((BOX - (high - low)) / 2 + np.float32(1e-3))
    return np.asarray(scaled + (margin - low)[:, None], np.float32)


def _radii(points: Floats, width: Floats, random: Random) -> Floats:
    """Half of the width of the pen at each point [N, M]: uneven pressure, and the nib of some drawings."""
    count = len(points)
    steps = np.diff(points, axis=1, append=points[:, -1:])
    along = np.cumsum(np.linalg.norm(steps, axis=2), axis=1) / 100
    uneven, phase = random.uniform(0, PRESSURE, (count, 1)), random.uniform(0, 6.3, (count, 1))
    pressure = 1 + uneven * np.sin(3 * along + phase) - uneven
    nib = np.where(random.random((count, 1)) < NIB_SHARE, NIB, 0.0)
    angle = np.arctan2(steps[:, :, 1], steps[:, :, 0]) - random.uniform(0, 3.2, (count, 1))
    return np.asarray(width[:, None] / 2 * pressure * (1 - nib * np.abs(np.cos(angle))), np.float32)


def render(starts: Floats, stops: Floats, radii: Floats) -> Floats:
    """Render lines with round ends into boxes of 20 x 20 pixels.

    Args:
        starts: float32 [N, S, 2], where each line begins, x and y in pixels from the upper left corner of the box.
        stops: float32 [N, S, 2], where it ends.
        radii: float32 [N, S], half of its width.

    Returns:
        Ink float32 [N, 20, 20], 0 to 1: radius - distance + 0.5 at the middle of a pixel, of the line with the most.
    """
    direction = stops - starts
    length = np.linalg.norm(direction, axis=2, keepdims=True)
    unit = np.where(length > 1e-6, direction / np.maximum(length, 1e-6), np.array([1, 0], np.float32))
    middle = (starts + stops) / 2
    grid = np.arange(BOX, dtype=np.float32) + np.float32(0.5)
    x, y = grid - middle[:, :, :1], grid - middle[:, :, 1:]
    ux, uy, half = unit[:, :, :1], unit[:, :, 1:], length[..., None] / 2
    ink = np.full((len(starts), BOX, BOX), -BOX, np.float32)
    for s in range(starts.shape[1]):
        along = (ux[:, s] * x[:, s])[:, None, :] + (uy[:, s] * y[:, s])[:, :, None]
        across = (uy[:, s] * x[:, s])[:, None, :] - (ux[:, s] * y[:, s])[:, :, None]
        beyond = np.maximum(np.abs(along, out=along) - half[:, s], 0)
        distance = np.sqrt(np.square(across, out=across) + np.square(beyond, out=beyond))
        np.maximum(ink, radii[:, s, None, None] - distance, out=ink)
    return np.asarray(np.clip(ink + 0.5, 0, 1))


def _to_images(ink: Floats, random: Random) -> Images:
    """Ink [N, 20, 20] -> images: some as coarse scans, all with the centre of mass where MNIST has it."""
    ink = np.round(ink * (255 / ink.max(axis=(1, 2), keepdims=True)))
    mass, middle = ink.sum(axis=(1, 2)), np.arange(BOX) + 0.5
    top, left = ((_CENTRE - ink.sum(axis=axis) @ middle / mass).astype(int) for axis in (2, 1))
    images = np.zeros((len(ink), SIDE, SIDE), np.uint8)
    rows, columns = (np.clip(first, 0, SIDE - BOX)[:, None] + np.arange(BOX) for first in (top, left))
    images[np.arange(len(ink))[:, None, None], rows[:, :, None], columns[:, None, :]] = ink
    for index in np.flatnonzero(random.random(len(ink)) < SCAN_SHARE):
        images[index] = _scan(ink[index].astype(np.uint8), random)
    return images


def _scan(ink: Images, random: Random) -> Images:
    """Ink uint8 [20, 20] as a small scan in black and white, enlarged to an image."""
    side, threshold = int(random.integers(*SCAN_SIDE)), random.uniform(*SCAN_THRESHOLD)
    small = Image.fromarray(ink).resize((side, side), Image.Resampling.BILINEAR).point(lambda v: 255 * (v > threshold))
    box = small.getbbox() or (0, 0, side, side)
    small = small.crop(box)
    large = small.resize((4 * small.width, 4 * small.height), Image.Resampling.BICUBIC)
    image = glyphs.to_mnist_form(np.asarray(large))
    return np.asarray(np.round(image * (255 / image.max())), np.uint8)
