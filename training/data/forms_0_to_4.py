"""The forms of the digits 0 to 4: as they are taught in several countries, and as hasty hands write them.

A form is a function of `uniform(low, high)` -> strokes (training/data/strokes.py). All that differs between the hands
that write a form is a range in it.
"""

import numpy as np

from training.data.pen import Uniform
from training.data.strokes import Coordinate, Piece, Point, Strokes


def arc(centre: Point, half_axes: Point, start: Coordinate, sweep: Coordinate, points: int = 8) -> list[Point]:
    """Points of an ellipse from the angle `start` over `sweep` degrees: 0 is to the right, 90 down."""
    angles = [np.radians(start + sweep * index / (points - 1)) for index in range(points)]
    return [(centre[0] + half_axes[0] * np.cos(t), centre[1] + half_axes[1] * np.sin(t)) for t in angles]


def _spiral(points: Piece, change: Coordinate) -> Piece:
    """Points around (50, 50), the first ones further out by this share than the last: a gap, or an overlap."""
    last = len(points) - 1
    factors = [1 + change * (1 - index / last) for index in range(len(points))]
    return [((x - 50) * f + 50, (y - 50) * f + 50) for (x, y), f in zip(points, factors, strict=True)]


def zero(uniform: Uniform) -> Strokes:
    ring = arc((50, 50), (uniform(20, 45), 50), uniform(230, 330), -uniform(335, 400))
    return [[_spiral(ring, uniform(-0.12, 0.12))]]


def zero_clockwise(uniform: Uniform) -> Strokes:
    ring = arc((50, 50), (uniform(20, 45), 50), uniform(180, 330), uniform(335, 400))
    return [[_spiral(ring, uniform(-0.12, 0.12))]]


def zero_open(uniform: Uniform) -> Strokes:
    return [[_spiral(arc((50, 50), (uniform(24, 44), 50), uniform(260, 340), -uniform(312, 345)), uniform(-0.1, 0.2))]]


def zero_slashed(uniform: Uniform) -> Strokes:
    beyond = uniform(-8, 14)
    slash = [(75 + beyond + uniform(-5, 5), 12 - beyond), (25 - beyond + uniform(-5, 5), 88 + beyond)]
    return [*zero(uniform), [slash]]


def zero_hook(uniform: Uniform) -> Strokes:
    ring = arc((50, 52), (uniform(25, 42), 48), uniform(250, 290), -uniform(330, 365), 7)
    return [[[*ring, (50 + uniform(0, 25), 10 + uniform(-8, 14)), (65 + uniform(0, 30), uniform(-8, 12))]]]


def zero_curl(uniform: Uniform) -> Strokes:
    start, ring = uniform(270, 310), uniform(24, 40)
    first = [(50 + uniform(-18, 20), uniform(18, 42)), (54 + uniform(-4, 16), uniform(4, 14))]
    return [[[*first, *arc((50, 50), (ring, 50), start, -uniform(340, 385))]]]


def _top(uniform: Uniform, low: float, high: float, flat: Coordinate, steep: Coordinate) -> Piece:
    """The upstroke of a 1 to its top at (50, 0): length by height, and angle below the horizontal in degrees."""
    length, angle = 100 * uniform(low, high), np.radians(uniform(flat, steep))
    x, y = 50 - length * np.cos(angle), length * np.sin(angle)
    bend = uniform(-0.12, 0.07) * length
    return [(x, y), ((x + 50) / 2 + bend * np.sin(angle), y / 2 + bend * np.cos(angle)), (50, 0)]


def _stem(uniform: Uniform) -> Piece:
    lean, bend = uniform(-7, 9), uniform(-5, 5)
    return [(50, 0), (50 - lean / 2 + bend, 50), (50 - lean, 100)]


def one_bare(uniform: Uniform) -> Strokes:
    return [[[(50 + uniform(-2, 2), 0), (50 + uniform(-5, 5), 50), (50 + uniform(-2, 2), 100)]]]


def one(uniform: Uniform) -> Strokes:
    return [[_top(uniform, 0.14, 0.6, 39, 68), _stem(uniform)]]


def one_long_upstroke(uniform: Uniform) -> Strokes:
    return [[_top(uniform, 0.45, 0.95, 42, 72), _stem(uniform)]]


def one_round(uniform: Uniform) -> Strokes:
    return [[[*_top(uniform, 0.2, 0.7, 46, 70)[:-1], (48, 2), (51, 5), *_stem(uniform)[1:]]]]


def one_flag(uniform: Uniform) -> Strokes:
    width = uniform(9, 22)
    height = width * uniform(0.65, 1.2)
    return [[[(50 - width, height), (50 - width / 2, height * uniform(0.4, 0.9)), (50, 0)], _stem(uniform)]]


def _foot(uniform: Uniform, x: Coordinate) -> Piece:
    tilt = uniform(-6, 6)
    return [(x - uniform(10, 34), 100 + tilt), (x, 100 + uniform(-4, 4)), (x + uniform(12, 38), 100 - tilt)]


def one_foot(uniform: Uniform) -> Strokes:
    stem = _stem(uniform)
    return [[_top(uniform, 0.15, 0.75, 33, 68), stem], [_foot(uniform, stem[-1][0])]]


def one_flag_and_foot(uniform: Uniform) -> Strokes:
    (strokes,) = one_flag(uniform)
    return [strokes, [_foot(uniform, strokes[1][-1][0])]]


def one_bare_foot(uniform: Uniform) -> Strokes:
    stem = _stem(uniform)
    return [[stem], [_foot(uniform, stem[-1][0])]]


def one_run_on(uniform: Uniform) -> Strokes:
    stem, end = _stem(uniform), uniform(12, 26)
    x = stem[-1][0]
    tail = [(x, 100), (x + end / 2, 100 + uniform(-3, 4)), (x + end, 98 + uniform(-10, 4))]
    return [[_top(uniform, 0.2, 0.7, 42, 68), stem, tail]]


def _two_top(uniform: Uniform) -> Piece:
    left = uniform(0, 12)
    shoulder = (80 + uniform(-6, 6), 30 + uniform(-4, 6))
    return [(12 + left, 25 + uniform(-12, 10)), (25 + left, 7), (50, 0), (76, 10 + uniform(-3, 5)), shoulder]


def two(uniform: Uniform) -> Strokes:
    tilt = uniform(-8, 6)
    foot = [(8, 100), (45, 100 + tilt / 2), (82 + uniform(-15, 18), 100 + tilt)]
    return [[[*_two_top(uniform), (62, 58), (30, 85), (8, 100)], foot]]


def two_wave(uniform: Uniform) -> Strokes:
    foot = [(8, 100), (30, 92 + uniform(-6, 3)), (55, 99), (88 + uniform(-10, 14), 90 + uniform(-10, 8))]
    return [[[*_two_top(uniform), (62, 58), (30, 85), (8, 100)], foot]]


def _two_loop(uniform: Uniform, start: Piece) -> Strokes:
    k = uniform(0.4, 2.0)
    loop = [(58, 62), (28, 92), (12 - 4 * k, 98), (4 - 6 * k, 88), (14, 80 - 6 * k), (35, 90), (60, 99)]
    return [[[*start, *loop, (90 + uniform(-12, 12), 92 + uniform(-10, 7))]]]


def two_loop(uniform: Uniform) -> Strokes:
    return _two_loop(uniform, _two_top(uniform))


def _curl(uniform: Uniform) -> Piece:
    start = (34 + uniform(-6, 12), 30 + uniform(-8, 8))
    return [start, (18, 34 + uniform(-4, 4)), (10, 22), *_two_top(uniform)[1:]]


def two_curl(uniform: Uniform) -> Strokes:
    foot = [(8, 100), (45, 100 + uniform(-4, 3)), (82 + uniform(-15, 18), 100 + uniform(-8, 6))]
    return [[[*_curl(uniform), (62, 58), (30, 85), (8, 100)], foot]]


def two_curl_and_loop(uniform: Uniform) -> Strokes:
    return _two_loop(uniform, _curl(uniform))


def two_q(uniform: Uniform) -> Strokes:
    start = [(22 + uniform(-8, 14), 44 + uniform(-14, 10)), (18, 24), (36, 4), (62, 0), (84, 18), (80, 42)]
    loop = [(56, 78), (24, 98 + uniform(-4, 2)), (6, 90), (14, 74 + uniform(-6, 4)), (40, 80), (66, 98)]
    return [[[*start, *loop, (92 + uniform(-10, 8), 88 + uniform(-12, 8))]]]


def two_z(uniform: Uniform) -> Strokes:
    y = 4 + uniform(0, 10)
    foot = [(10, 98), (50, 98 + uniform(-4, 4)), (86 + uniform(-12, 10), 98 + uniform(-8, 5))]
    return [[[(12, 10 + uniform(-6, 8)), (45, 2), (80, y)], [(80, y), (55 + uniform(-6, 10), 45), (10, 98)], foot]]


def three(uniform: Uniform) -> Strokes:
    y, x = uniform(38, 54), uniform(30, 58)
    lower = [(x, y), (72, y + 8), (84 + uniform(-6, 6), 72), (58, 98), (28, 99)]
    upper = [(14 + uniform(-4, 10), 16 + uniform(-8, 8)), (42, 0), (76, 14), (66, 36), (x, y)]
    return [[upper, [*lower, (6 + uniform(-6, 8), 84 + uniform(-8, 8))]]]


def three_loop(uniform: Uniform) -> Strokes:
    y, k = uniform(40, 52), uniform(3, 10)
    upper = [(14, 14 + uniform(-6, 8)), (44, 0), (76, 14), (66, 34), (44, y + 2), (36 - k, y - 3), (38, y - k - 5)]
    return [[[*upper, (52, y), (82, y + 16), (78, 84), (50, 100), (18, 94), (5, 82 + uniform(-8, 4))]]]


def three_flat(uniform: Uniform) -> Strokes:
    y, x = uniform(36, 48), uniform(30, 52)
    bar = [(12, 6 + uniform(-6, 6)), (45, 3), (80, 3 + uniform(-5, 6))]
    lower = [(x, y), (70, y + 5), (86, 70), (60, 98), (28, 98), (6, 84 + uniform(-8, 8))]
    return [[bar, [(80, 3), (x + 15, y * 0.6), (x, y)], lower]]


def three_smooth(uniform: Uniform) -> Strokes:
    y, x = uniform(40, 52), uniform(45, 62)
    upper = [(12, 18 + uniform(-8, 8)), (40, 1), (74, 14), (66, 36), (x, y)]
    return [[[*upper, (64, y + 4), (84, 70), (62, 96), (28, 99), (6, 86 + uniform(-8, 8))]]]


def three_curled(uniform: Uniform) -> Strokes:
    y, x = uniform(38, 52), uniform(34, 58)
    lower = [(x, y), (74, y + 8), (82, 74), (56, 99), (20, 96), (8, 80), (22 + uniform(-4, 12), 72 + uniform(-8, 6))]
    start = [(26 + uniform(-6, 10), 26 + uniform(-8, 6)), (14, 14), (42, 0), (74, 14), (66, 36), (x, y)]
    return [[start, lower]]


def four_open(uniform: Uniform) -> Strokes:
    y, x, top, left = uniform(48, 74), uniform(55, 78), uniform(-4, 36), uniform(18, 48)
    lean = uniform(-4, 16)
    arm = [(8, y), (50, y + uniform(-5, 5)), (92 + uniform(-18, 14), y + uniform(-9, 7))]
    stem = [(x + lean, top), (x + lean / 2, (top + 100) / 2), (x - lean * 0.4, 100)]
    return [[[(left, uniform(-2, 8)), (left * 0.6 + 2, y * 0.5), (8, y)], arm], [stem]]


def four_upright(uniform: Uniform) -> Strokes:
    y, x, top, left, lean = uniform(42, 62), uniform(62, 80), uniform(-6, 22), uniform(10, 26), uniform(-4, 14)
    arm = [(left - 5, y), (45, y + uniform(-4, 5)), (x + uniform(-2, 30), y + uniform(-6, 4))]
    stem = [(x + lean, top), (x + lean / 2, 52), (x - lean * 0.6, 100)]
    return [[[(left, top + uniform(-8, 14)), (left - 4, y * 0.6), (left - 5, y)], arm], [stem]]


def four_round(uniform: Uniform) -> Strokes:
    y, x, top, left, lean = uniform(42, 62), uniform(62, 80), uniform(-6, 22), uniform(10, 26), uniform(-4, 14)
    bowl = [(left, top + uniform(-8, 14)), (left - 6, y * 0.6), (left, y - 6), (left + 16, y + 3), (48, y)]
    stem = [(x + lean, top), (x + lean / 2, 52), (x - lean * 0.6, 100)]
    return [[[*bowl, (x + uniform(-3, 22), y - uniform(2, 14))]], [stem]]


def four_y(uniform: Uniform) -> Strokes:
    y, lean, top = uniform(40, 60), uniform(-2, 16), uniform(-6, 12)
    x = 76 + lean * 0.5
    bowl = [(14, uniform(-4, 12)), (9, y * 0.6), (18, y), (42, y + 3), (68, y - 14), (x, 4 + top)]
    return [[bowl, [(x, 4 + top), (70, 50), (66 - lean, 100)]]]


def four_bolt(uniform: Uniform) -> Strokes:
    y, x, rise, lean, left = uniform(42, 62), uniform(58, 86), uniform(0, 24), uniform(2, 24), uniform(38, 72)
    arm = [(8, y), (40, y + uniform(-5, 3)), (x + uniform(0, 16), y - uniform(-2, 12))]
    stem = [(x, y - rise), (x - lean / 2, (y - rise + 100) / 2), (x - lean, 100)]
    return [[[(left, 0), (left * 0.55 + 4, y * 0.5), (8, y)], arm], [stem]]


def four_bolt_at_once(uniform: Uniform) -> Strokes:
    y, x, lean, left = uniform(42, 62), uniform(58, 86), uniform(2, 24), uniform(38, 72)
    stem = [(x, y - 8), (x - lean / 2, (y + 100) / 2), (x - lean, 100)]
    return [[[(left, 0), (left * 0.55 + 4, y * 0.5), (8, y)], [(8, y), (40, y - 2), (x, y - 8)], stem]]


def four_bolt_round(uniform: Uniform) -> Strokes:
    y, x, rise, lean, left = uniform(44, 62), uniform(58, 84), uniform(0, 16), uniform(-2, 20), uniform(34, 62)
    bowl = [(left, 0), (left * 0.6, y * 0.3), (12, y * 0.8), (10, y), (24, y + 5)]
    stem = [(x, y - rise), (x - lean / 2, (y - rise + 100) / 2), (x - lean, 100)]
    return [[[*bowl, (x + uniform(-4, 12), y - uniform(-4, 12))]], [stem]]


def four_closed(uniform: Uniform) -> Strokes:
    y, x = uniform(56, 78), uniform(56, 72)
    arm = [(6, y), (50, y + uniform(-4, 4)), (92 + uniform(-14, 12), y + uniform(-6, 6))]
    stem = [(x + uniform(-4, 6), uniform(-2, 8)), (x, 50), (x - uniform(-4, 10), 100)]
    return [[[(x + uniform(-2, 6), 0), (x * 0.55, y * 0.52), (6, y)], arm], [stem]]


def four_from_the_right(uniform: Uniform) -> Strokes:
    y, x = uniform(56, 78), uniform(56, 72)
    arm = [(92 + uniform(-14, 8), y + uniform(-6, 4)), (50, y), (6, y)]
    stem = [(x + 2, 0), (x, 50), (x - uniform(-4, 10), 100)]
    return [[arm, [(6, y), (x * 0.6, y * 0.45), (x + 2, 0)], stem]]


def four_loop(uniform: Uniform) -> Strokes:
    y, x = uniform(52, 68), uniform(58, 72)
    loop = [(x, 0), (x * 0.5, y * 0.5), (12, y - 4), (8, y + 4), (18, y + 2), (50, y - 4)]
    stem = [(x + uniform(-4, 6), uniform(-2, 14)), (x, 54), (x - uniform(-4, 12), 100)]
    return [[[*loop, (90 + uniform(-14, 10), y - uniform(2, 14))]], [stem]]
