"""Save and load a nested structure of tensors as one .npz file, from which an interrupted run resumes.

A .npz file is a ZIP archive of .npy files. `load` compares the header of each with the expected shape and dtype before
it reads the values, so that a damaged header allocates no memory; ZIP's checksums detect damaged values.
"""

import io
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from training.atomic_write import atomic_write
from training.errors import TrainingError
from training.read_file import read_regular_file

MAX_BYTES = 1 << 32

Structure = TypeVar("Structure")


class CheckpointError(TrainingError):
    """A file cannot be written, or is not a checkpoint of the expected structure."""


def save(path: Path, structure: object) -> None:
    """Write the values of the structure to `path`, atomically.

    Raises:
        CheckpointError: the file cannot be written; its previous content stays.
    """
    content = io.BytesIO()
    np.savez(content, *(np.asarray(value) for value in tf.nest.flatten(structure)))
    try:
        atomic_write(path, content.getvalue())
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be written: {error.strerror or error}; --resume continues from the checkpoint before"
        ) from error


def load(path: Path, like: Structure) -> Structure:
    """Read a structure.

    Args:
        path: a file written by `save`.
        like: a structure of the same nesting, shapes and dtypes.

    Raises:
        CheckpointError: the file cannot be read, or its shapes or dtypes differ.
    """
    expected = [np.asarray(value) for value in tf.nest.flatten(like)]
    try:
        content = read_regular_file(path, MAX_BYTES)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # NumPy warns of headers that `save` does not write
            values = _read_arrays(content, expected)
    except Exception as error:  # noqa: BLE001 - zipfile and NumPy raise any type for a damaged file, even TokenError
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise CheckpointError(f"{path} cannot be read: {reason}; remove it to begin again") from None
    if values is None:
        raise CheckpointError(f"{path} is a checkpoint of another recipe or of another release")
    return tf.nest.pack_sequence_as(like, [tf.constant(value) for value in values])  # type: ignore[no-any-return]


def _read_arrays(content: bytes, expected: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]] | None:
    """The arrays of a .npz file; None if names, shapes or dtypes differ."""
    values = []
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if sorted(archive.namelist()) != sorted(f"arr_{index}.npy" for index in range(len(expected))):
            return None
        for index, like in enumerate(expected):
            with archive.open(f"arr_{index}.npy") as file:
                values.append(_read_array(file, like))
    return None if any(value is None for value in values) else values  # type: ignore[return-value]


def _read_array(file: Any, like: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
    np.lib.format.read_magic(file)
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
    if shape != like.shape or dtype != like.dtype or fortran_order:
        return None
    raw = file.read(like.nbytes + 1)  # one byte more: the end of the file is where its checksum is compared
    if len(raw) != like.nbytes:
        raise ValueError(f"an array has {len(raw)} bytes; expected are {like.nbytes}")
    return np.frombuffer(raw, like.dtype).reshape(like.shape)
