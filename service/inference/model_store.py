"""The current model: find the newest version, verify its files, load it, warm it up, swap it in; poll for newer ones.

A request reads `store.current` once and keeps that model, so no response mixes two versions. The highest version
number wins. A version that cannot be served is rejected once, with the reason logged and counted, and the next lower
one is tried. The current model stays in use until a better one is loaded and warm.
"""

import hashlib
import json
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from service.errors import ModelNotReady
from service.inference.predictions import Predictions
from service.inference.runtimes import LiteRT, ModelRejected, Runtime, TensorFlow
from service.types import IMAGE_SIDE, Batch

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
TFLITE_FILE = "model.tflite"

Fingerprint = tuple[tuple[str, int, int, int], ...]
"""Relative path, inode, size in bytes and modification time in ns of every file of a version."""


@dataclass(frozen=True)
class Model:
    """A loaded version. `load` returns it warm."""

    version: str
    manifest: Mapping[str, Any] | None
    runtime: Runtime

    @property
    def confidence_threshold(self) -> float:
        """Predictions with a lower confidence are uncertain: 0 to 1; 0 if the manifest sets no threshold."""
        return float((self.manifest or {}).get("thresholds", {}).get("confidence", 0.0))

    def predict(self, batch: Batch) -> Predictions:
        """Predict a batch uint8 [N, 28, 28], N >= 1."""
        return Predictions.from_probabilities(self.runtime(batch), self.confidence_threshold)


@dataclass(frozen=True)
class VersionSnapshot:
    """A version's directory at one time: a different fingerprint means that its files have changed."""

    path: Path
    fingerprint: Fingerprint


class PreloadedModel(NamedTuple):
    """A model, and the snapshot of the directory that it was loaded from."""

    snapshot: VersionSnapshot
    model: Model


class ModelStore:
    """Polls a model directory and holds the current model, None until one is loaded."""

    def __init__(
        self,
        models: Path,
        load: Callable[[Path], Model],
        *,
        on_loaded: Callable[[Model, Model | None], None],
        on_rejected: Callable[[str], None],
        preloaded: PreloadedModel | None = None,
    ) -> None:
        """Create the store; nothing is loaded before `refresh`.

        Args:
            models: the model directory; it need not exist yet.
            load: loads the version in a directory; raises ModelRejected if it cannot be served.
            on_loaded: called with the new current model and the previous one.
            on_rejected: called with the reason, once for each rejected snapshot.
            preloaded: a model that is used instead of calling `load`, if its files have not changed since.
        """
        self.current: Model | None = None
        self._models, self._load = models, load
        self._on_loaded, self._on_rejected = on_loaded, on_rejected
        self._preloaded = preloaded
        self._current_snapshot: VersionSnapshot | None = None
        self._rejected: set[VersionSnapshot] = set()
        self._stop = threading.Event()
        self._watcher: threading.Thread | None = None

    def require_current(self) -> Model:
        """The current model.

        Raises:
            ModelNotReady: no model is loaded.
        """
        if self.current is None:
            raise ModelNotReady("no model is loaded yet")
        return self.current

    def refresh(self) -> None:
        """Scan the directory once, and make the newest version that can be served the current one."""
        versions = list_versions(self._models)
        self._rejected &= set(versions)
        for candidate in versions:
            if candidate == self._current_snapshot:
                return
            if candidate not in self._rejected and self._try_version(candidate):
                return
            if self._current_snapshot and candidate.path == self._current_snapshot.path:
                return  # its files were damaged after they were loaded: the model in memory is intact

    def watch(self, seconds: float) -> None:
        """Call `refresh` every `seconds`, in a thread, until `close`."""
        self._watcher = threading.Thread(target=self._watch, args=(seconds,), name="model-watch", daemon=True)
        self._watcher.start()

    def close(self) -> None:
        """Stop the watcher thread; the current model stays."""
        self._stop.set()
        if self._watcher:
            self._watcher.join()

    def _watch(self, seconds: float) -> None:
        while not self._stop.wait(seconds):
            try:
                self.refresh()
            except OSError as error:
                log.warning("cannot list the versions in %s: %s", self._models, error)

    def _try_version(self, candidate: VersionSnapshot) -> bool:
        try:
            model = self._load_or_reuse(candidate)
        except ModelRejected as error:
            self._rejected.add(candidate)
            log.error("version %s is rejected (%s): %s", candidate.path.name, error.reason, error)  # noqa: TRY400
            self._on_rejected(error.reason)
            return False
        previous, self.current, self._current_snapshot = self.current, model, candidate
        log.info("version %s is in use, runtime %s", model.version, model.runtime.name)
        self._on_loaded(model, previous)
        return True

    def _load_or_reuse(self, candidate: VersionSnapshot) -> Model:
        if self._preloaded and self._preloaded.snapshot == candidate:
            return self._preloaded.model
        return self._load(candidate.path)


def preload(models: Path, runtime: str) -> PreloadedModel | None:
    """Load the newest version for LiteRT, so that processes forked from this one share its memory.

    Returns None if there is no version, if it is rejected, or if TensorFlow has to run it: its threads do not
    survive a fork.
    """
    try:
        newest = list_versions(models)[:1]
        if runtime == "tensorflow" or not newest or not (newest[0].path / TFLITE_FILE).exists():
            return None
        model = load(newest[0].path, "litert")
    except (ModelRejected, OSError):
        return None  # a worker tries it again, and logs the reason
    return PreloadedModel(newest[0], model)


def list_versions(models: Path) -> list[VersionSnapshot]:
    """List the versions in `models`, newest first; none if the directory is missing."""
    numbers = sorted((int(path.name) for path in models.glob("*") if _is_version(path)), reverse=True)
    return [VersionSnapshot(models / str(number), _fingerprint(models / str(number))) for number in numbers]


def _is_version(path: Path) -> bool:
    name = path.name
    return name.isascii() and name.isdigit() and str(int(name)) == name and path.is_dir()


def load(path: Path, runtime: str) -> Model:
    """Verify and load the version in `path`, and warm it up.

    Args:
        path: a version's directory.
        runtime: "litert", "tensorflow", or "auto": LiteRT if the manifest lists a TFLite model, else TensorFlow.

    Raises:
        ModelRejected: a file does not match the manifest, the signature is another, or the runtime is not installed.
    """
    try:
        manifest = _verified_manifest(path)
        has_tflite = manifest is not None and TFLITE_FILE in manifest["files"]
        if runtime == "litert" and not has_tflite:
            raise ModelRejected("runtime", f"the runtime litert needs {TFLITE_FILE}, which no manifest lists")
        use_litert = has_tflite and runtime != "tensorflow"
        chosen: Runtime = LiteRT((path / TFLITE_FILE).read_bytes()) if use_litert else TensorFlow(path)
    except OSError as error:
        raise ModelRejected("files", f"a file cannot be read: {error}") from error
    model = Model(path.name, manifest, chosen)
    _warm_up(model)
    return model


def _verified_manifest(path: Path) -> Mapping[str, Any] | None:
    """Read the manifest and check the SHA-256 of every file that it lists; None if there is no manifest."""
    try:
        manifest = json.loads((path / MANIFEST).read_bytes(), parse_constant=_reject_constant)
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise ModelRejected("manifest", f"{MANIFEST} is not JSON: {error}") from None
    _check_manifest(manifest, path.name)
    for name, sha256 in manifest["files"].items():
        file = path / name
        if "\0" in name or not file.resolve().is_relative_to(path.resolve()):
            raise ModelRejected("manifest", f"{MANIFEST} lists {name!r}, which is outside of the version's directory")
        if not file.is_file():
            raise ModelRejected("checksum", f"{name} is missing")
        actual = hashlib.sha256(file.read_bytes()).hexdigest()
        if actual != sha256:
            raise ModelRejected("checksum", f"{name} has sha256 {actual}; the manifest lists {sha256}")
    return manifest  # type: ignore[no-any-return]


def _reject_constant(constant: str) -> None:
    """Python's json reads NaN and Infinity, which RFC 8259 does not allow."""
    raise ValueError(f"{constant} is not JSON")


def _check_manifest(manifest: Any, version: str) -> None:
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise ModelRejected("manifest", f"{MANIFEST} has no object `files`")
    if str(manifest.get("version")) != version:
        raise ModelRejected(
            "manifest", f"{MANIFEST} states version {manifest.get('version')}; its directory is {version}"
        )
    thresholds = manifest.get("thresholds", {})
    threshold = thresholds.get("confidence", 0.0) if isinstance(thresholds, dict) else thresholds
    if not isinstance(threshold, float | int) or not 0 <= threshold <= 1:
        raise ModelRejected("manifest", f"{MANIFEST} has the confidence threshold {threshold!r}, not one from 0 to 1")


def _warm_up(model: Model) -> None:
    """Run one image and two: the first call of a batch size is slow, and its output is checked before any request."""
    for count in (1, 2):
        outputs = model.runtime(np.zeros((count, IMAGE_SIDE, IMAGE_SIDE), np.uint8))
        if outputs.shape != (count, 10) or not np.allclose(outputs.sum(axis=1), 1, atol=1e-3):
            raise ModelRejected(
                "signature", f"the outputs for {count} blank images are not probabilities: {outputs[:1].tolist()}"
            )


def _fingerprint(path: Path) -> Fingerprint:
    """Fingerprint the files by their metadata: cheap, and different after any write."""
    entries = []
    for file in sorted(path.rglob("*")):
        try:
            status = file.stat()
        except FileNotFoundError:
            continue  # removed meanwhile: the next scan sees the rest
        entries.append((str(file.relative_to(path)), status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(entries)
