"""The forms of the digits 5 to 9, as training/data/forms_0_to_4.py has those of the others."""

from training.data.forms_0_to_4 import arc
from training.data.pen import Uniform
from training.data.strokes import Coordinate, Piece, Strokes


def _belly(uniform: Uniform, x: Coordinate, y: Coordinate) -> Piece:
    middle = [(46, y - 8 + uniform(-4, 5)), (80 + uniform(-6, 4), y + 14), (78, 80), (48, 100), (20, 97)]
    return [(x, y), *middle, (4 + uniform(-4, 8), 86 + uniform(-8, 8))]


def five(uniform: Uniform) -> Strokes:
    y, x = uniform(34, 46), uniform(16, 28)
    bar = [(x + uniform(-4, 8), uniform(-5, 6)), (55, uniform(-4, 4)), (84 + uniform(-20, 12), uniform(-10, 6))]
    return [[[(x, 2), (x - 2, y / 2), (x - 4, y)], _belly(uniform, x - 4, y)], [bar]]


def five_loose_bar(uniform: Uniform) -> Strokes:
    y, x, tilt = uniform(32, 46), uniform(14, 30), uniform(-10, 8)
    bar = [(x + uniform(4, 20), uniform(-10, 4)), (60, uniform(-6, 2)), (90 + uniform(-14, 14), tilt)]
    return [[[(x, uniform(0, 12)), (x - 2, y / 2 + 5), (x - 4, y)], _belly(uniform, x - 4, y)], [bar]]


def five_short_bar(uniform: Uniform) -> Strokes:
    y, x = uniform(34, 48), uniform(16, 34)
    start = [(x + uniform(4, 22), uniform(-4, 8)), (x, 2)]
    return [[start, [(x, 2), (x - 3, y / 2), (x - 6, y)], _belly(uniform, x - 6, y)]]


def five_at_once(uniform: Uniform) -> Strokes:
    y, x = uniform(34, 48), uniform(16, 30)
    bar = [(84 + uniform(-20, 12), uniform(-8, 6)), (55, 1), (x, 2)]
    return [[bar, [(x, 2), (x - 3, y / 2), (x - 6, y)], _belly(uniform, x - 6, y)]]


def five_s(uniform: Uniform) -> Strokes:
    y = uniform(34, 44)
    upper = [(82 + uniform(-14, 12), uniform(-4, 8)), (50, 0), (26, 6), (16, y - 8), (30, y + 2), (62, y + 8)]
    return [[[*upper, (80, 66), (68, 92), (38, 100), (6, 90 + uniform(-6, 6))]]]


def five_slanted(uniform: Uniform) -> Strokes:
    y, x = uniform(30, 42), uniform(24, 44)
    bar = [(92 + uniform(-14, 10), uniform(-8, 4)), (60, 0), (x + 8, 4)]
    lower = [(58, y + 4), (74, y + 26), (58, 88), (30, 100), (4 + uniform(-6, 8), 96 + uniform(-8, 4))]
    return [[bar, [(x + 8, 4), (x + 2, y / 2), (x - 6, y)], [(x - 6, y), *lower]]]


def six(uniform: Uniform) -> Strokes:
    w, y = uniform(26, 36), uniform(62, 74)
    stem = [(72 + uniform(-14, 18), uniform(-2, 12)), (44, 14), (18, 46), (14, 74), (32, 98), (62, 98)]
    return [[[*stem, (50 + w, y + 8), (60, y - 20), (36, y - 14), (16 + uniform(-2, 10), y + uniform(-4, 10))]]]


def six_straight(uniform: Uniform) -> Strokes:
    h = uniform(34, 48)
    stem = [(60 + uniform(-16, 20), 0), (34, 38), (16, 100 - h * 0.6), (18, 92), (38, 100), (64, 94)]
    return [[[*stem, (66, 100 - h * 0.7), (44, 100 - h), (20, 100 - h * 0.5 + uniform(-6, 8))]]]


def six_open(uniform: Uniform) -> Strokes:
    stem = [(66 + uniform(-10, 18), uniform(0, 10)), (38, 16), (18, 52), (20, 82), (44, 100), (74, 88)]
    return [[[*stem, (72, 62), (50, 54 + uniform(-4, 5)), (32 + uniform(-6, 8), 64 + uniform(-6, 8))]]]


def six_b(uniform: Uniform) -> Strokes:
    stem = [(34 + uniform(-10, 12), 0), (22, 30), (18, 70), (30, 97), (60, 98), (76, 76)]
    return [[[*stem, (60, 52), (34, 58), (20, 74 + uniform(-6, 10))]]]


def six_hooked(uniform: Uniform) -> Strokes:
    y = uniform(50, 60)
    stem = [(94 + uniform(-12, 8), 12 + uniform(-8, 12)), (66, 0), (32, 12), (12, 46), (14, 80), (40, 100), (74, 92)]
    return [[[*stem, (82, 70), (64, y), (36, y + 2), (14 + uniform(-16, 10), y + 12 + uniform(-6, 8))]]]


def six_looped_stem(uniform: Uniform) -> Strokes:
    stem = [(50 + uniform(-6, 8), 22 + uniform(-8, 8)), (62, 4), (50, 0), (26, 34), (16, 70), (34, 98), (64, 96)]
    return [[[*stem, (78, 74), (58, 54), (34, 60), (20 + uniform(-4, 8), 76 + uniform(-6, 8))]]]


def _bar(uniform: Uniform, x: Coordinate) -> Piece:
    return [(10 + uniform(-4, 14), uniform(-13, 12)), (45, uniform(-5, 5)), (x, 0)]


def _sagging_bar(uniform: Uniform, x: Coordinate) -> Piece:
    sag = uniform(6, 20)
    return [(8 + uniform(-4, 8), uniform(-8, 6)), (16, sag), (46, sag + uniform(-5, 2)), (x, 0)]


def _seven_stem(uniform: Uniform, x: Coordinate) -> Piece:
    foot = uniform(14, 54)
    return [(x, 0), ((x + foot) / 2 + uniform(-10, 8), 48), (foot, 100)]


def _cross(uniform: Uniform, stem: Piece) -> Strokes:
    y, tilt = uniform(38, 64), uniform(-10, 9)
    x = stem[0][0] + (stem[-1][0] - stem[0][0]) * y / 100
    return [[[(x - uniform(14, 38), y + tilt), (x + uniform(14, 38), y - tilt)]]]


def seven(uniform: Uniform) -> Strokes:
    x = uniform(72, 94)
    return [[_bar(uniform, x), _seven_stem(uniform, x)]]


def seven_arched(uniform: Uniform) -> Strokes:
    x = uniform(74, 92)
    bar = [(8, 10 + uniform(-4, 8)), (26, 0), (52, 6), (x, uniform(-2, 4))]
    return [[bar, _seven_stem(uniform, x)]]


def seven_ticked(uniform: Uniform) -> Strokes:
    x, left = uniform(74, 92), uniform(-10, 8)
    return [
        [
            [(10 + uniform(-6, 4), left + uniform(8, 26)), (10, left)],
            [(10, left), (45, 0), (x, 0)],
            _seven_stem(uniform, x),
        ]
    ]


def seven_round(uniform: Uniform) -> Strokes:
    x = uniform(74, 92)
    return [[[*_bar(uniform, x), (x - 1, 12), *_seven_stem(uniform, x)[1:]]]]


def seven_crossed(uniform: Uniform) -> Strokes:
    (strokes,) = seven(uniform)
    return [strokes, *_cross(uniform, strokes[1])]


def seven_ticked_and_crossed(uniform: Uniform) -> Strokes:
    (strokes,) = seven_ticked(uniform)
    return [strokes, *_cross(uniform, strokes[2])]


def seven_wave(uniform: Uniform) -> Strokes:
    x = uniform(76, 94)
    return [[_sagging_bar(uniform, x), _seven_stem(uniform, x)]]


def seven_wave_crossed(uniform: Uniform) -> Strokes:
    (strokes,) = seven_wave(uniform)
    return [strokes, *_cross(uniform, strokes[1])]


def seven_steep(uniform: Uniform) -> Strokes:
    x = uniform(72, 90)
    return [[_bar(uniform, x), [(x, 0), (x - uniform(6, 20), 48), (uniform(38, 64), 100)]]]


def seven_steep_crossed(uniform: Uniform) -> Strokes:
    (strokes,) = seven_steep(uniform)
    return [strokes, *_cross(uniform, strokes[1])]


def seven_short_bar_crossed(uniform: Uniform) -> Strokes:
    x, stem_foot = uniform(52, 72), uniform(24, 46)
    bar = [(x - uniform(15, 36), uniform(-8, 10)), (x - 14, uniform(-3, 5)), (x, 0)]
    stem = [(x, 0), ((x + stem_foot) / 2 + uniform(-6, 6), 50), (stem_foot, 100)]
    return [[bar, stem], *_cross(uniform, stem)]


def seven_footed_crossed(uniform: Uniform) -> Strokes:
    (bar, stem), foot = seven(uniform)[0], uniform(8, 44)
    x = stem[-1][0]
    tail = [(x, 100), (x + foot / 2, 100 + uniform(-6, 3)), (x + foot, 96 + uniform(-10, 4))]
    return [[bar, stem, tail], *_cross(uniform, stem)]


def eight(uniform: Uniform) -> Strokes:
    w, d = uniform(22, 34), uniform(0, 8)
    down = [(50 + w + uniform(-8, 6), 12 + uniform(-8, 8)), (50, 0), (50 - w, 16), (44, 40), (62, 55), (80 + d, 76)]
    up = [(50, 100), (18 - d, 78), (40, 54), (60, 38), (50 + w + uniform(-8, 6), 18 + uniform(-12, 8))]
    return [[[*down, *up]]]


def eight_left(uniform: Uniform) -> Strokes:
    w = uniform(22, 34)
    down = [(50 - w + uniform(-6, 8), 12 + uniform(-8, 8)), (50, 0), (50 + w, 16), (58, 40), (36, 56), (18, 78)]
    return [[[*down, (50, 100), (82, 76), (60, 52), (40, 38), (50 - w + uniform(-6, 8), 14 + uniform(-8, 8))]]]


def eight_rings(uniform: Uniform) -> Strokes:
    y, start, overlap = uniform(38, 52), uniform(200, 340), uniform(-3, 4)
    upper = arc((50 + uniform(-6, 6), y / 2), (uniform(18, 32), y / 2), start, uniform(345, 380), 7)
    lower = arc((50, (y + 100) / 2 - overlap), (uniform(26, 40), (100 - y) / 2 + overlap), start, -uniform(345, 380), 7)
    return [[upper], [lower]]


def eight_ribbon(uniform: Uniform) -> Strokes:
    start = [(80 + uniform(-14, 10), 4 + uniform(-5, 8)), (52, 0), (28, 14), (36, 36), (64, 60), (78, 82), (54, 100)]
    return [[[*start, (24, 88), (34, 62), (60, 34), (84 + uniform(-14, 8), 2 + uniform(-4, 10))]]]


def eight_gap(uniform: Uniform) -> Strokes:
    start = [(74 + uniform(-6, 10), 14 + uniform(-8, 8)), (48, 0), (24, 16), (40, 42), (66, 58), (76, 80), (50, 100)]
    return [[[*start, (24, 84), (36, 58), (62 + uniform(-8, 8), 36), (76 + uniform(-4, 14), 22 + uniform(-4, 14))]]]


def eight_from_the_middle(uniform: Uniform) -> Strokes:
    w, v = uniform(20, 32), uniform(26, 38)
    upper = [(50 + uniform(-6, 6), 46), (50 - w, 20), (50, 0), (50 + w, 18), (54, 44)]
    return [[[*upper, (50 - v * 0.8, 64), (50 - v, 82), (50, 100), (50 + v, 80), (52 + uniform(-6, 8), 48)]]]


def _ring(uniform: Uniform, height: Coordinate) -> Piece:
    """The ring of a 9 from the upper right, counter-clockwise and back."""
    w = uniform(26, 38)
    left = [(52, 0), (50 - w * 0.8, height * 0.35), (50 - w * 0.7, height * 0.8), (46, height + uniform(-6, 8))]
    start = (50 + w + uniform(-6, 2), height * 0.3 + uniform(-6, 8))
    return [start, *left, (50 + w * 0.7, height * 0.65), (50 + w, height * 0.22)]


def nine(uniform: Uniform) -> Strokes:
    ring, lean = _ring(uniform, uniform(38, 56)), uniform(-4, 26)
    x = ring[-1][0]
    return [[ring, [ring[-1], (x - lean / 2 + uniform(-3, 3), 60), (x - lean, 100)]]]


def nine_curved(uniform: Uniform) -> Strokes:
    ring = _ring(uniform, uniform(36, 54))
    x = ring[-1][0]
    tail = [ring[-1], (x + uniform(-3, 4), 60), (x - 8, 84), (x - 30, 100)]
    return [[ring, [*tail, (x - uniform(44, 78), 92 + uniform(-10, 4))]]]


def nine_curled(uniform: Uniform) -> Strokes:
    height, out = uniform(34, 50), uniform(0, 14)
    ring = _ring(uniform, height)
    x = ring[-1][0]
    tail = [ring[-1], (x + 2, height + 4), (x + out, 72), (x - 12, 96), (x - 42, 100)]
    return [[ring, [*tail, (x - uniform(56, 86), 88 + uniform(-14, 6))]]]


def nine_curled_smooth(uniform: Uniform) -> Strokes:
    height, out = uniform(34, 50), uniform(0, 14)
    ring = _ring(uniform, height)
    x = ring[-1][0]
    tail = [(x - 6, height * 0.5), (x - 4, height + 6), (x + out, 74), (x - 14, 97), (x - 46, 100)]
    return [[[*ring[:-1], *tail, (x - uniform(58, 86), 88 + uniform(-14, 6))]]]


def nine_small_ring(uniform: Uniform) -> Strokes:
    h, w, m, out = uniform(30, 46), uniform(16, 30), uniform(44, 66), uniform(4, 24)
    ring = [(m + w * 0.5, h * 0.25), (m, 0), (m - w, h * 0.4), (m - w * 0.5, h * 0.95), (m, h), (m + w * 0.6, h * 0.75)]
    end = (m + w * 0.7, h * 0.4)
    tail = [end, (m + w * 0.5, h), (m + w * 0.6 + out, 70), (m + out, 95), (m - 24, 100)]
    return [[[*ring, end], [*tail, (m - uniform(36, 62), 86 + uniform(-10, 10))]]]


def nine_spiral(uniform: Uniform) -> Strokes:
    h, w = uniform(28, 42), uniform(14, 24)
    curl = [(46 + uniform(-4, 10), h * 0.4), (32, h * 0.3), (30 - w * 0.3, h), (46, h + 4), (54, h * 0.5), (46, 2)]
    tail = [(40, 0), (66, 4 + uniform(-4, 6)), (86, 36), (84, 74), (62, 97), (34, 100)]
    return [[[*curl[:5], *tail[1:], (8 + uniform(-4, 14), 88 + uniform(-8, 8))]]]


def nine_waist(uniform: Uniform) -> Strokes:
    h, w, out = uniform(34, 48), uniform(20, 30), uniform(2, 18)
    end = (54 + w, 6 + uniform(-2, 8))
    ring = [(54 + w + uniform(-4, 6), 10 + uniform(-8, 10)), (54, 0), (54 - w, h * 0.4), (50, h * 0.95)]
    tail = [end, (52 + w * 0.4, h * 0.8), (60 + out, h + 8), (72 + out, 74), (54, 97), (26, 99)]
    return [[[*ring, (54 + w * 0.8, h * 0.5), end], [*tail, (4 + uniform(0, 14), 86 + uniform(-8, 6))]]]


def nine_g(uniform: Uniform) -> Strokes:
    ring, d = _ring(uniform, uniform(34, 48)), uniform(20, 44)
    x = ring[-1][0]
    loop = [(x - 4, 86), (x - d * 0.6, 100), (x - d - 8, 90), (x - d * 0.6, 76), (x, 66 + uniform(-6, 8))]
    return [[ring, [ring[-1], (x, 58), *loop, (x + uniform(4, 18), 58 + uniform(-8, 6))]]]


def nine_flat_foot(uniform: Uniform) -> Strokes:
    ring = _ring(uniform, uniform(36, 50))
    x = ring[-1][0] - uniform(0, 8)
    foot = [(x, 97), (x - 30, 97 + uniform(-4, 5)), (x - uniform(40, 76), 97 + uniform(-10, 6))]
    return [[ring, [ring[-1], (x + uniform(-4, 6), 60), (x, 97)], foot]]


def _open_ring(uniform: Uniform, x: Coordinate) -> Piece:
    h = uniform(38, 50)
    left = [(x - uniform(6, 22), uniform(-4, 6)), (44, 2), (16, h * 0.45), (22, h * 0.92), (46, h + 2)]
    return [*left, (x - uniform(0, 8), h * 0.72 + uniform(-5, 5))]


def nine_open(uniform: Uniform) -> Strokes:
    x, lean = 80 + uniform(-6, 8), uniform(4, 20)
    return [[_open_ring(uniform, x)], [[(x, uniform(0, 14)), (x - 4, 56), (x - lean, 100)]]]


def nine_open_curved(uniform: Uniform) -> Strokes:
    x = 80 + uniform(-6, 8)
    tail = [(x, uniform(0, 14)), (x + uniform(-2, 4), 56), (x - uniform(2, 10), 84), (x - uniform(20, 40), 99)]
    return [[_open_ring(uniform, x)], [[*tail, (x - uniform(44, 70), 92 + uniform(-8, 6))]]]


def nine_p(uniform: Uniform) -> Strokes:
    h, lean = uniform(38, 56), uniform(-4, 24)
    bowl = [(38, h * 0.25), (56, 0), (82 + uniform(-8, 4), h * 0.4), (64, h * 0.95), (36 + uniform(-6, 4), h * 0.85)]
    return [[[(38 + uniform(-6, 4), h * 0.2), (34, 50), (32 - lean, 100)]], [bowl]]
