"""Writes data sets as IDX files, MNIST's format."""

import struct
from pathlib import Path

import numpy as np

from training.types import Images, Labels

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def idx(array: np.typing.NDArray[np.uint8]) -> bytes:
    """The IDX bytes of an array."""
    return struct.pack(f">2x2B{array.ndim}I", 8, array.ndim, *array.shape) + array.tobytes()


def write_files(directory: Path, contents: dict[str, bytes]) -> None:
    """Write files into a directory, which is created if missing."""
    directory.mkdir(exist_ok=True)
    for name, raw in contents.items():
        (directory / name).write_bytes(raw)


def write_data_set(directory: Path, training: tuple[Images, Labels], test: tuple[Images, Labels]) -> None:
    """Write the four files of a data set; the first 5,000 training images become its validation split."""
    write_files(directory, dict(zip(NAMES, map(idx, (*training, *test)), strict=True)))
