import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from training.fit import checkpoint, optimisers
from training.fit.checkpoint import CheckpointError
from training.fit.optimisers import State
from training.recipe import Recipe

RECIPE = Recipe.load("smoke", ["layers=20"])


def state(number: float) -> State:
    """A state with this number added to every array."""
    begin = optimisers.initial_state(RECIPE)
    return begin._replace(
        iteration=tf.constant(int(number)), first=tf.nest.map_structure(lambda x: x + number, begin.first)
    )


def assert_same(one: State, other: State) -> None:
    for value, same in zip(tf.nest.flatten(one), tf.nest.flatten(other), strict=True):
        np.testing.assert_array_equal(value, same)


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    checkpoint.save(path, state(7))
    found = checkpoint.load(path, state(0))
    assert isinstance(found, State)
    assert_same(found, state(7))
    assert [path.name for path in tmp_path.iterdir()] == ["state.npz"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_crash_leaves_the_state_before(step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.npz"
    checkpoint.save(path, state(1))

    def crash(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os if step == "fsync" else Path, step, crash)
        with pytest.raises(OSError, match="No space"):
            checkpoint.save(path, state(2))
    assert_same(checkpoint.load(path, state(0)), state(1))
    checkpoint.save(path, state(3))
    assert_same(checkpoint.load(path, state(0)), state(3))


@pytest.mark.parametrize("damage", ["half", "rubbish", "empty", "a directory", "another recipe"])
def test_what_is_no_checkpoint_of_this_run_is_refused_with_its_name(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    checkpoint.save(path, optimisers.initial_state(Recipe.load("smoke", ["layers=21"])))
    whole = path.read_bytes()
    contents = {"half": whole[: len(whole) // 2], "rubbish": b"rubbish", "empty": b"", "another recipe": whole}
    if damage in contents:
        path.write_bytes(contents[damage])
    else:
        path.unlink()
        path.mkdir()
    with pytest.raises(CheckpointError, match=str(path)):
        checkpoint.load(path, state(0))
