"""A nested structure of tensors, kept in one file: what a killed run goes on from."""

import os
import zipfile
from pathlib import Path
from typing import TypeVar

import numpy as np
import tensorflow as tf

from training.errors import TrainingError

Structure = TypeVar("Structure")


class CheckpointError(TrainingError):
    """A file that is not a checkpoint of this structure."""


def save(path: Path, structure: object) -> None:
    """Replace the file by one with the structure's values; a crash leaves the one or the other, whole."""
    unfinished = path.with_name(f"{path.name}.part")
    with unfinished.open("wb") as file:
        np.savez(file, *(np.asarray(value) for value in tf.nest.flatten(structure)))
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def load(path: Path, like: Structure) -> Structure:
    """The structure in the file.

    Args:
        path: written by `save`.
        like: a structure of the same form, shapes and dtypes.

    Raises:
        CheckpointError: the file cannot be read, or holds something else.
    """
    expected = tf.nest.flatten(like)
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            values = list(arrays.values())
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from None
    found = [(value.shape, value.dtype) for value in values]
    if found != [(np.shape(value), np.asarray(value).dtype) for value in expected]:
        raise CheckpointError(f"{path} is a checkpoint of another recipe or release")
    return tf.nest.pack_sequence_as(like, [tf.constant(value) for value in values])  # type: ignore[no-any-return]
