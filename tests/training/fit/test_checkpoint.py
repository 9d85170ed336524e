"""Checkpoints: round trip, crashes, files that are no checkpoint of the run."""

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
    """A state at this iteration, whose first moments have this value."""
    initial = optimisers.initial_state(RECIPE)
    return initial._replace(
        iteration=tf.constant(int(number)), first=tf.nest.map_structure(lambda x: x + number, initial.first)
    )


def assert_equal(actual: State, expected: State) -> None:
    for value, other in zip(tf.nest.flatten(actual), tf.nest.flatten(expected), strict=True):
        np.testing.assert_array_equal(value, other)


def test_load_returns_the_saved_state(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    checkpoint.save(path, state(7))
    loaded = checkpoint.load(path, state(0))
    assert isinstance(loaded, State)
    assert_equal(loaded, state(7))
    assert [path.name for path in tmp_path.iterdir()] == ["state.npz"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_save_keeps_the_previous_state(step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.npz"
    checkpoint.save(path, state(1))

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os if step == "fsync" else Path, step, fail)
        with pytest.raises(CheckpointError, match=f"{path} cannot be written: No space left on device; --resume"):
            checkpoint.save(path, state(2))
    assert_equal(checkpoint.load(path, state(0)), state(1))
    checkpoint.save(path, state(3))
    assert_equal(checkpoint.load(path, state(0)), state(3))


@pytest.mark.parametrize("damage", ["truncated", "no archive", "empty", "a directory", "another recipe"])
def test_rejects_a_file_that_is_no_checkpoint_of_the_run_and_names_it(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    checkpoint.save(path, optimisers.initial_state(Recipe.load("smoke", ["layers=21"])))
    valid = path.read_bytes()
    contents = {"truncated": valid[: len(valid) // 2], "no archive": b"text", "empty": b"", "another recipe": valid}
    if damage in contents:
        path.write_bytes(contents[damage])
    else:
        path.unlink()
        path.mkdir()
    with pytest.raises(CheckpointError, match=str(path)):
        checkpoint.load(path, state(0))
