"""The current model: find the newest version, load it, swap it in; poll for newer ones.

A request reads `store.current` once and keeps that model, so no response mixes two versions. The highest version
number wins. A version that cannot be served is rejected once, with the reason logged and counted, and the next lower
one is tried. The current model stays in use until a better one is loaded and warm.

Whatever is wrong with a version, and whatever fails while the directory is scanned, ends neither the watcher nor the
start of a worker.
"""

import importlib.util
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from service.errors import ModelNotReady
from service.inference.last_version import LastVersion
from service.inference.model import Model, load
from service.inference.rejection import ModelRejected, one_line
from service.inference.version_list import MAX_ENTRIES, VersionSnapshot, list_numbers, list_versions, take_snapshot

log = logging.getLogger(__name__)

RECHECKS_PER_SCAN = 32
"""Rejected versions of which a scan takes a snapshot, in turn, to see whether they were repaired: 32 take 3 ms."""
RETRY_SECONDS = 30.0
"""When a version is first tried again that was rejected for what may be the fault of the process; then less often."""
MAX_RETRY_SECONDS = 60.0
"""The longest delay until a version is tried again whose files have changed since it was rejected."""
PRELOAD_SECONDS = 10.0
"""How long `preload` tries further versions before it leaves the rest to the workers."""
USE_PRELOADED_SECONDS = 1.0
"""How long newer versions are tried before the preloaded model is used meanwhile: loading one takes half a second."""


class PreloadedModel(NamedTuple):
    """A model, and the snapshot of the directory that it was loaded from."""

    snapshot: VersionSnapshot
    model: Model


class _Rejection(NamedTuple):
    """The last rejection of a version, at a monotonic time, after so many attempts."""

    snapshot: VersionSnapshot
    sentence: str
    transient: bool
    attempts: int
    time: float

    def allows_retry(self, candidate: VersionSnapshot) -> bool:
        """Whether to try the version again, whose files are now those of `candidate`.

        A repaired version is tried at once; one whose files go on changing, after longer and longer delays.
        """
        seconds = time.monotonic() - self.time
        if candidate == self.snapshot:
            return self.transient and seconds >= min(RETRY_SECONDS * 2 ** min(self.attempts - 1, 10), 3600)
        return self.attempts == 1 or seconds >= min(2.0 ** min(self.attempts, 10), MAX_RETRY_SECONDS)


class ModelStore:
    """Polls a model directory and holds the current model, None until one is loaded."""

    def __init__(  # noqa: PLR0913 - all but two are by keyword
        self,
        models: Path,
        load: Callable[[Path], Model],
        *,
        on_loaded: Callable[[Model, Model | None], None],
        on_rejected: Callable[[str], None],
        preloaded: PreloadedModel | None = None,
        last_version: LastVersion | None = None,
    ) -> None:
        """Create the store; nothing is loaded before `refresh` or `watch`.

        Args:
            models: the model directory; it need not exist yet.
            load: loads the version in a directory; raises ModelRejected if it cannot be served.
            on_loaded: called with the new current model and the previous one.
            on_rejected: called with the reason, once for each rejected version, and again if its reason changes.
            preloaded: a model that is used instead of calling `load`, if its files have not changed since.
            last_version: the version that any worker loaded last, which is tried first: a new worker need not wait for
                bad versions above it.
        """
        self.current: Model | None = None
        self._models, self._load = models, load
        self._on_loaded, self._on_rejected = on_loaded, on_rejected
        self._preloaded = preloaded
        self._last_version = last_version or LastVersion()
        self._current_snapshot: VersionSnapshot | None = None
        self._rejections: dict[int, _Rejection] = {}
        self._rechecked = 0
        """How many rejected versions were checked again, by all scans together."""
        self._stop = threading.Event()
        self._ready = threading.Event()
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
        """Scan the directory once, and make the newest version that can be served the current one.

        Raises:
            OSError: the directory cannot be read.
        """
        numbers = list_numbers(self._models)
        self._forget_removed(numbers)
        if self.current is None and self._last_version.number in numbers:
            last = self._last_version.number
            self._try_version(last, take_snapshot(self._models / str(last)))
        current = int(self._current_snapshot.path.name) if self._current_snapshot else -1
        if current not in numbers:  # retired: it stays in use until another one is loaded
            current = -1
        rechecked = self._choose_rechecked(current)
        started = time.monotonic()
        for number in numbers:
            if number in self._rejections and number not in rechecked and number != current:
                continue
            candidate = take_snapshot(self._models / str(number))
            if candidate == self._current_snapshot:
                return
            if self._may_try(number, candidate) and self._try_version(number, candidate):
                return
            if self.current is None and time.monotonic() - started > USE_PRELOADED_SECONDS:
                self._use_preloaded()
            if number == current:
                return  # its files were damaged after they were loaded: the model in memory is intact

    def watch(self, seconds: float) -> None:
        """Call `refresh` now and then every `seconds`, in a thread, until `close`."""
        self._watcher = threading.Thread(target=self._watch, args=(seconds,), name="model-watch", daemon=True)
        self._watcher.start()

    def wait_until_ready(self, seconds: float) -> bool:
        """Wait until there is a model, or `watch` has found none; False if it takes longer than `seconds`."""
        return self._ready.wait(seconds)

    def close(self) -> None:
        """Stop the watcher thread; the current model stays. A version that is being loaded is not waited for."""
        self._stop.set()
        if self._watcher:
            self._watcher.join(1.0)

    def _watch(self, seconds: float) -> None:
        failure = ""
        while True:
            try:
                self.refresh()
                failure = ""
            except Exception as error:  # noqa: BLE001 - without the watcher, no version would ever be loaded again
                sentence = f"{type(error).__name__}: {one_line(error)}"
                if sentence != failure:  # once, not at every scan
                    log.error("cannot look for new versions in %s: %s", self._models, sentence)  # noqa: TRY400
                failure = sentence
            self._ready.set()
            if self._stop.wait(seconds):
                return

    def _forget_removed(self, numbers: list[int]) -> None:
        for number in self._rejections.keys() - set(numbers):
            del self._rejections[number]

    def _choose_rechecked(self, current: int) -> set[int]:
        """Choose the rejected versions above the current one that this scan checks again."""
        rejected = sorted((number for number in self._rejections if number > current), reverse=True)
        if len(rejected) <= RECHECKS_PER_SCAN:
            return set(rejected)
        start = self._rechecked % len(rejected)
        self._rechecked += RECHECKS_PER_SCAN
        return set((rejected[start:] + rejected[:start])[:RECHECKS_PER_SCAN])

    def _may_try(self, number: int, candidate: VersionSnapshot) -> bool:
        rejection = self._rejections.get(number)
        return rejection is None or rejection.allows_retry(candidate)

    def _try_version(self, number: int, candidate: VersionSnapshot) -> bool:
        try:
            model = self._load_or_reuse(candidate)
        except ModelRejected as error:
            self._reject(number, candidate, error)
            return False
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this version's: the next lower one is tried
            self._reject(number, candidate, ModelRejected("error", f"{type(error).__name__}: {one_line(error)}"))
            return False
        self._rejections.pop(number, None)
        self._use(model, candidate)
        return True

    def _use(self, model: Model, snapshot: VersionSnapshot) -> None:
        previous, self.current, self._current_snapshot = self.current, model, snapshot
        self._last_version.number = int(model.version)
        log.info("version %s is in use, runtime %s", model.version, model.runtime.name)
        try:
            self._on_loaded(model, previous)
        finally:
            self._ready.set()

    def _use_preloaded(self) -> None:
        """Use the preloaded model, unless its files have changed: a start need not wait for bad versions."""
        if self._preloaded and take_snapshot(self._preloaded.snapshot.path) == self._preloaded.snapshot:
            self._use(self._preloaded.model, self._preloaded.snapshot)

    def _load_or_reuse(self, candidate: VersionSnapshot) -> Model:
        if self._preloaded and self._preloaded.snapshot == candidate:
            return self._preloaded.model
        if not candidate.is_complete:
            raise ModelRejected("files", f"it has more than {MAX_ENTRIES} files and directories")
        return self._load(candidate.path)

    def _reject(self, number: int, candidate: VersionSnapshot, error: ModelRejected) -> None:
        if not os.path.lexists(candidate.path):
            return  # it was retired while it was loaded
        known, sentence = self._rejections.get(number), f"{error.reason}: {error}"
        attempts = known.attempts + 1 if known else 1
        self._rejections[number] = _Rejection(candidate, sentence, error.transient, attempts, time.monotonic())
        if known is None or known.sentence != sentence:
            log.error("version %s is rejected (%s): %s", number, error.reason, error)
            self._on_rejected(error.reason)


def preload(models: Path, runtime: str) -> PreloadedModel | None:
    """Load the newest version that can be served, for LiteRT: processes forked from this one share its memory.

    Returns None if there is none, or if TensorFlow has to run it: its threads do not survive a fork. A version that is
    rejected is skipped: each worker tries it again, and logs and counts the reason.
    """
    if runtime == "tensorflow":
        return None
    needs_tensorflow = runtime == "auto" and importlib.util.find_spec("tensorflow") is not None
    deadline = time.monotonic() + PRELOAD_SECONDS
    try:
        for path in list_versions(models):
            snapshot = take_snapshot(path)
            if time.monotonic() > deadline:
                break
            try:
                if snapshot.is_complete:
                    return PreloadedModel(snapshot, load(path, "litert"))
            except ModelRejected as error:
                if error.reason == "runtime" and needs_tensorflow:
                    break
    except OSError as error:
        log.warning("cannot look for versions in %s: %s", models, error)
    return None
