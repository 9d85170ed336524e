"""Tests connected components against scipy.ndimage, and which of them are left out as frames."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import ndimage

from service.errors import NoDigitFound
from service.imaging import components as components_module
from service.imaging.components import MAX_COMPONENTS, Components, find_components
from service.imaging.geometry import Box
from service.imaging.ink import Ink
from tests.service.imaging.drawn_ink import components_of, draw_frame, ink_of


def boxes(components: Components) -> set[Box]:
    return {member.box for member in components.members}


@hypothesis_settings(deadline=None)
@given(st.integers(0, 1000), st.booleans())
def test_components_are_those_of_scipy_that_have_a_pixel_above_the_high_threshold(seed: int, many: bool) -> None:  # noqa: FBT001
    random = np.random.default_rng(seed)
    intensity = (random.integers(0, 256, (30, 50)) * (random.uniform(size=(30, 50)) < 0.3)).astype(np.uint8)
    ink = Ink(intensity, intensity > 40, intensity > 240)
    expected, count = ndimage.label(ink.low_mask, np.ones((3, 3)))
    numbers = [number for number in range(1, count + 1) if ink.high_mask[expected == number].any()]
    if not numbers:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(components_module, "MAX_FRAME_FILL", 0)
        patch.setattr(components_module, "MAX_LABELS_16", 0 if many else 65535)
        found = find_components(ink)
    slices = ndimage.find_objects(expected)
    wanted = {
        (rows.start, rows.stop, columns.start, columns.stop): (
            int(intensity[expected == number].sum()),
            int((expected == number).sum()),
        )
        for number in numbers
        for rows, columns in [slices[number - 1]]
    }
    assert {member.box: (member.mass, member.pixels) for member in found.members} == wanted
    assert [member.mass for member in found.members] == sorted((mass for mass, _ in wanted.values()), reverse=True)
    for member in found.members:
        label = next(number for number in numbers if slices[number - 1] == member.box.slices)
        crop, box = found.crop([member])
        assert box == member.box
        np.testing.assert_array_equal(crop, np.where(expected == label, intensity, 0)[member.box.slices])


def test_a_crop_has_the_ink_of_the_given_components_and_nothing_else() -> None:
    intensity = np.zeros((60, 60), np.uint8)
    intensity[10:20, 10:20], intensity[14:24, 30:40], intensity[12:18, 22:26] = 200, 150, 100
    found = find_components(Ink(intensity, intensity > 0, intensity > 0))
    first, second, between = found.members
    assert (first.box, second.box, between.box) == ((10, 20, 10, 20), (14, 24, 30, 40), (12, 18, 22, 26))
    ink, box = found.crop([second, first])
    assert box == (10, 24, 10, 40)
    assert ink.dtype == np.uint8
    expected = intensity[10:24, 10:40].copy()
    expected[:, 10:20] = 0
    np.testing.assert_array_equal(ink, expected)


FRAME = (50, 150, 100, 200)


@pytest.mark.parametrize(
    ("pen", "inner", "dropped"),
    [
        (8, (80, 110, 140, 160), True),
        (9, (80, 120, 120, 180), False),
        (3, (80, 110, 140, 150), True),
        (3, (80, 109, 140, 150), False),
        (3, (80, 110, 140, 145), False),
        (3, (80, 110, 140, 146), True),
    ],
    ids=["29 % filled", "33 % filled", "30 % high", "29 % high", "12.9 % of the mass", "15.5 % of the mass"],
)
def test_a_frame_is_thin_around_something_of_some_height_and_mass(
    pen: int, inner: tuple[int, int, int, int], *, dropped: bool
) -> None:
    found = boxes(components_of(*draw_frame(*FRAME, pen=pen), inner))
    assert inner in found
    assert (FRAME not in found) is dropped


def test_each_box_of_a_form_is_dropped_and_the_digits_inside_stay() -> None:
    cells = [side for left in (20, 120, 220) for side in draw_frame(40, 160, left, left + 75)]
    digits = [(70, 130, left, left + 30) for left in (40, 140, 240)]
    assert boxes(components_of(*cells, *digits)) == set(digits)


def test_ink_below_the_high_threshold_is_no_digit() -> None:
    faint = np.zeros((60, 60), np.uint8)
    faint[20:40, 20:40] = 80
    with pytest.raises(NoDigitFound, match=r"^no digit to read: all ink is ruled lines$"):
        find_components(ink_of(faint))


def test_ruled_lines_are_no_digit() -> None:
    with pytest.raises(NoDigitFound, match=r"^no digit to read: all ink is ruled lines$"):
        components_of((50, 52, 0, 300), (100, 102, 0, 300))


def test_of_thousands_of_components_the_heaviest_are_examined() -> None:
    intensity = np.zeros((1024, 1024), np.uint8)
    intensity[4:-4:4, 4:-4:4] = 200
    intensity[100:104, 100:104] = 255
    found = find_components(ink_of(intensity))
    assert len(found.members) == MAX_COMPONENTS == 256
    assert found.members[0].box == (100, 105, 100, 105)
