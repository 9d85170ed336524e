"""The four MNIST files: found, fetched, verified, read and split.

`load(directory)` looks in the directory for the files, raw or gzipped, fetches what is missing from
the first source that has it, and accepts nothing but the published bytes. The files are IDX, the
format of http://yann.lecun.com/exdb/mnist/ : big-endian magic number and sizes, then the bytes.
"""

import hashlib
import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.data import download
from training.errors import DataError

VALIDATION_IMAGES = 5_000
"""The first images of the training file are for validation, as in TensorFlow's own tutorial reader."""

SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
"""Of each file's uncompressed bytes."""

_MAX_UNPACKED_BYTES = 1 << 30  # bytes that a file may unpack to; EMNIST's largest has half of it


class ChecksumMismatch(DataError):
    """A file whose SHA-256 is not MNIST's."""

    def __init__(self, file: str, found: str, expected: str) -> None:
        super().__init__(f"{file} has sha256 {found}, MNIST's has {expected}")
        self.file, self.found, self.expected = file, found, expected


@dataclass(frozen=True)
class Split:
    """Images uint8 [N, 28, 28], 0 background to 255 ink, and their labels uint8 [N], 0 to 9."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class SourceFile:
    """One file as it was read: `size` and `sha256` are of the uncompressed bytes."""

    name: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Dataset:
    """The three parts, and the files that they came from."""

    name: str
    training: Split
    validation: Split
    test: Split
    files: tuple[SourceFile, ...]


def load(directory: Path, *, skip_checksums: bool = False) -> Dataset:
    """Read the data set in `directory`, fetching MNIST's missing files into it.

    With `skip_checksums` nothing is fetched and the sums are recorded but not compared, so that any IDX data
    of 28x28 images and labels 0 to 9 will do; files may carry a prefix, as EMNIST's do.

    Raises:
        DataError: a file is missing and no source has it, or its bytes, its header, its counts or its
            labels are wrong. A wrong file among right ones is renamed out of the way first.
    """
    found = {name: _find(directory, name, skip_checksums=skip_checksums) for name in SHA256}
    if skip_checksums:
        if missing := [name for name, path in found.items() if path is None]:
            raise DataError(f"{directory} has no {missing[0]}, raw or .gz")
    else:
        _quarantine_mismatches({name: path for name, path in found.items() if path})
        download.fetch([name for name, path in found.items() if path is None], directory, _install)
        found = {name: _find(directory, name) for name in SHA256}
    contents = {name: read_raw(path) for name, path in found.items() if path}
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
    """The file's bytes, unpacked if it is gzipped; of a damaged .gz, those before the damage."""
    if path.suffix != ".gz":
        return path.read_bytes()
    unpack = zlib.decompressobj(wbits=31)
    raw = bytearray()
    with path.open("rb") as file:
        while (piece := file.read(1 << 20)) and len(raw) < _MAX_UNPACKED_BYTES:
            try:
                raw += unpack.decompress(piece, _MAX_UNPACKED_BYTES - len(raw))
            except zlib.error:
                break
    return bytes(raw)


def _find(directory: Path, name: str, *, skip_checksums: bool = False) -> Path | None:
    if skip_checksums:
        kind = re.escape(name).replace("t10k", "(t10k|test)")
        pattern = re.compile(f"(.*[-_])?{kind}(\\.gz)?")
        paths = [path for path in sorted(directory.glob("*")) if pattern.fullmatch(path.name)]
    else:
        paths = [path for path in (directory / name, directory / f"{name}.gz") if path.is_file()]
    return paths[0] if paths else None


def _quarantine_mismatches(found: dict[str, Path]) -> None:
    wrong = {}
    for name, path in found.items():
        if (sha256 := _sha256(read_raw(path))) != SHA256[name]:
            wrong[path] = ChecksumMismatch(str(path), sha256, SHA256[name])
    if not wrong:
        return
    if len(wrong) == len(SHA256):
        raise DataError(f"{next(iter(wrong.values()))}. All four files differ: --skip-checksums trains on other data")
    for path in wrong:
        path.rename(path.with_name(f"{path.name}.wrong"))
    moved = "renamed to end in .wrong; the next run fetches the right one"
    raise DataError("; ".join(f"{error} ({moved})" for error in wrong.values()))


def _install(fetched: Path, place: Path) -> None:
    """Verify a fetched file and put it, unpacked, in its place by one rename."""
    raw = read_raw(fetched)
    if (sha256 := _sha256(raw)) != SHA256[place.name]:
        raise ChecksumMismatch(place.name, sha256, SHA256[place.name])
    unpacked = fetched.with_name(f"{place.name}.unpacked")
    unpacked.write_bytes(raw)
    unpacked.replace(place)


def _read_split(prefix: str, contents: dict[str, bytes]) -> Split:
    images = parse_idx(contents[f"{prefix}-images-idx3-ubyte"], f"{prefix}-images-idx3-ubyte", (28, 28))
    labels = parse_idx(contents[f"{prefix}-labels-idx1-ubyte"], f"{prefix}-labels-idx1-ubyte", ())
    if len(images) != len(labels):
        raise DataError(f"{prefix}: {len(images)} images but {len(labels)} labels")
    if len(labels) == 0:
        raise DataError(f"{prefix}: no images")
    if labels.max() > 9:
        raise DataError(f"{prefix}-labels-idx1-ubyte has the label {labels.max()}; labels are 0 to 9")
    return Split(images, labels)


def parse_idx(raw: bytes, name: str, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Read IDX bytes as uint8 [N, *shape].

    Raises:
        DataError: wrong magic number, another shape, or not as many bytes as the header says.
    """
    magic = 0x0800 | (1 + len(shape))
    head = struct.calcsize(f">{2 + len(shape)}I")
    if len(raw) < head:
        raise DataError(f"{name} has {len(raw)} bytes, fewer than its header's {head}")
    found, count, *sides = struct.unpack_from(f">{2 + len(shape)}I", raw)
    if found != magic:
        raise DataError(f"{name} begins with the magic number {found:#010x}, not {magic:#010x}")
    if tuple(sides) != shape:
        raise DataError(f"{name} holds items of shape {tuple(sides)}, not {shape}")
    size = head + count * int(np.prod(shape))
    if len(raw) != size:
        raise DataError(f"{name} says that it holds {count} items, which takes {size} bytes; it has {len(raw)}")
    return np.frombuffer(raw, np.uint8, offset=head).reshape(count, *shape)


def _sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()
