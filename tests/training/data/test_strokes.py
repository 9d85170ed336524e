"""From control points to the curves of many hands."""

import numpy as np
import numpy.typing as npt
import pytest

from training.data import strokes
from training.data.strokes import Strokes


def calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switch everything off that differs between drawings."""
    for name, value in {
        "JITTER": (0.0, 0.0),
        "PROPORTION": (0.0, 0.0),
        "SHEAR": (0.0, 0.0),
        "TURN": 0.0,
        "ASPECT": (0.0, 0.0),
        "BEND": 0.0,
        "STRETCH_SHARE": 0.0,
    }.items():
        monkeypatch.setattr(strokes, name, value)


def trace(form: Strokes, count: int = 1, seed: int = 0) -> tuple[npt.NDArray[np.float32], list[int]]:
    return strokes.trace(form, count, np.random.default_rng(seed))


def test_without_jitter_a_curve_passes_through_its_control_points(monkeypatch: pytest.MonkeyPatch) -> None:
    calm(monkeypatch)
    control = [(0, 0), (30, 10), (35, 60), (90, 100)]
    points, ends = trace([[control]])
    moved = points[0] - points[0, 0]
    np.testing.assert_allclose(moved[:: strokes.LINES_PER_SPAN], control, atol=1e-3)
    assert ends == [points.shape[1] - 1]


def test_a_smooth_curve_follows_a_circle() -> None:
    angles = np.linspace(0, 2 * np.pi, 9)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)[None] * 50
    radii = np.linalg.norm(strokes.smooth(circle)[0, 4:-4], axis=1)  # the ends have no neighbour to bend to
    np.testing.assert_allclose(radii, 50, rtol=0.02)


def test_between_two_points_a_curve_is_straight_and_one_point_is_a_dot() -> None:
    for points in (np.zeros((3, 1, 2), np.float32), np.ones((3, 2, 2), np.float32)):
        assert strokes.smooth(points) is points


def test_pieces_of_a_stroke_stay_together_and_strokes_are_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    calm(monkeypatch)
    monkeypatch.setattr(strokes, "JITTER", (9.0, 9.0))
    corner: Strokes = [[[(0, 0), (50, 0)], [(50, 0), (50, 100)]], [[(50, 0), (90, 90)]]]
    points, ends = trace(corner, 50)
    np.testing.assert_array_equal(points[:, 1], points[:, 2])
    assert np.abs(points[:, 2] - points[:, 4]).min(axis=1).max() > 1
    assert ends == [3, 5]


def test_coordinates_may_differ_between_drawings(monkeypatch: pytest.MonkeyPatch) -> None:
    calm(monkeypatch)
    ends = np.array([10.0, 20.0, 40.0])
    points, _ = trace([[[(0, 0), (ends, 100)]]], 3)
    np.testing.assert_allclose(points[:, 1, 0] - points[:, 0, 0], ends, atol=1e-4)


def test_hands_differ_in_slant_width_and_rotation_as_the_ranges_state() -> None:
    square: Strokes = [[[(0, 0), (100, 0)], [(100, 0), (100, 100)], [(100, 100), (0, 100)]]]
    points, _ = trace(square, 4000)
    assert len(np.unique(points[:, 0, 0])) == 4000
    up = points[:, 2] - points[:, 4]
    slant = -up[:, 0] / up[:, 1]
    assert 0.05 < np.median(slant) < 0.2
    assert 0.15 < slant.std() < 0.4
    widths, heights = np.ptp(points, axis=1).T
    assert np.mean(np.abs(widths / heights - 1) < 0.1) > 0.1


def test_a_stretch_makes_a_narrow_character_wider_by_the_maximum_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    calm(monkeypatch)
    monkeypatch.setattr(strokes, "STRETCH_SHARE", 1.0)
    for width, widest in ((60, 100), (20, 20 * strokes.MAX_STRETCH)):
        points, _ = trace([[[(0, 0), (width, 50), (0, 100)]]], 500)
        found = np.ptp(points, axis=1)
        np.testing.assert_allclose(found[:, 1], 100, rtol=1e-3)
        assert width < found[:, 0].min() < found[:, 0].max() <= widest * 1.01
