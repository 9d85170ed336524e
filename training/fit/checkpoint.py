"""Save and load a nested structure of tensors as one .npz file, from which an interrupted run resumes."""

import io
import zipfile
from pathlib import Path
from typing import TypeVar

import numpy as np
import tensorflow as tf

from training.atomic_write import atomic_write
from training.errors import TrainingError

Structure = TypeVar("Structure")


class CheckpointError(TrainingError):
    """A file is not a checkpoint of the expected structure."""


def save(path: Path, structure: object) -> None:
    """Write the values of the structure to `path`, atomically."""
    content = io.BytesIO()
    np.savez(content, *(np.asarray(value) for value in tf.nest.flatten(structure)))
    atomic_write(path, content.getvalue())


def load(path: Path, like: Structure) -> Structure:
    """Read a structure.

    Args:
        path: a file written by `save`.
        like: a structure of the same nesting, shapes and dtypes.

    Raises:
        CheckpointError: the file cannot be read, or its shapes or dtypes differ.
    """
    expected = tf.nest.flatten(like)
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            values = list(arrays.values())
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from None
    found = [(value.shape, value.dtype) for value in values]
    if found != [(np.shape(value), np.asarray(value).dtype) for value in expected]:
        raise CheckpointError(f"{path} is a checkpoint of another recipe or of another release")
    return tf.nest.pack_sequence_as(like, [tf.constant(value) for value in values])  # type: ignore[no-any-return]
