"""The model directory: stage, publish by one rename, list, retire and prune versions.

A version is built in a `.tmp-*` directory inside the model directory, under an exclusive lock. `write_manifest` writes
the manifest last and flushes all files to disk; `publish` is one rename. A killed process or a full disk therefore
leaves at most a `.tmp-*` directory, which is never read and is removed by the next training run.
"""

import fcntl
import hashlib
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.atomic_write import atomic_write
from training.errors import TrainingError
from training.read_file import read_json, read_regular_file

MANIFEST = "manifest.json"
MAX_ACCURACY_DROP = 0.001
"""The largest drop in test accuracy, against the serving version, that passes the gate."""
ROUNDING = 1e-9  # tolerance for the rounding error of a difference of accuracies
RENAMED_METRICS = {"test_certain": "test_coverage", "test_accuracy_certain": "test_selective_accuracy"}
"""Names in the manifests of versions up to 4, and their present names."""
MAX_FILE_BYTES = 1 << 30  # of a version


class PublishError(TrainingError):
    """A version does not exist or cannot be written."""


class GateRejected(PublishError):
    """A candidate whose test accuracy is too far below that of the serving version."""

    def __init__(self, candidate: float, version: int, serving: float) -> None:
        super().__init__(
            f"not published: test accuracy {candidate:.4f} is more than {MAX_ACCURACY_DROP:.3f} below "
            f"the {serving:.4f} of version {version}; --force publishes it anyway"
        )
        self.candidate, self.version, self.serving = candidate, version, serving


@dataclass(frozen=True)
class Version:
    """A published or retired version and its manifest ({} if it has none that can be read)."""

    number: int
    path: Path
    retired: bool
    manifest: dict[str, Any]

    @property
    def accuracy(self) -> float | None:
        """Test accuracy, 0 to 1; None if the manifest does not state it."""
        return self.metrics.get("test_accuracy")

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics of the manifest, by their present names."""
        metrics = self.manifest.get("metrics")
        items: dict[str, object] = metrics if isinstance(metrics, dict) else {}
        numbers = {RENAMED_METRICS.get(name, name): _number(value) for name, value in items.items()}
        return {name: number for name, number in numbers.items() if number is not None}

    @property
    def confidence_threshold(self) -> float:
        """Predictions of a lower confidence are uncertain; 0 if the manifest has no threshold."""
        thresholds = self.manifest.get("thresholds")
        return (_number(thresholds.get("confidence")) if isinstance(thresholds, dict) else None) or 0.0


def list_versions(models: Path) -> list[Version]:
    """All versions in `models`, including retired ones, by increasing number.

    Raises:
        OSError: the directory cannot be read.
    """
    versions = []
    for path in models.iterdir() if models.is_dir() else ():
        match = re.fullmatch(r"(\.retired-)?([1-9][0-9]*)", path.name)
        if match and path.is_dir():
            versions.append(Version(int(match[2]), path, bool(match[1]), _manifest(path)))
    return sorted(versions, key=lambda version: version.number)


def serving_version(models: Path) -> Version | None:
    """The version to serve: the highest that is not retired; None if there is none."""
    return next((version for version in reversed(list_versions(models)) if not version.retired), None)


def get_version(models: Path, number: int) -> Version:
    """The version with this number.

    Raises:
        PublishError: it does not exist or is retired.
    """
    published = [version for version in list_versions(models) if not version.retired]
    for version in published:
        if version.number == number:
            return version
    numbers = ", ".join(str(version.number) for version in published) or "none"
    raise PublishError(f"{models} has no version {number}; it has {numbers}")


def verify_files(version: Version) -> None:
    """Compare the files of a version with the SHA-256 sums in its manifest, if it has some; missing files are ignored.

    Raises:
        PublishError: a file differs, or cannot be read.
    """
    sums = version.manifest.get("files")
    for name, sha256 in sums.items() if isinstance(sums, dict) else ():
        path = version.path / name
        try:
            content = read_regular_file(path, MAX_FILE_BYTES)
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:  # ValueError: a null character in the name
            raise PublishError(f"{version.path} cannot be verified: {error}") from None
        if hashlib.sha256(content).hexdigest() != sha256:
            raise PublishError(f"{path} is damaged: its SHA-256 is not that of the manifest; copy the version again")


def check_gate(models: Path, accuracy: float) -> None:
    """Compare the test accuracy of a candidate, 0 to 1, with that of the serving version.

    Raises:
        GateRejected: it is more than 0.1 percentage points lower.
    """
    serving = serving_version(models)
    if serving and serving.accuracy is not None and serving.accuracy - accuracy > MAX_ACCURACY_DROP + ROUNDING:
        raise GateRejected(accuracy, serving.number, serving.accuracy)


@contextmanager
def staging(models: Path) -> Iterator[Path]:
    """An empty directory to build a version in, removed at the end unless it was published.

    Holds an exclusive lock: a second process waits. Directories left by killed processes are removed first.

    Raises:
        PublishError: a file could not be written, for example because the disk is full.
    """
    models.mkdir(parents=True, exist_ok=True)
    with (models / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        prune(models)
        directory = Path(tempfile.mkdtemp(prefix=".tmp-", dir=models))
        try:
            yield directory
        except OSError as error:
            path = error.filename2 or error.filename or directory
            raise PublishError(f"nothing was published: {path}: {error.strerror or error}") from error
        finally:
            shutil.rmtree(directory, ignore_errors=True)


def prune(models: Path) -> None:
    """Remove unfinished versions. The caller must hold the lock, so that no other process is writing one."""
    for leftover in models.glob(".tmp-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def write_manifest(directory: Path, number: int, manifest: dict[str, Any]) -> None:
    """Add the SHA-256 of every file to the manifest, write it, and flush all files and directories to disk."""
    directory.chmod(0o755)
    files = {}
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        files[path.relative_to(directory).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
        _flush(path)
    complete = {"name": manifest["name"], "version": number} | manifest | {"files": files}
    atomic_write(directory / MANIFEST, json.dumps(complete, indent=2) + "\n")
    for path in [*directory.rglob("*/"), directory]:
        _flush(path)


def publish(models: Path, directory: Path, manifest: dict[str, Any]) -> Version:
    """Write the manifest of the staged directory and rename it to the next version. Numbers are never reused."""
    number = 1 + max((version.number for version in list_versions(models)), default=0)
    write_manifest(directory, number, manifest)
    path = models / str(number)
    directory.rename(path)
    _flush(models)
    return Version(number, path, retired=False, manifest=_manifest(path))


def retire(models: Path, number: int) -> Path:
    """Rename a version to `.retired-N`: a rollback to the previous version. Returns the new path.

    Raises:
        PublishError: it does not exist or is already retired.
    """
    version = get_version(models, number)
    path = models / f".retired-{number}"
    version.path.rename(path)
    _flush(models)
    return path


def _manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = read_json(path / MANIFEST)
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def _number(value: object) -> float | None:
    """A finite number of a manifest; None for anything else."""
    try:
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
