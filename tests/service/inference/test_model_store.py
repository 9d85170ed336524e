"""Tests the model store: which version becomes the current one, what is rejected and why, loading before a fork,
and swaps under load. Versions are real: SavedModel, TFLite model and manifest."""

import hashlib
import json
import logging
import os
import re
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from service.errors import ModelNotReady
from service.inference import model_store, version_list
from service.inference.last_version import LastVersion
from service.inference.model import Model, load
from service.inference.model_store import ModelStore, PreloadedModel, preload
from service.inference.rejection import ModelRejected
from service.inference.version_list import VersionSnapshot, take_snapshot
from tests.conftest import Versions
from training.publish import registry

BLANK = np.zeros((2, 28, 28), np.uint8)


class StoreRecorder:
    """A ModelStore over `models`, and the calls of its callbacks."""

    def __init__(self, models: Path, runtime: str = "auto", preloaded: PreloadedModel | None = None) -> None:
        self.loaded: list[tuple[str, str | None]] = []
        self.rejected: list[str] = []
        self.changed = threading.Event()
        self.store = ModelStore(
            models,
            lambda path: load(path, runtime),
            on_loaded=self._on_loaded,
            on_rejected=self.rejected.append,
            preloaded=preloaded,
        )

    def _on_loaded(self, new: Model, old: Model | None) -> None:
        self.loaded.append((new.version, old.version if old else None))
        self.changed.set()

    def refresh(self) -> Model:
        """Scan the directory once, and return the current model."""
        self.store.refresh()
        assert self.store.current
        return self.store.current


def predicted_digit(model: Model) -> int:
    return int(model.predict(BLANK).digits[0])


def change_manifest(path: Path, **values: Any) -> None:
    manifest = path / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | values))


def rewrite_checksums(path: Path) -> None:
    """Write the manifest again, with the checksums that the files have now."""
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").unlink()
    registry.write_manifest(path, manifest["version"], manifest)


def test_the_highest_version_number_is_served(versions: Versions, models: Path) -> None:
    for number in (9, 10, 2):
        versions.put(models, number, digit=number % 10)
    for name in (".tmp-x", ".retired-12", "013", "+14", "v15", "16.0", "١٧"):  # noqa: RUF001 - digits, but no number here
        (models / "2").rename(models / name)
        versions.put(models, 2, digit=2)
    (models / "18").write_text("not a directory")
    recorder = StoreRecorder(models)
    model = recorder.refresh()
    assert (model.version, model.runtime.name, predicted_digit(model)) == ("10", "litert", 0)
    assert recorder.refresh() is model
    assert (recorder.loaded, recorder.rejected) == ([("10", None)], [])


@pytest.mark.parametrize("exists", [True, False])
def test_without_a_version_there_is_no_current_model(models: Path, *, exists: bool) -> None:
    if not exists:
        models.rmdir()
    recorder = StoreRecorder(models)
    recorder.store.refresh()
    assert recorder.store.current is None
    assert recorder.rejected == []
    with pytest.raises(ModelNotReady, match=r"^no model is loaded yet$"):
        recorder.store.require_current()


def test_require_current_returns_the_current_model(versions: Versions, models: Path) -> None:
    versions.put(models, 1, digit=4)
    recorder = StoreRecorder(models)
    assert recorder.store.current is None
    model = recorder.refresh()
    assert recorder.store.require_current() is model


def test_the_setting_selects_the_runtime(versions: Versions, models: Path) -> None:
    versions.put(models, 1, digit=4)
    for runtime, name in (("auto", "litert"), ("litert", "litert"), ("tensorflow", "tensorflow")):
        model = StoreRecorder(models, runtime).refresh()
        assert (model.runtime.name, predicted_digit(model), model.confidence_threshold) == (name, 4, 0.5)


def flip_a_byte_of_the_tflite_model(path: Path) -> None:
    content = bytearray((path / "model.tflite").read_bytes())
    content[len(content) // 2] ^= 1
    (path / "model.tflite").write_bytes(content)


def truncate_the_tflite_model_and_rewrite_checksums(path: Path) -> None:
    (path / "model.tflite").write_bytes((path / "model.tflite").read_bytes()[:100])
    rewrite_checksums(path)


DAMAGED_VERSIONS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "flipped byte": (
        flip_a_byte_of_the_tflite_model,
        "checksum",
        r"model\.tflite has sha256 \w{64}; the manifest lists \w{64}",
    ),
    "missing file": (lambda path: (path / "saved_model.pb").unlink(), "checksum", r"saved_model\.pb is missing"),
    "truncated TFLite model": (
        truncate_the_tflite_model_and_rewrite_checksums,
        "signature",
        "the TFLite model cannot be loaded: .+",
    ),
    "truncated JSON": (
        lambda path: (path / "manifest.json").write_text('{"files": '),
        "manifest",
        r"manifest\.json is not JSON: .+",
    ),
    "invalid UTF-8": (
        lambda path: (path / "manifest.json").write_bytes(b'"\xff"'),
        "manifest",
        r"manifest\.json is not JSON: .+",
    ),
    "deeply nested JSON": (
        lambda path: (path / "manifest.json").write_text("[" * 100_000),
        "manifest",
        r"manifest\.json is nested too deeply",
    ),
    "another checksum": (
        lambda path: change_manifest(path, files={"model.tflite": "7\n"}),
        "checksum",
        r"model\.tflite has sha256 \w{64}; the manifest lists '7\\n'",
    ),
    "another version": (
        lambda path: change_manifest(path, version=3),
        "manifest",
        r"manifest\.json states version 3; its directory is 2",
    ),
    "file outside of the directory": (
        lambda path: change_manifest(path, files={"../1/model.tflite": ""}),
        "manifest",
        r"manifest\.json lists '\.\./1/model\.tflite', which is outside of the version's directory",
    ),
    "file name with NUL": (
        lambda path: change_manifest(path, files={"a\0b": ""}),
        "manifest",
        r"manifest\.json lists 'a\\x00b', which is outside of the version's directory",
    ),
    "file name that is too long": (
        lambda path: change_manifest(path, files={"a" * 300: ""}),
        "checksum",
        r"a{300} is missing",
    ),
}


@pytest.mark.parametrize("damage", DAMAGED_VERSIONS)
def test_rejects_a_damaged_version_once_and_loads_it_when_repaired(
    damage: str, versions: Versions, models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    apply_damage, reason, message = DAMAGED_VERSIONS[damage]
    versions.put(models, 1, digit=1)
    recorder = StoreRecorder(models)
    recorder.refresh()
    versions.put(models, 2, digit=2)
    apply_damage(models / "2")
    assert [recorder.refresh().version for _ in range(3)] == ["1", "1", "1"]
    assert len(recorder.rejected) == 1
    assert re.fullmatch(reason, recorder.rejected[0])
    (record,) = (record for record in caplog.records if record.levelno == logging.ERROR)
    assert record.exc_info is None
    assert re.fullmatch(rf"version 2 is rejected \({reason}\): {message}", record.getMessage(), re.DOTALL)

    (models / "2").rename(models / ".retired-2")
    versions.put(models, 2, digit=2)
    model = recorder.refresh()
    assert (model.version, predicted_digit(model), len(recorder.rejected)) == ("2", 2, 1)
    assert recorder.loaded == [("1", None), ("2", "1")]


def test_a_rejected_version_that_was_removed_is_tried_again_when_it_is_back(versions: Versions, models: Path) -> None:
    versions.put(models, 1, digit=1)
    flip_a_byte_of_the_tflite_model(versions.put(models, 2, digit=2))
    recorder = StoreRecorder(models)
    for _ in range(2):
        recorder.refresh()
        (models / "2").rename(models / ".retired-2")
        recorder.refresh()
        (models / ".retired-2").rename(models / "2")
    assert recorder.rejected == ["checksum", "checksum"]


@pytest.mark.parametrize("threshold", [0, 0.0, 0.25, 1, 1.0])
def test_reads_the_confidence_threshold_of_the_manifest(versions: Versions, models: Path, threshold: float) -> None:
    versions.put(models, 1, digit=1, thresholds={"confidence": threshold})
    assert StoreRecorder(models).refresh().confidence_threshold == threshold


@pytest.mark.parametrize("thresholds", [{}, {"other": 0.7}])
def test_without_a_threshold_nothing_is_uncertain(
    versions: Versions, models: Path, thresholds: dict[str, float]
) -> None:
    versions.put(models, 1, digit=1, thresholds=thresholds)
    model = StoreRecorder(models).refresh()
    assert model.confidence_threshold == 0
    assert list(model.predict(BLANK).uncertain) == [False, False]


def test_logs_the_version_and_the_runtime_in_use(
    versions: Versions, models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    versions.put(models, 1, digit=1)
    with caplog.at_level(logging.INFO, "service.inference.model_store"):
        StoreRecorder(models).refresh()
    assert [record.getMessage() for record in caplog.records] == ["version 1 is in use, runtime litert"]


def test_the_checksums_are_those_of_hashlib(versions: Versions, models: Path) -> None:
    """The message of a mismatch names the file's real SHA-256."""
    path = versions.put(models, 1, digit=1)
    flip_a_byte_of_the_tflite_model(path)
    actual = hashlib.sha256((path / "model.tflite").read_bytes()).hexdigest()
    with pytest.raises(ModelRejected, match=f"model.tflite has sha256 {actual}; the manifest lists"):
        load(path, "auto")


def test_preload_loads_the_newest_version_with_litert(versions: Versions, models: Path) -> None:
    for number in (1, 2):
        versions.put(models, number, digit=number)
    for runtime in ("auto", "litert"):
        preloaded = preload(models, runtime)
        assert preloaded
        assert preloaded.snapshot == take_snapshot(models / "2")
        assert (preloaded.model.version, preloaded.model.runtime.name) == ("2", "litert")
        assert predicted_digit(preloaded.model) == 2


def test_preload_gives_none_where_a_worker_has_to_load(
    versions: Versions, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert preload(models, "auto") is None
    assert preload(models / "missing", "auto") is None
    path = versions.put(models, 1, digit=1)
    assert preload(models, "tensorflow") is None
    flip_a_byte_of_the_tflite_model(path)
    assert preload(models, "auto") is None
    (path / "model.tflite").unlink()
    assert preload(models, "auto") is None
    change_manifest(versions.put(models, 2, digit=2), files={})
    assert preload(models, "auto") is None  # the TFLite model is not listed, so TensorFlow has to run the version

    def fail(_: Path) -> list[Path]:
        raise OSError("Stale file handle")

    monkeypatch.setattr(model_store, "list_versions", fail)
    assert preload(models, "auto") is None


def test_a_preloaded_model_is_used_unless_its_files_have_changed(versions: Versions, models: Path) -> None:
    path = versions.put(models, 1, digit=1)
    preloaded = preload(models, "auto")
    assert preloaded
    assert StoreRecorder(models, preloaded=preloaded).refresh() is preloaded.model
    os.utime(path / "manifest.json", ns=(0, 0))
    recorder = StoreRecorder(models, preloaded=preloaded)
    assert recorder.refresh() is not preloaded.model
    assert recorder.loaded == [("1", None)]


def test_a_version_repaired_in_place_is_loaded(versions: Versions, models: Path) -> None:
    path = versions.put(models, 1, digit=1)
    intact = (path / "model.tflite").read_bytes()
    flip_a_byte_of_the_tflite_model(path)
    recorder = StoreRecorder(models)
    recorder.store.refresh()
    assert (recorder.store.current, recorder.rejected) == (None, ["checksum"])
    (path / "model.tflite").write_bytes(intact)
    assert predicted_digit(recorder.refresh()) == 1


def test_the_next_lower_version_is_loaded_if_the_highest_is_rejected(versions: Versions, models: Path) -> None:
    for number in (1, 2, 3):
        versions.put(models, number, digit=number)
    flip_a_byte_of_the_tflite_model(models / "3")
    recorder = StoreRecorder(models)
    assert predicted_digit(recorder.refresh()) == 2
    assert recorder.rejected == ["checksum"]


def test_retiring_a_version_rolls_back_and_restoring_it_rolls_forward(versions: Versions, models: Path) -> None:
    for number in (1, 2):
        versions.put(models, number, digit=number)
    recorder = StoreRecorder(models)
    assert predicted_digit(recorder.refresh()) == 2
    registry.retire(models, 2)
    assert predicted_digit(recorder.refresh()) == 1
    (models / ".retired-2").rename(models / "2")
    assert predicted_digit(recorder.refresh()) == 2
    assert recorder.loaded == [("2", None), ("1", "2"), ("2", "1")]
    assert recorder.rejected == []


def test_the_current_model_stays_if_no_version_is_left(versions: Versions, models: Path) -> None:
    versions.put(models, 1, digit=1)
    recorder = StoreRecorder(models)
    model = recorder.refresh()
    registry.retire(models, 1)
    assert recorder.refresh() is model


def test_a_current_version_damaged_on_disk_stays_in_use(versions: Versions, models: Path) -> None:
    """It was intact when it was loaded; the store does not step back to the lower version."""
    for number in (1, 2):
        versions.put(models, number, digit=number)
    recorder = StoreRecorder(models)
    recorder.refresh()
    flip_a_byte_of_the_tflite_model(models / "2")
    assert [predicted_digit(recorder.refresh()) for _ in range(2)] == [2, 2]
    assert recorder.rejected == ["checksum"]


def test_a_version_without_a_manifest_is_served_by_tensorflow(versions: Versions, models: Path) -> None:
    (versions.put(models, 1, digit=6) / "manifest.json").unlink()
    model = StoreRecorder(models).refresh()
    assert (model.runtime.name, model.manifest, model.confidence_threshold, predicted_digit(model)) == (
        "tensorflow",
        None,
        0,
        6,
    )


def test_a_tflite_model_that_the_manifest_does_not_list_is_ignored(versions: Versions, models: Path) -> None:
    path = versions.put(models, 1, digit=6)
    files = json.loads((path / "manifest.json").read_text())["files"]
    change_manifest(path, files={name: sha256 for name, sha256 in files.items() if name != "model.tflite"})
    (path / "model.tflite").write_text("not a TFLite model")
    model = StoreRecorder(models).refresh()
    assert (model.runtime.name, predicted_digit(model)) == ("tensorflow", 6)


@pytest.fixture
def without_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)


@pytest.mark.parametrize(
    ("runtime", "message"),
    [
        ("auto", "the SavedModel needs TensorFlow, which is not installed"),
        ("litert", "the runtime litert needs model.tflite, which no manifest lists"),
    ],
)
@pytest.mark.usefixtures("without_tensorflow")
def test_rejects_a_version_whose_runtime_is_not_available(
    runtime: str, message: str, versions: Versions, models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    versions.put(models, 1, digit=1)
    (versions.put(models, 2, digit=2) / "manifest.json").unlink()
    recorder = StoreRecorder(models, runtime)
    assert predicted_digit(recorder.refresh()) == 1
    assert recorder.rejected == ["runtime"]
    assert f"version 2 is rejected (runtime): {message}" in caplog.text.splitlines()[-1]


def test_the_watcher_loads_new_versions_until_it_is_closed(versions: Versions, models: Path) -> None:
    recorder = StoreRecorder(models)
    recorder.store.watch(0.01)
    try:
        for number in (1, 2):
            versions.put(models, number, digit=number)
            assert recorder.changed.wait(30)
            recorder.changed.clear()
            assert recorder.store.current
            assert recorder.store.current.version == str(number)
    finally:
        recorder.store.close()
    assert "model-watch" not in {thread.name for thread in threading.enumerate()}
    assert recorder.store.current


@pytest.mark.parametrize(
    "error", [OSError("Stale file handle"), RuntimeError("Symlink loop"), UnicodeEncodeError("utf-8", "x", 0, 1, "?")]
)
def test_the_watcher_survives_any_error_and_logs_it_once(
    error: Exception,
    versions: Versions,
    models: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    errors = iter([error, error, error])
    list_real_numbers = version_list.list_numbers

    def list_numbers(path: Path) -> list[int]:
        if error := next(errors, None):
            raise error
        return list_real_numbers(path)

    monkeypatch.setattr(model_store, "list_numbers", list_numbers)
    versions.put(models, 1, digit=1)
    recorder = StoreRecorder(models)
    recorder.store.watch(0.01)
    try:
        assert recorder.store.wait_until_ready(30)
        assert recorder.changed.wait(30)
    finally:
        recorder.store.close()
    (record,) = (record for record in caplog.records if record.levelno >= logging.ERROR)
    assert record.getMessage().startswith(f"cannot look for new versions in {models}: {type(error).__name__}: ")
    assert record.exc_info is None


def test_the_watcher_survives_callbacks_that_fail(versions: Versions, models: Path) -> None:
    """Metrics may fail, for example because a disk is full."""
    versions.put(models, 1, digit=1)
    versions.put(models, 2, digit=2, files=None)
    loaded = threading.Semaphore(0)

    def fail(*_: object) -> None:
        loaded.release()
        raise OSError("No space left on device")

    store = ModelStore(models, lambda path: load(path, "auto"), on_loaded=fail, on_rejected=fail)
    store.watch(0.01)
    try:
        for expected in ("1", "3"):
            for _ in range(2 if expected == "1" else 1):  # the rejection and the model
                assert loaded.acquire(timeout=30)
            assert store.require_current().version == expected
            versions.put(models, 3, digit=3) if expected == "1" else None
    finally:
        store.close()


def test_any_exception_of_loading_rejects_the_version_and_the_next_lower_one_is_loaded(
    versions: Versions, models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in (1, 2):
        versions.put(models, number, digit=number)

    def load_or_fail(path: Path) -> Model:
        if path.name == "2":
            raise OverflowError("int too large\nto convert")
        return load(path, "auto")

    rejected: list[str] = []
    store = ModelStore(models, load_or_fail, on_loaded=lambda *_: None, on_rejected=rejected.append)
    for _ in range(2):
        store.refresh()
    assert store.require_current().version == "1"
    assert rejected == ["error"]
    (record,) = (record for record in caplog.records if record.levelno >= logging.ERROR)
    assert record.getMessage() == "version 2 is rejected (error): OverflowError: int too large to convert"


def test_a_version_retired_while_it_is_loaded_is_not_rejected(versions: Versions, models: Path) -> None:
    versions.put(models, 1, digit=1)

    def retire_and_fail(path: Path) -> Model:
        path.rename(models / ".retired-1")
        raise ModelRejected("files", "a file is missing")

    rejected: list[str] = []
    store = ModelStore(models, retire_and_fail, on_loaded=lambda *_: None, on_rejected=rejected.append)
    store.refresh()
    assert rejected == []


def test_a_version_rejected_for_a_fault_of_the_process_is_tried_again_later(
    versions: Versions, models: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    versions.put(models, 1, digit=1)
    now, attempts = 1000.0, 0
    monkeypatch.setattr(model_store, "time", SimpleNamespace(monotonic=lambda: now))

    def load_at_the_third_attempt(path: Path) -> Model:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise ModelRejected("files", "a file cannot be read: Too many open files", transient=True)
        return load(path, "auto")

    rejected: list[str] = []
    store = ModelStore(models, load_at_the_third_attempt, on_loaded=lambda *_: None, on_rejected=rejected.append)
    seen = []
    for now in (1000.0, 1001.0, 1029.9, 1030.0, 1089.9, 1090.0):  # noqa: B007 - the store reads it
        store.refresh()
        seen.append(attempts)
    assert seen == [1, 1, 1, 2, 2, 3]
    assert store.require_current().version == "1"
    assert rejected == ["files"]
    assert len([record for record in caplog.records if record.levelno >= logging.ERROR]) == 1


def test_rejected_versions_are_checked_again_in_turn(
    versions: Versions, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scan takes a snapshot of a few of them only: a thousand would cost a worker a tenth of a core."""
    versions.put(models, 1, digit=1)
    intact = {number: (models / str(number)) for number in range(2, 8)}
    for path in intact.values():
        path.mkdir()
        (path / "manifest.json").write_text("[]")
    monkeypatch.setattr(model_store, "RECHECKS_PER_SCAN", 2)
    recorder = StoreRecorder(models)
    assert recorder.refresh().version == "1"
    assert recorder.rejected == ["manifest"] * 6
    taken: list[str] = []

    def record_snapshot(path: Path) -> VersionSnapshot:
        taken.append(path.name)
        return take_snapshot(path)

    monkeypatch.setattr(model_store, "take_snapshot", record_snapshot)
    for _ in range(4):
        recorder.refresh()
    assert taken == ["7", "6", "1", "5", "4", "1", "3", "2", "1", "7", "6", "1"]
    (models / "3" / "manifest.json").unlink()
    shutil.copytree(models / "1", models / "3", dirs_exist_ok=True)
    change_manifest(models / "3", version=3)
    for _ in range(3):
        recorder.refresh()
    assert recorder.refresh().version == "3"
    assert recorder.rejected == ["manifest"] * 6


def test_a_version_whose_files_go_on_changing_is_tried_less_and_less_often_and_logged_once(
    models: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (models / "1").mkdir()
    now, attempts = 0.0, list[float]()
    monkeypatch.setattr(model_store, "time", SimpleNamespace(monotonic=lambda: now))

    def reject(_: Path) -> Model:
        attempts.append(now)
        raise ModelRejected("files", "it is incomplete")

    rejected: list[str] = []
    store = ModelStore(models, reject, on_loaded=lambda *_: None, on_rejected=rejected.append)
    for _ in range(300):
        (models / "1" / str(now)).touch()
        store.refresh()
        now += 1
    assert attempts == [0, 1, 5, 13, 29, 61, 121, 181, 241]
    assert rejected == ["files"]
    assert len([record for record in caplog.records if record.levelno >= logging.ERROR]) == 1


def test_the_preloaded_model_is_used_while_versions_above_it_are_tried(
    versions: Versions, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_store, "USE_PRELOADED_SECONDS", 0)
    versions.put(models, 1, digit=1)
    preloaded = preload(models, "auto")
    for number in (2, 3):
        (models / str(number)).mkdir()
    second, release = threading.Event(), threading.Event()

    def reject_slowly(path: Path) -> Model:
        if path.name == "2":
            second.set()
            assert release.wait(30)
        raise ModelRejected("crash", "SIGSEGV")

    rejected: list[str] = []
    store = ModelStore(
        models, reject_slowly, on_loaded=lambda *_: None, on_rejected=rejected.append, preloaded=preloaded
    )
    store.watch(0.01)
    try:
        assert second.wait(30)
        assert store.wait_until_ready(30)
        assert preloaded
        assert store.current is preloaded.model
    finally:
        release.set()
        store.close()
    assert rejected == ["crash", "crash"]
    assert store.current is preloaded.model


def test_a_repaired_version_is_loaded_after_a_higher_one_was_retired(versions: Versions, models: Path) -> None:
    change_manifest(versions.put(models, 1, digit=1), metrics=None)
    recorder = StoreRecorder(models)
    recorder.store.refresh()
    versions.put(models, 2, digit=2)
    assert recorder.refresh().version == "2"
    registry.retire(models, 2)
    assert recorder.refresh().version == "2"
    change_manifest(models / "1", metrics={})
    assert recorder.refresh().version == "1"
    assert recorder.rejected == ["manifest"]


def test_closing_does_not_wait_for_a_version_that_is_being_loaded(models: Path) -> None:
    (models / "1").mkdir()
    started, release = threading.Event(), threading.Event()

    def wait(_: Path) -> Model:
        started.set()
        release.wait(60)
        raise ModelRejected("files", "late")

    store = ModelStore(models, wait, on_loaded=lambda *_: None, on_rejected=lambda _: None)
    store.watch(0.01)
    assert started.wait(30)
    assert not store.wait_until_ready(0)
    store.close()
    release.set()
    assert store.wait_until_ready(30)


def test_preload_skips_versions_that_cannot_be_served(versions: Versions, models: Path) -> None:
    for number in (1, 2, 3):
        versions.put(models, number, digit=number)
    change_manifest(models / "3", metrics=None)
    (models / "4").symlink_to("4")
    (models / "5").mkdir()
    for index in range(1001):
        (models / "5" / str(index)).touch()
    preloaded = preload(models, "litert")
    assert preloaded
    assert preloaded.model.version == "2"
    recorder = StoreRecorder(models, preloaded=preloaded)
    assert recorder.refresh() is preloaded.model
    assert recorder.rejected == ["files", "files", "manifest"]


def test_no_prediction_mixes_two_versions_during_swaps(versions: Versions, models: Path) -> None:
    versions.put(models, 1, digit=1)
    recorder = StoreRecorder(models)
    recorder.refresh()
    seen: set[str] = set()
    wrong: list[object] = []
    progress, finished = threading.Condition(), threading.Event()

    def predict() -> None:
        while not finished.is_set():
            model = recorder.store.current
            assert model
            digits = set(model.predict(BLANK).digits)
            with progress:
                seen.add(model.version)
                if digits != {int(model.version) % 10}:
                    wrong.append((model.version, digits))
                progress.notify_all()

    threads = [threading.Thread(target=predict) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for number in range(2, 32):
            versions.put(models, number, digit=number % 10)
            recorder.refresh()
            with progress:
                assert progress.wait_for(lambda: str(number) in seen, timeout=30)  # noqa: B023 - it returns within this iteration
    finally:
        finished.set()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert seen == {str(number) for number in range(1, 32)}


def test_a_new_worker_tries_the_version_first_that_another_one_has_loaded(versions: Versions, models: Path) -> None:
    """Versions above it that are bad, or take long to try, delay no start; the next scan looks at them."""
    for number in (1, 2, 3, 4):
        versions.put(models, number, digit=number)
    last_version = LastVersion.create()
    order: list[str] = []

    def load_all_but_three(path: Path) -> Model:
        order.append(path.name)
        if path.name == "3":
            raise ModelRejected("files", "it is bad")
        return load(path, "auto")

    def new_worker() -> ModelStore:
        return ModelStore(
            models,
            load_all_but_three,
            on_loaded=lambda *_: None,
            on_rejected=lambda _: None,
            last_version=last_version,
        )

    shutil.rmtree(models / "4")
    first = new_worker()
    first.refresh()
    assert (order, last_version.number) == (["3", "2"], 2)
    second = new_worker()
    second.refresh()
    assert order == ["3", "2", "2", "3"]
    assert second.require_current().version == "2"
    shutil.rmtree(models / "2")
    third = new_worker()
    third.refresh()
    assert order[4:] == ["3", "1"]
    assert last_version.number == 1
