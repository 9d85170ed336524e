"""Tests which components make up a line of writing, on boxes of digits at known places."""

import math

import numpy as np
import pytest

from service.imaging.components import Component
from service.imaging.geometry import Box
from service.imaging.text_lines import find_text_lines


def make_component(label: int, top: float, left: float, height: float, width: float) -> Component:
    box = Box(round(top), round(top + height), round(left), round(left + width))
    return Component(label, box, box.area, 200.0 * box.area)


def write_line(  # noqa: PLR0913
    first: int, top: float, *, count: int, height: float = 40, degrees: float = 0, gap: float = 15
) -> list[Component]:
    """Digits 0.6 times as wide as high, each a little higher or lower than the one before, labelled from `first`."""
    random = np.random.default_rng(first)
    step = 0.6 * height + gap
    lefts = 30 + step * np.arange(count)
    tops = top + math.tan(math.radians(degrees)) * lefts + random.uniform(-0.1, 0.1, count) * height
    heights = height * random.uniform(0.85, 1.15, count)
    return [
        make_component(first + index, *place, 0.6 * height)
        for index, place in enumerate(zip(tops.tolist(), lefts.tolist(), heights.tolist(), strict=True))
    ]


def labels_of_lines(components: list[Component]) -> list[list[int]]:
    shuffled = [components[index] for index in np.random.default_rng(0).permutation(len(components))]
    return [[member.label for member in line.members] for line in find_text_lines(shuffled)]


@pytest.mark.parametrize("degrees", [-10, -5, 0, 5, 10])
@pytest.mark.parametrize("counts", [(1,), (10,), (5, 4), (2, 10, 3), (5, 4, 5, 5, 5), (10, 9, 8, 7, 6, 5)])
def test_lines_are_found_from_top_to_bottom_however_much_they_are_slanted(
    counts: tuple[int, ...], degrees: float
) -> None:
    lines = [write_line(100 * (n + 1), 100 + 62 * n, count=count, degrees=degrees) for n, count in enumerate(counts)]
    expected = [[member.label for member in line] for line in lines]
    assert labels_of_lines([member for line in lines for member in line]) == expected


@pytest.mark.parametrize("degrees", [-10, 0, 10])
def test_lines_of_different_size_are_found(degrees: float) -> None:
    small = write_line(100, 100, count=8, height=30, degrees=degrees)
    large = write_line(200, 160, count=5, height=80, degrees=degrees)
    tiny = write_line(300, 270, count=10, height=25, degrees=degrees)
    expected = [[member.label for member in line] for line in (small, large, tiny)]
    assert labels_of_lines(small + large + tiny) == expected


def test_wide_gaps_do_not_end_a_line() -> None:
    lines = [write_line(100 * (n + 1), 100 + 60 * n, count=4, gap=120, degrees=4) for n in range(3)]
    assert [len(line) for line in labels_of_lines([member for line in lines for member in line])] == [4, 4, 4]


def test_the_bar_of_a_broken_five_joins_its_own_line() -> None:
    upper, lower = write_line(100, 100, count=4), write_line(200, 160, count=4)
    bar = make_component(7, 156, 35, 5, 20)
    lines = find_text_lines([*upper, *lower, bar])
    assert [[piece.label for piece in line.pieces] for line in lines] == [[], [7]]


def test_a_speck_far_from_any_digit_is_left_out() -> None:
    line, speck = write_line(100, 100, count=4), make_component(7, 200, 250, 5, 5)
    assert labels_of_lines([*line, speck]) == [[100, 101, 102, 103]]


def test_two_halves_of_a_digit_stay_in_its_line() -> None:
    line = write_line(100, 100, count=4)
    halves = [make_component(7, 100, 200, 18, 20), make_component(8, 122, 201, 20, 22)]
    assert labels_of_lines([*line, *halves]) == [[100, 101, 102, 103, 7, 8]]
