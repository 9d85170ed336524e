"""bench/synthetic_pages.py and its papers and things: reproducible, readable, and with what the scene's name says."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from bench import synthetic_pages, synthetic_paper
from bench.synthetic_photos import Pixels
from bench.synthetic_things import THINGS, TURNS, cover_side
from tests.service.payloads import stroke

LINES = [[stroke(), stroke()], [stroke()]]


def read(data: bytes) -> Pixels:
    with Image.open(BytesIO(data)) as picture:
        return np.asarray(picture.convert("L"))


@pytest.mark.parametrize("name", synthetic_pages.scenes())
def test_scene_is_a_picture_that_its_seed_determines(name: str) -> None:
    scene = synthetic_pages.scenes()[name]
    first, second = (scene(LINES, np.random.default_rng(3)) for _ in range(2))
    assert first == second
    with Image.open(BytesIO(first)) as picture:
        assert np.ptp(np.asarray(picture)) > 30


def test_single_digits_have_all_scenes_but_those_of_lines() -> None:
    names = synthetic_pages.single_digit_scenes()
    assert {"one digit, a phone over 30 %", "one digit, a grey cut-out on white"} <= set(names)
    assert not [name for name in names if "lines" in name or "touching" in name]
    scene = names["one digit, a transparent canvas"]
    assert read(scene(stroke(), np.random.default_rng(0))).max() == 0  # black on nothing


@pytest.mark.parametrize("side", sorted(TURNS.keys() | {"bottom"}))
def test_thing_covers_its_share_at_its_side_only(side: str) -> None:
    page = Image.new("RGB", (300, 200), (220, 220, 220))
    covered = np.asarray(cover_side(page, side, THINGS["the table"], 0.3, np.random.default_rng(1)).convert("L"))
    is_covered = covered < 200
    halves = {
        "left": is_covered[:, :150],
        "right": is_covered[:, 150:],
        "top": is_covered[:100],
        "bottom": is_covered[100:],
    }
    assert is_covered.mean() == pytest.approx(0.3, abs=0.02)
    assert halves[side].mean() == pytest.approx(0.6, abs=0.04)


@pytest.mark.parametrize("thing", ["a phone", "the table"])
@pytest.mark.parametrize("side", ["left", "top"])
def test_room_is_made_for_the_thing_so_that_it_leaves_the_writing_free(thing: str, side: str) -> None:
    ink = Image.new("L", (300, 200), 255)
    mask = np.asarray(synthetic_pages._make_room(ink, side, 0.3)) > 0
    page = Image.new("RGB", mask.shape[::-1], (220, 220, 220))
    for seed in range(20):
        covered = np.asarray(cover_side(page, side, THINGS[thing], 0.3, np.random.default_rng(seed)).convert("L"))
        assert covered[mask].min() > 100  # a soft shadow at most


@pytest.mark.parametrize("grid", synthetic_paper.GRIDS)
def test_squared_paper_has_lines_in_both_directions(grid: str) -> None:
    maker = synthetic_paper.squared((300, 300), 60, np.random.default_rng(2), synthetic_paper.GRIDS[grid])[0]
    pixels = np.asarray(maker.convert("L")).astype(int)
    is_line = pixels < pixels.max() - 10
    assert is_line.all(axis=0).sum() >= 4
    assert is_line.all(axis=1).sum() >= 4
    assert is_line.mean() < 0.2
