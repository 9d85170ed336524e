"""The model in use: find the newest version, verify it, load it, warm it up, swap it in, keep watching.

A request takes `store.current` once and uses that model to its end, so a swap never shows in an answer.
The highest number wins; one that cannot be served is refused once, with the reason logged and counted,
and the next lower one is looked at. What serves goes on serving until something better is ready.
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
from service.types import Batch

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
TFLITE_FILE = "model.tflite"

Fingerprint = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True)
class Model:
    """A version that is loaded and warm."""

    version: str
    manifest: Mapping[str, Any] | None
    runtime: Runtime

    @property
    def confidence_threshold(self) -> float:
        """Answers of a lower confidence are uncertain; 0 where the manifest sets no threshold."""
        return float((self.manifest or {}).get("thresholds", {}).get("confidence", 0.0))

    def predict(self, batch: Batch) -> Predictions:
        """The predictions for a batch uint8 [N, 28, 28], N >= 1."""
        return Predictions.from_probabilities(self.runtime(batch), self.confidence_threshold)


@dataclass(frozen=True)
class VersionSnapshot:
    """A version's directory as it was seen: another fingerprint means that its files have changed."""

    path: Path
    fingerprint: Fingerprint


class PreloadedModel(NamedTuple):
    """A model, and the directory that it was loaded from."""

    snapshot: VersionSnapshot
    model: Model


class ModelStore:
    """Watches a model directory and holds the model in use, or None."""

    def __init__(
        self,
        models: Path,
        load: Callable[[Path], Model],
        *,
        on_loaded: Callable[[Model, Model | None], None],
        on_rejected: Callable[[str], None],
        preloaded: PreloadedModel | None = None,
    ) -> None:
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
            NotReady: there is none.
        """
        if self.current is None:
            raise ModelNotReady("no model is loaded yet")
        return self.current

    def refresh(self) -> None:
        """Look once: make the newest version that can be served the current one."""
        there = list_versions(self._models)
        self._rejected &= set(there)
        for candidate in there:
            if candidate == self._current_snapshot:
                return
            if candidate not in self._rejected and self._try_version(candidate):
                return
            if self._current_snapshot and candidate.path == self._current_snapshot.path:
                return  # its files were changed for the worse: what was loaded from them is whole

    def watch(self, seconds: float) -> None:
        """Refresh every so many seconds, in a thread, until `close`."""
        self._watcher = threading.Thread(target=self._watch, args=(seconds,), name="model-watch", daemon=True)
        self._watcher.start()

    def close(self) -> None:
        """Stop watching; the current model stays."""
        self._stop.set()
        if self._watcher:
            self._watcher.join()

    def _watch(self, seconds: float) -> None:
        while not self._stop.wait(seconds):
            try:
                self.refresh()
            except OSError as error:
                log.warning("cannot look for versions in %s: %s", self._models, error)

    def _try_version(self, candidate: VersionSnapshot) -> bool:
        try:
            model = self._load_or_reuse(candidate)
        except ModelRejected as error:
            self._rejected.add(candidate)
            log.error("version %s refused (%s): %s", candidate.path.name, error.reason, error)  # noqa: TRY400
            self._on_rejected(error.reason)
            return False
        before, self.current, self._current_snapshot = self.current, model, candidate
        log.info("version %s is in use, on %s", model.version, model.runtime.name)
        self._on_loaded(model, before)
        return True

    def _load_or_reuse(self, candidate: VersionSnapshot) -> Model:
        if self._preloaded and self._preloaded.snapshot == candidate:
            return self._preloaded.model
        return self._load(candidate.path)


def preload(models: Path, runtime: str) -> PreloadedModel | None:
    """Load the newest version if LiteRT is to run it: a process forked from this one shares its memory.

    None where there is none, or it is refused, or TensorFlow is to run it, whose threads do not survive a fork.
    """
    try:
        newest = list_versions(models)[:1]
        if runtime == "tensorflow" or not newest or not (newest[0].path / TFLITE_FILE).exists():
            return None
        model = load(newest[0].path, "litert")
    except (ModelRejected, OSError):
        return None  # a worker meets it again, and says so
    return PreloadedModel(newest[0], model)


def list_versions(models: Path) -> list[VersionSnapshot]:
    """The versions in `models`, newest first; a missing directory has none."""
    numbers = sorted((int(path.name) for path in models.glob("*") if _is_version(path)), reverse=True)
    return [VersionSnapshot(models / str(number), _fingerprint(models / str(number))) for number in numbers]


def _is_version(path: Path) -> bool:
    name = path.name
    return name.isascii() and name.isdigit() and str(int(name)) == name and path.is_dir()


def load(path: Path, runtime: str) -> Model:
    """Verify and load the version in `path`, and run it once.

    Args:
        path: a version's directory.
        runtime: "litert", "tensorflow", or "auto": the plan if the manifest vouches for one.

    Raises:
        Unfit: a file does not match the manifest, the signature does not fit, or the runtime is not there.
    """
    try:
        manifest = _verified_manifest(path)
        plan = manifest is not None and TFLITE_FILE in manifest["files"]
        if runtime == "litert" and not plan:
            raise ModelRejected(
                "runtime", f"it has no manifest that lists {TFLITE_FILE}, which the runtime litert needs"
            )
        use_plan = plan and runtime != "tensorflow"
        chosen: Runtime = LiteRT((path / TFLITE_FILE).read_bytes()) if use_plan else TensorFlow(path)
    except OSError as error:
        raise ModelRejected("files", f"a file cannot be read: {error}") from error
    model = Model(path.name, manifest, chosen)
    _warm_up(model)
    return model


def _verified_manifest(path: Path) -> Mapping[str, Any] | None:
    """The manifest, once every file that it lists has the SHA-256 that it states; None if there is none."""
    try:
        manifest = json.loads((path / MANIFEST).read_bytes(), parse_constant=_no_json)
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise ModelRejected("manifest", f"{MANIFEST} is not JSON: {error}") from None
    _check_manifest(manifest, path.name)
    for name, sha256 in manifest["files"].items():
        file = path / name
        if "\0" in name or not file.resolve().is_relative_to(path.resolve()):
            raise ModelRejected("manifest", f"{MANIFEST} lists {name!r}, which is outside of the version")
        if not file.is_file():
            raise ModelRejected("checksum", f"{name} is missing")
        found = hashlib.sha256(file.read_bytes()).hexdigest()
        if found != sha256:
            raise ModelRejected("checksum", f"{name} has sha256 {found}, the manifest says {sha256}")
    return manifest  # type: ignore[no-any-return]


def _no_json(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _check_manifest(manifest: Any, version: str) -> None:
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise ModelRejected("manifest", f"{MANIFEST} has no object `files`")
    if str(manifest.get("version")) != version:
        raise ModelRejected(
            "manifest", f"{MANIFEST} is of version {manifest.get('version')}, its directory is {version}"
        )
    thresholds = manifest.get("thresholds", {})
    threshold = thresholds.get("confidence", 0.0) if isinstance(thresholds, dict) else thresholds
    if not isinstance(threshold, float | int) or not 0 <= threshold <= 1:
        raise ModelRejected("manifest", f"{MANIFEST} has the confidence threshold {threshold!r}; 0 to 1 is allowed")


def _warm_up(model: Model) -> None:
    for count in (1, 2):
        answers = model.runtime(np.zeros((count, 28, 28), np.uint8))
        if answers.shape != (count, 10) or not np.allclose(answers.sum(axis=1), 1, atol=1e-3):
            raise ModelRejected("signature", f"its answers to blank images are no probabilities: {answers[0].tolist()}")


def _fingerprint(path: Path) -> Fingerprint:
    """Name, inode, size and time of change of every file: cheap, and different after any write."""
    marks = []
    for file in sorted(path.rglob("*")):
        try:
            status = file.stat()
        except FileNotFoundError:
            continue  # being removed: the next look sees what is left
        marks.append((str(file.relative_to(path)), status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(marks)
