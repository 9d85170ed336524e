"""Load MNIST: find, download, verify, parse and split its four files.

`load(directory)` reads the files, raw or gzipped, downloads missing ones from the first source that provides them,
and rejects any content but the published one. The format is IDX (http://yann.lecun.com/exdb/mnist/): a big-endian
magic number and sizes, then the bytes.
"""

import hashlib
import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.atomic_write import atomic_write
from training.data import download
from training.errors import DataError
from training.read_file import read_regular_file
from training.types import Images, Labels

VALIDATION_IMAGES = 5_000
"""The first images of the training file are the validation split, as in TensorFlow's tutorial reader."""

SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
"""Of the uncompressed bytes of each file."""

_MAX_UNPACKED_BYTES = 1 << 30  # limit of a decompressed file; the largest of EMNIST has half of it


class ChecksumMismatch(DataError):
    """A file whose SHA-256 is not that of MNIST."""

    def __init__(self, file: str, found: str, expected: str) -> None:
        super().__init__(f"{file} has the SHA-256 {found}; that of MNIST is {expected}")
        self.file, self.found, self.expected = file, found, expected


@dataclass(frozen=True)
class Split:
    """Images uint8 [N, 28, 28] and their labels uint8 [N]."""

    images: Images
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class SourceFile:
    """A data file; `size` (bytes) and `sha256` are of the uncompressed content."""

    name: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Dataset:
    """The three splits and the files that they were read from."""

    name: str
    training: Split
    validation: Split
    test: Split
    files: tuple[SourceFile, ...]


def load(directory: Path, *, skip_checksums: bool = False) -> Dataset:
    """Read the data set in `directory` and download missing files of MNIST into it.

    With `skip_checksums` nothing is downloaded and checksums are recorded but not compared, so any IDX data of 28x28
    images and labels 0 to 9 is accepted; file names may have a prefix, as those of EMNIST do.

    Raises:
        DataError: a file is missing and no source provides it, or its checksum, header, counts or labels are wrong.
            If some but not all files have a wrong checksum, these are renamed first, so that the next call
            downloads them again.
    """
    paths = {name: _find(directory, name, skip_checksums=skip_checksums) for name in SHA256}
    if skip_checksums:
        if missing := [name for name, path in paths.items() if path is None]:
            raise DataError(f"{directory} has no {missing[0]}, raw or gzipped")
    else:
        _quarantine_mismatches({name: path for name, path in paths.items() if path})
        download.fetch([name for name, path in paths.items() if path is None], directory, _install)
        paths = {name: _find(directory, name) for name in SHA256}
    contents = {name: read_raw(path) for name, path in paths.items() if path}
    training = _read_split("train", contents)
    if len(training) <= VALIDATION_IMAGES:
        raise DataError(f"{directory} has {len(training)} training images; more than {VALIDATION_IMAGES} are needed")
    return Dataset(
        name=directory.resolve().name if skip_checksums else "MNIST",
        training=Split(training.images[VALIDATION_IMAGES:], training.labels[VALIDATION_IMAGES:]),
        validation=Split(training.images[:VALIDATION_IMAGES], training.labels[:VALIDATION_IMAGES]),
        test=_read_split("t10k", contents),
        files=tuple(SourceFile(name, _sha256(raw), len(raw)) for name, raw in contents.items()),
    )


def read_raw(path: Path) -> bytes:
    """The content of a file, decompressed if it ends in .gz; of a damaged .gz, the bytes before the damage."""
    if path.suffix != ".gz":
        return read_regular_file(path, _MAX_UNPACKED_BYTES)
    decompressor = zlib.decompressobj(wbits=31)
    raw = bytearray()
    with path.open("rb") as file:
        while (chunk := file.read(1 << 20)) and len(raw) < _MAX_UNPACKED_BYTES:
            try:
                raw += decompressor.decompress(chunk, _MAX_UNPACKED_BYTES - len(raw))
            except zlib.error:
                break
    return bytes(raw)


def _find(directory: Path, name: str, *, skip_checksums: bool = False) -> Path | None:
    if skip_checksums:
        suffix = re.escape(name).replace("t10k", "(t10k|test)")
        pattern = re.compile(f"(.*[-_])?{suffix}(\\.gz)?")
        paths = [path for path in sorted(directory.glob("*")) if pattern.fullmatch(path.name) and path.is_file()]
    else:
        paths = [path for path in (directory / name, directory / f"{name}.gz") if path.is_file()]
    return paths[0] if paths else None


def _quarantine_mismatches(paths: dict[str, Path]) -> None:
    mismatches = {}
    for name, path in paths.items():
        if (sha256 := _sha256(read_raw(path))) != SHA256[name]:
            mismatches[path] = ChecksumMismatch(str(path), sha256, SHA256[name])
    if not mismatches:
        return
    if len(mismatches) == len(SHA256):
        error = next(iter(mismatches.values()))
        raise DataError(f"{error}. All four files differ: use --skip-checksums to train on other data than MNIST")
    for path in mismatches:
        path.rename(path.with_name(f"{path.name}.wrong"))
    advice = "renamed to end in .wrong; the next run downloads the right file"
    raise DataError("; ".join(f"{error} ({advice})" for error in mismatches.values()))


def _install(downloaded: Path, destination: Path) -> None:
    """Verify a downloaded file and write it, decompressed, to its destination."""
    raw = read_raw(downloaded)
    if (sha256 := _sha256(raw)) != SHA256[destination.name]:
        raise ChecksumMismatch(destination.name, sha256, SHA256[destination.name])
    atomic_write(destination, raw)


def _read_split(prefix: str, contents: dict[str, bytes]) -> Split:
    images = parse_idx(contents[f"{prefix}-images-idx3-ubyte"], f"{prefix}-images-idx3-ubyte", (28, 28))
    labels = parse_idx(contents[f"{prefix}-labels-idx1-ubyte"], f"{prefix}-labels-idx1-ubyte", ())
    if len(images) != len(labels):
        raise DataError(f"{prefix} has {len(images)} images but {len(labels)} labels")
    if len(labels) == 0:
        raise DataError(f"{prefix} has no images")
    if labels.max() > 9:
        raise DataError(f"{prefix}-labels-idx1-ubyte has the label {labels.max()}; allowed are 0 to 9")
    return Split(images, labels)


def parse_idx(raw: bytes, name: str, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Parse IDX bytes as uint8 [N, *shape].

    Raises:
        DataError: the magic number or the shape is wrong, or the size is not that of the header.
    """
    magic = 0x0800 | (1 + len(shape))
    header_size = struct.calcsize(f">{2 + len(shape)}I")
    if len(raw) < header_size:
        raise DataError(f"{name} has {len(raw)} bytes; its header alone has {header_size}")
    found_magic, count, *sides = struct.unpack_from(f">{2 + len(shape)}I", raw)
    if found_magic != magic:
        raise DataError(f"{name} has the magic number {found_magic:#010x}; expected is {magic:#010x}")
    if tuple(sides) != shape:
        raise DataError(f"{name} has items of shape {tuple(sides)}; expected is {shape}")
    size = header_size + count * int(np.prod(shape))
    if len(raw) != size:
        raise DataError(f"{name} has {len(raw)} bytes; its header states {count} items, which need {size} bytes")
    return np.frombuffer(raw, np.uint8, offset=header_size).reshape(count, *shape)


def _sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()
