"""Tests the model store: which version becomes the current one, what is rejected and why, loading before a fork,
and swaps under load. Versions are real: SavedModel, TFLite model and manifest."""

import hashlib
import json
import logging
import os
import re
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.errors import ModelNotReady
from service.inference import model_store
from service.inference.model_store import Model, ModelStore, PreloadedModel, list_versions, load, preload
from service.inference.runtimes import ModelRejected
from service.types import Batch, Probabilities
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
        r"manifest\.json is not JSON: .+",
    ),
    "JSON array": (
        lambda path: (path / "manifest.json").write_text("[]"),
        "manifest",
        r"manifest\.json has no object `files`",
    ),
    "files null": (
        lambda path: change_manifest(path, files=None),
        "manifest",
        r"manifest\.json has no object `files`",
    ),
    "checksum that is a number": (
        lambda path: change_manifest(path, files={"model.tflite": 7}),
        "checksum",
        r"model\.tflite has sha256 \w{64}; the manifest lists 7",
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
        "(files|checksum)",  # pathlib decides
        r"(a file cannot be read: .+|a{300} is missing)",
    ),
    "threshold over 1": (
        lambda path: change_manifest(path, thresholds={"confidence": 1.01}),
        "manifest",
        r"manifest\.json has the confidence threshold 1\.01, not one from 0 to 1",
    ),
    "threshold under 0": (
        lambda path: change_manifest(path, thresholds={"confidence": -0.01}),
        "manifest",
        r"manifest\.json has the confidence threshold -0\.01, not one from 0 to 1",
    ),
    "threshold NaN": (
        lambda path: change_manifest(path, thresholds={"confidence": float("nan")}),
        "manifest",
        r"manifest\.json is not JSON: NaN is not JSON",
    ),
    "threshold that is a string": (
        lambda path: change_manifest(path, thresholds={"confidence": "0.5"}),
        "manifest",
        r"manifest\.json has the confidence threshold '0\.5', not one from 0 to 1",
    ),
    "thresholds null": (
        lambda path: change_manifest(path, thresholds=None),
        "manifest",
        r"manifest\.json has the confidence threshold None, not one from 0 to 1",
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


def test_list_versions_is_sorted_by_number_newest_first(models: Path) -> None:
    for name in ("9", "10", "2", "02", "-1", "1.0", "x", ".tmp-3"):
        (models / name).mkdir()
    (models / "11").touch()
    assert [snapshot.path for snapshot in list_versions(models)] == [models / name for name in ("10", "9", "2")]
    assert list_versions(models / "missing") == []


def test_a_fingerprint_changes_with_every_change_of_a_file(models: Path) -> None:
    version = models / "1"
    (version / "variables").mkdir(parents=True)
    file = version / "variables" / "weights"
    file.write_text("old")
    os.utime(file, ns=(0, 1_000))
    prints = [list_versions(models)[0]]
    assert list_versions(models)[0] == prints[0]
    status = file.stat()
    assert ("variables/weights", status.st_ino, 3, 1_000) in prints[0].fingerprint

    os.utime(file, ns=(0, 2_000))  # modification time alone
    prints.append(list_versions(models)[0])
    file.write_text("longer")
    os.utime(file, ns=(0, 2_000))  # size alone
    prints.append(list_versions(models)[0])
    copy = version / "copy"
    copy.write_text("longer")
    os.utime(copy, ns=(0, 2_000))
    copy.rename(file)  # inode alone
    os.utime(version / "variables", ns=(0, 2_000))
    prints.append(list_versions(models)[0])
    file.rename(version / "variables" / "other")  # name alone
    prints.append(list_versions(models)[0])
    assert len(set(prints)) == len(prints)


def test_a_file_that_disappears_during_the_scan_is_left_out(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (models / "1").mkdir()
    for name in ("a", "b", "c"):
        (models / "1" / name).touch()
    stat = Path.stat

    def stat_without_b(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if path.name == "b":
            raise FileNotFoundError(path)
        return stat(path, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", stat_without_b)
    assert [entry[0] for entry in list_versions(models)[0].fingerprint] == ["a", "c"]


def test_preload_loads_the_newest_version_with_litert(versions: Versions, models: Path) -> None:
    for number in (1, 2):
        versions.put(models, number, digit=number)
    for runtime in ("auto", "litert"):
        preloaded = preload(models, runtime)
        assert preloaded
        assert preloaded.snapshot == list_versions(models)[0]
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

    def fail(_: Path) -> list[model_store.VersionSnapshot]:
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


class WarmUpRuntime:
    """A runtime whose outputs for a batch of N images are `outputs[N]`; records the batches."""

    name = "litert"

    def __init__(self, outputs: dict[int, Probabilities]) -> None:
        self.outputs = outputs
        self.batches: list[Batch] = []

    def __call__(self, batch: Batch) -> Probabilities:
        self.batches.append(batch)
        return self.outputs[len(batch)]


def even(rows: int, columns: int = 10, total: float = 1.0) -> Probabilities:
    return np.full((rows, columns), total / columns, np.float32)


@pytest.fixture
def version_with_any_runtime(models: Path) -> Path:
    """A version whose TFLite model is an empty file: the test replaces LiteRT."""
    (models / "1").mkdir()
    (models / "1" / "model.tflite").touch()
    registry.write_manifest(models / "1", 1, {"name": "digits"})
    return models / "1"


def test_loading_warms_up_with_one_blank_image_and_with_two(
    version_with_any_runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = WarmUpRuntime({1: even(1, total=1.0005), 2: even(2, total=0.9995)})
    monkeypatch.setattr(model_store, "LiteRT", lambda _: runtime)
    assert load(version_with_any_runtime, "auto").runtime is runtime
    assert [(batch.shape, batch.dtype.name, int(batch.max())) for batch in runtime.batches] == [
        ((1, 28, 28), "uint8", 0),
        ((2, 28, 28), "uint8", 0),
    ]


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({1: even(1, total=1.01)}, r"the outputs for 1 blank images are not probabilities: \[\[0\.10"),
        ({1: even(1, total=0.99)}, r"the outputs for 1 blank images are not probabilities: \[\[0\.09"),
        ({1: even(1), 2: even(2) * [[1], [2]]}, r"the outputs for 2 blank images are not probabilities: \[\[0\.1"),
        ({1: even(1), 2: even(1)}, "the outputs for 2 blank images are not probabilities"),
        ({1: even(1, 9)}, "the outputs for 1 blank images are not probabilities"),
        ({1: even(2)}, "the outputs for 1 blank images are not probabilities"),
        ({1: even(1) * np.nan}, r"the outputs for 1 blank images are not probabilities: \[\[nan"),
        ({1: even(0)}, r"the outputs for 1 blank images are not probabilities: \[\]"),
    ],
)
def test_rejects_outputs_that_are_not_probabilities(
    outputs: dict[int, Probabilities],
    message: str,
    version_with_any_runtime: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(model_store, "LiteRT", lambda _: WarmUpRuntime(outputs))
    with pytest.raises(ModelRejected, match=rf"^{message}") as caught:
        load(version_with_any_runtime, "litert")
    assert caught.value.reason == "signature"


def test_a_model_predicts_with_its_runtime_and_threshold() -> None:
    runtime = WarmUpRuntime({2: np.eye(10, dtype=np.float32)[[3, 4]] * np.float32(0.5)})
    model = Model("1", {"thresholds": {"confidence": 0.6}}, runtime)
    predictions = model.predict(BLANK)
    assert runtime.batches[0] is BLANK
    assert (list(predictions.digits), list(predictions.uncertain)) == ([3, 4], [True, True])
    certain = replace(model, manifest={"thresholds": {"confidence": 0.5}}).predict(BLANK)
    assert list(certain.uncertain) == [False, False]


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


def test_the_watcher_survives_a_directory_that_cannot_be_read(
    versions: Versions, models: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    errors = iter([OSError("Stale file handle"), None])
    list_real_versions = model_store.list_versions

    def list_versions(path: Path) -> list[model_store.VersionSnapshot]:
        if error := next(errors, None):
            raise error
        return list_real_versions(path)

    monkeypatch.setattr(model_store, "list_versions", list_versions)
    versions.put(models, 1, digit=1)
    recorder = StoreRecorder(models)
    recorder.store.watch(0.01)
    try:
        assert recorder.changed.wait(30)
    finally:
        recorder.store.close()
    assert f"cannot list the versions in {models}: Stale file handle" in caplog.text


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
