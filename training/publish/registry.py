"""The model directory, written: stage, seal, publish by one rename, list, retire, prune.

A version is built in a `.tmp-*` directory beside its place, under a lock that only one job can hold.
`seal` writes the manifest last and puts everything on disk; `publish` is one rename. So a job that is
killed, or a disk that is full, leaves a `.tmp-*` directory that nobody reads and the next job removes.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.errors import TrainingError

MANIFEST = "manifest.json"
MAX_ACCURACY_DROP = 0.001
"""How far below the version in place a candidate's test accuracy may be."""
ROUNDING = 1e-9  # floats of accuracies exactly that far apart may differ by a little more


class PublishError(TrainingError):
    """The model directory cannot do what was asked."""


class GateRejected(PublishError):
    """A candidate that is worse than the version in place."""

    def __init__(self, candidate: float, version: int, in_place: float) -> None:
        super().__init__(
            f"not published: test accuracy {candidate:.4f} is more than {MAX_ACCURACY_DROP:.3f} below "
            f"the {in_place:.4f} of version {version}; --force publishes it all the same"
        )
        self.candidate, self.version, self.in_place = candidate, version, in_place


@dataclass(frozen=True)
class Version:
    """A published or retired version and what its manifest says (empty if it has none)."""

    number: int
    path: Path
    retired: bool
    manifest: dict[str, Any]

    @property
    def accuracy(self) -> float | None:
        """Test accuracy, 0 to 1, if the manifest states it."""
        metrics = self.manifest.get("metrics")
        accuracy = metrics.get("test_accuracy") if isinstance(metrics, dict) else None
        return float(accuracy) if isinstance(accuracy, float | int) else None

    @property
    def confidence_threshold(self) -> float:
        """Answers of a lower confidence are uncertain; 0 if the manifest sets no threshold."""
        thresholds = self.manifest.get("thresholds")
        threshold = thresholds.get("confidence") if isinstance(thresholds, dict) else None
        return float(threshold) if isinstance(threshold, float | int) else 0.0


def list_versions(models: Path) -> list[Version]:
    """All versions in `models`, retired ones too, lowest number first."""
    found = []
    for path in models.glob("*") if models.is_dir() else ():
        match = re.fullmatch(r"(\.retired-)?([1-9][0-9]*)", path.name)
        if match and path.is_dir():
            found.append(Version(int(match[2]), path, bool(match[1]), _manifest(path)))
    return sorted(found, key=lambda version: version.number)


def serving_version(models: Path) -> Version | None:
    """The version that is served: the highest that is not retired."""
    return next((version for version in reversed(list_versions(models)) if not version.retired), None)


def get_version(models: Path, number: int) -> Version:
    """The version with this number that is not retired.

    Raises:
        PublishError: there is none.
    """
    there = [version for version in list_versions(models) if not version.retired]
    for version in there:
        if version.number == number:
            return version
    numbers = ", ".join(str(version.number) for version in there) or "none"
    raise PublishError(f"{models} has no version {number}; it has {numbers}")


def check_gate(models: Path, accuracy: float) -> None:
    """Compare a candidate with the version in place.

    Raises:
        GateRefused: its test accuracy is more than 0.1 point lower.
    """
    best = serving_version(models)
    if best and best.accuracy is not None and best.accuracy - accuracy > MAX_ACCURACY_DROP + ROUNDING:
        raise GateRejected(accuracy, best.number, best.accuracy)


@contextmanager
def staging(models: Path) -> Iterator[Path]:
    """An empty directory to build a version in; gone at the end unless it was published.

    Only one job at a time gets past here; others wait. What killed jobs left is removed first.

    Raises:
        PublishError: something could not be written: a full disk, say.
    """
    models.mkdir(parents=True, exist_ok=True)
    with (models / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        prune(models)
        directory = Path(tempfile.mkdtemp(prefix=".tmp-", dir=models))
        try:
            yield directory
        except OSError as error:
            place = error.filename2 or error.filename or directory
            raise PublishError(f"nothing was published: {place}: {error.strerror or error}") from error
        finally:
            shutil.rmtree(directory, ignore_errors=True)


def prune(models: Path) -> None:
    """Remove the unfinished versions. To be called with the lock held: then nobody is writing one."""
    for leftover in models.glob(".tmp-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def write_manifest(directory: Path, number: int, manifest: dict[str, Any]) -> None:
    """Write the manifest, with the SHA-256 of every other file, and put all of it on disk."""
    directory.chmod(0o755)
    files = {}
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        files[path.relative_to(directory).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
        _flush(path)
    whole = {"name": manifest["name"], "version": number} | manifest | {"files": files}
    unfinished = directory / f"{MANIFEST}.part"
    unfinished.write_text(json.dumps(whole, indent=2) + "\n")
    _flush(unfinished)
    unfinished.rename(directory / MANIFEST)
    for path in [*directory.rglob("*/"), directory]:
        _flush(path)


def publish(models: Path, directory: Path, manifest: dict[str, Any]) -> Version:
    """Seal the staged directory and make it appear as the next version. The number is never used again."""
    number = 1 + max((version.number for version in list_versions(models)), default=0)
    write_manifest(directory, number, manifest)
    place = models / str(number)
    directory.rename(place)
    _flush(models)
    return Version(number, place, retired=False, manifest=_manifest(place))


def retire(models: Path, number: int) -> Path:
    """Rename a version out of sight: a rollback to the one before it. Returns its new place.

    Raises:
        PublishError: there is no such version.
    """
    version = get_version(models, number)
    place = models / f".retired-{number}"
    version.path.rename(place)
    _flush(models)
    return place


def _manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((path / MANIFEST).read_text())
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
