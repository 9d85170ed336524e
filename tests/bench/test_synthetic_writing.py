"""bench/synthetic_writing.py: distances between digits, margins and slopes are what the style says."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from bench.synthetic_photos import Pixels
from bench.synthetic_writing import MIN_INK, Writing, write_lines
from tests.service.payloads import stroke

LINE = [stroke()] * 4
APART = Writing(gap=(0.3, 0.3))


def write(writing: Writing, lines: int = 1) -> tuple[Pixels, float]:
    mask, height = write_lines([LINE] * lines, writing, np.random.default_rng(5))
    return np.asarray(mask), height


def count_components(mask: Pixels) -> int:
    return int(cv2.connectedComponents((mask > MIN_INK).view(np.uint8))[0]) - 1


def test_digits_are_apart_by_the_gap() -> None:
    mask, height = write(APART)
    columns = np.flatnonzero((mask > MIN_INK).any(axis=0))
    gaps = np.diff(columns)[np.diff(columns) > 1] / height
    assert len(gaps) == 3
    assert gaps == pytest.approx(0.3, abs=0.1)


def test_touching_digits_are_one_component() -> None:
    assert count_components(write(APART)[0]) == 4
    assert count_components(write(replace(APART, touching=1))[0]) == 1


def test_underline_connects_the_digits_of_its_line_only() -> None:
    assert count_components(write(replace(APART, underlined=True), lines=3)[0]) == 3


@pytest.mark.parametrize("sides", [("right",), ("left", "top", "right", "bottom")])
def test_ink_touches_the_sides_without_margin_only(sides: tuple[str, ...]) -> None:
    mask, _ = write(Writing(bare_sides=sides), lines=2)
    ink = mask > MIN_INK
    edges = {"left": ink[:, 0], "top": ink[0], "right": ink[:, -1], "bottom": ink[-1]}
    assert [side for side, edge in edges.items() if edge.any()] == list(sides)


@pytest.mark.parametrize("slope", [10, -10])
def test_lines_rise_to_the_right_by_the_slope(slope: float) -> None:
    mask, _ = write(replace(APART, slope=slope))
    _, _, _, centres = cv2.connectedComponentsWithStats((mask > MIN_INK).view(np.uint8))
    across, down = centres[1:].T
    assert np.degrees(np.arctan(-np.polyfit(across, down, 1)[0])) == pytest.approx(slope, abs=2)
