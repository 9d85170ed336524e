"""Drawn digits: the handwriting that MNIST lacks, as strokes of a pen in the forms of many countries.

MNIST has American hands of the 1990s. `draw_digits(count, random)` draws digits in the forms of
training/data/forms_0_to_4.py and forms_5_to_9.py, each form with its share of the digit.
"""

import numpy as np

from training.data import forms_0_to_4 as low
from training.data import forms_5_to_9 as high
from training.data import pen
from training.data.mnist import Split
from training.data.pen import Form
from training.data.strokes import Random

FORMS: dict[int, dict[Form, float]] = {
    0: {
        low.zero: 4,
        low.zero_clockwise: 1,
        low.zero_open: 0.8,
        low.zero_slashed: 1.5,
        low.zero_hook: 1.2,
        low.zero_curl: 0.6,
    },
    1: {
        low.one_bare: 0.8,
        low.one: 3,
        low.one_long_upstroke: 2.5,
        low.one_round: 0.3,
        low.one_flag: 0.8,
        low.one_foot: 2,
        low.one_flag_and_foot: 0.8,
        low.one_bare_foot: 0.3,
        low.one_run_on: 0.3,
    },
    2: {
        low.two: 2,
        low.two_wave: 2,
        low.two_loop: 3,
        low.two_curl: 0.8,
        low.two_curl_and_loop: 0.8,
        low.two_q: 0.6,
        low.two_z: 1.5,
    },
    3: {low.three: 4, low.three_loop: 0.8, low.three_flat: 1.4, low.three_smooth: 1.5, low.three_curled: 0.8},
    4: {
        low.four_open: 3,
        low.four_upright: 1.2,
        low.four_round: 1.2,
        low.four_y: 1.2,
        low.four_bolt: 2,
        low.four_bolt_at_once: 1.3,
        low.four_bolt_round: 1.5,
        low.four_closed: 0.8,
        low.four_from_the_right: 0.8,
        low.four_loop: 0.5,
    },
    5: {
        high.five: 3,
        high.five_loose_bar: 1,
        high.five_short_bar: 1,
        high.five_at_once: 2,
        high.five_s: 1.5,
        high.five_slanted: 0.8,
    },
    6: {
        high.six: 3,
        high.six_straight: 1.5,
        high.six_open: 1,
        high.six_b: 1,
        high.six_hooked: 1,
        high.six_looped_stem: 0.4,
    },
    7: {
        high.seven: 1.5,
        high.seven_arched: 1,
        high.seven_ticked: 1,
        high.seven_round: 0.6,
        high.seven_crossed: 2.5,
        high.seven_ticked_and_crossed: 1,
        high.seven_wave: 0.6,
        high.seven_wave_crossed: 1,
        high.seven_steep: 0.5,
        high.seven_steep_crossed: 1,
        high.seven_short_bar_crossed: 0.8,
        high.seven_footed_crossed: 0.6,
    },
    8: {
        high.eight: 3,
        high.eight_left: 1.2,
        high.eight_rings: 1.5,
        high.eight_ribbon: 1.5,
        high.eight_gap: 0.6,
        high.eight_from_the_middle: 0.8,
    },
    9: {
        high.nine: 2,
        high.nine_curved: 2.5,
        high.nine_curled: 1.3,
        high.nine_curled_smooth: 1.3,
        high.nine_small_ring: 1,
        high.nine_spiral: 0.6,
        high.nine_waist: 1.2,
        high.nine_g: 0.7,
        high.nine_flat_foot: 0.7,
        high.nine_open: 0.5,
        high.nine_open_curved: 0.6,
        high.nine_p: 0.4,
    },
}
"""The forms of each digit and their shares, relative to each other."""


def draw_digits(count: int, random: Random) -> Split:
    """Draw `count` digits, an equal number of each to within one, in random order."""
    counts = np.bincount(np.arange(count) % 10, minlength=10)
    images, labels = [], []
    for digit, forms in FORMS.items():
        shares = np.array(list(forms.values()))
        for form, drawings in zip(forms, random.multinomial(counts[digit], shares / shares.sum()), strict=True):
            if drawings:
                images.append(pen.draw(form, int(drawings), random))
                labels.append(np.full(drawings, digit, np.uint8))
    order = random.permutation(count)
    return Split(np.concatenate(images)[order], np.concatenate(labels)[order])
