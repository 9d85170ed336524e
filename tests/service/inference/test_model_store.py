import json
import logging
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.inference import model_store
from service.inference.model_store import Model, ModelStore, load
from service.types import Batch, Probabilities
from tests.conftest import Versions
from training.publish import registry

BLANK = np.zeros((2, 28, 28), np.uint8)


class Watched:
    """A store over `models`, and what it told."""

    def __init__(self, models: Path, runtime: str = "auto") -> None:
        self.loaded: list[tuple[str, str | None]] = []
        self.refused: list[str] = []
        self.changed = threading.Event()
        self.store = ModelStore(
            models, lambda path: load(path, runtime), on_loaded=self._on_loaded, on_rejected=self.refused.append
        )

    def _on_loaded(self, new: Model, old: Model | None) -> None:
        self.loaded.append((new.version, old.version if old else None))
        self.changed.set()

    def refresh(self) -> Model:
        """Look once, and return the model in use."""
        self.store.refresh()
        assert self.store.current
        return self.store.current


def digit_of(model: Model) -> int:
    return int(model.predict(BLANK).digits[0])


def change_manifest(path: Path, **values: Any) -> None:
    manifest = path / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | values))


def seal_again(path: Path) -> None:
    """Make the manifest vouch for the files as they are now."""
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").unlink()
    registry.write_manifest(path, manifest["version"], manifest)


def test_the_highest_number_is_served(versions: Versions, models: Path) -> None:
    for number in (9, 10, 2):
        versions.put(models, number, digit=number % 10)
    for name in (".tmp-x", ".retired-12", "013", "+14", "v15", "16.0", "١٧"):  # noqa: RUF001 - digits, but no number here
        (models / "2").rename(models / name)
        versions.put(models, 2, digit=2)
    (models / "18").write_text("not a directory")
    watched = Watched(models)
    model = watched.refresh()
    assert (model.version, model.runtime.name, digit_of(model)) == ("10", "litert", 0)
    assert watched.refresh() is model
    assert (watched.loaded, watched.refused) == ([("10", None)], [])


@pytest.mark.parametrize("there", [True, False])
def test_without_a_version_nothing_is_served(models: Path, *, there: bool) -> None:
    if not there:
        models.rmdir()
    watched = Watched(models)
    watched.store.refresh()
    assert watched.store.current is None
    assert watched.refused == []


def test_the_runtime_is_chosen(versions: Versions, models: Path) -> None:
    versions.put(models, 1, digit=4)
    for runtime, name in (("auto", "litert"), ("litert", "litert"), ("tensorflow", "tensorflow")):
        model = Watched(models, runtime).refresh()
        assert (model.runtime.name, digit_of(model), model.confidence_threshold) == (name, 4, 0.5)


def flip_a_byte_of_the_plan(path: Path) -> None:
    plan = bytearray((path / "model.tflite").read_bytes())
    plan[len(plan) // 2] ^= 1
    (path / "model.tflite").write_bytes(plan)


def cut_the_plan_off_and_vouch_for_it(path: Path) -> None:
    (path / "model.tflite").write_bytes((path / "model.tflite").read_bytes()[:100])
    seal_again(path)


BREAK: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "a flipped byte": (
        flip_a_byte_of_the_plan,
        "checksum",
        r"model.tflite has sha256 \w{64}, the manifest says \w{64}",
    ),
    "a file gone": (lambda path: (path / "saved_model.pb").unlink(), "checksum", "saved_model.pb is missing"),
    "a plan that is none": (cut_the_plan_off_and_vouch_for_it, "signature", "the plan cannot be loaded"),
    "broken JSON": (lambda path: (path / "manifest.json").write_text('{"files": '), "manifest", "is not JSON"),
    "invalid UTF-8": (lambda path: (path / "manifest.json").write_bytes(b'"\xff"'), "manifest", "is not JSON"),
    "deep JSON": (lambda path: (path / "manifest.json").write_text("[" * 100_000), "manifest", "manifest.json"),
    "a list": (lambda path: (path / "manifest.json").write_text("[]"), "manifest", "no object `files`"),
    "no files": (lambda path: change_manifest(path, files=None), "manifest", "no object `files`"),
    "a sum that is none": (lambda path: change_manifest(path, files={"model.tflite": 7}), "checksum", "model.tflite"),
    "another version": (lambda path: change_manifest(path, version=3), "manifest", "version 3, its directory is 2"),
    "a file outside": (
        lambda path: change_manifest(path, files={"../1/model.tflite": ""}),
        "manifest",
        "outside of the version",
    ),
    "a name that is none": (lambda path: change_manifest(path, files={"a\0b": ""}), "", "refused"),
    "a name too long": (lambda path: change_manifest(path, files={"a" * 300: ""}), "", "refused"),
    "a threshold over 1": (lambda path: change_manifest(path, thresholds={"confidence": 1.01}), "manifest", "1.01"),
    "a threshold NaN": (
        lambda path: change_manifest(path, thresholds={"confidence": float("nan")}),
        "manifest",
        "nan|JSON",
    ),
    "a threshold in words": (lambda path: change_manifest(path, thresholds={"confidence": "0.5"}), "manifest", "'0.5'"),
    "thresholds null": (lambda path: change_manifest(path, thresholds=None), "manifest", "None"),
}


@pytest.mark.parametrize("how", BREAK)
def test_a_bad_version_is_refused_once_and_taken_when_repaired(
    how: str, versions: Versions, models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    harm, reason, words = BREAK[how]
    versions.put(models, 1, digit=1)
    watched = Watched(models)
    watched.refresh()
    versions.put(models, 2, digit=2)
    harm(models / "2")
    assert [watched.refresh().version for _ in range(3)] == ["1", "1", "1"]
    assert len(watched.refused) == 1
    assert watched.refused[0] == reason or not reason
    record = next(record for record in caplog.records if record.levelno == logging.ERROR)
    assert record.getMessage().startswith("version 2 refused")
    assert record.exc_info is None
    assert re.search(words, record.getMessage())

    (models / "2").rename(models / ".retired-2")
    versions.put(models, 2, digit=2)
    model = watched.refresh()
    assert (model.version, digit_of(model), len(watched.refused)) == ("2", 2, 1)
    assert watched.loaded == [("1", None), ("2", "1")]


def test_a_version_repaired_in_place_is_taken(versions: Versions, models: Path) -> None:
    path = versions.put(models, 1, digit=1)
    whole = (path / "model.tflite").read_bytes()
    flip_a_byte_of_the_plan(path)
    watched = Watched(models)
    watched.store.refresh()
    assert (watched.store.current, watched.refused) == (None, ["checksum"])
    (path / "model.tflite").write_bytes(whole)
    assert digit_of(watched.refresh()) == 1


def test_a_bad_version_steps_back_to_the_next_lower(versions: Versions, models: Path) -> None:
    for number in (1, 2, 3):
        versions.put(models, number, digit=number)
    flip_a_byte_of_the_plan(models / "3")
    watched = Watched(models)
    assert digit_of(watched.refresh()) == 2
    assert watched.refused == ["checksum"]


def test_retiring_steps_back_and_forth(versions: Versions, models: Path) -> None:
    for number in (1, 2):
        versions.put(models, number, digit=number)
    watched = Watched(models)
    assert digit_of(watched.refresh()) == 2
    registry.retire(models, 2)
    assert digit_of(watched.refresh()) == 1
    (models / ".retired-2").rename(models / "2")
    assert digit_of(watched.refresh()) == 2
    assert watched.loaded == [("2", None), ("1", "2"), ("2", "1")]
    assert watched.refused == []


def test_the_last_version_goes_on_when_all_are_gone(versions: Versions, models: Path) -> None:
    versions.put(models, 1, digit=1)
    watched = Watched(models)
    model = watched.refresh()
    registry.retire(models, 1)
    assert watched.refresh() is model


def test_a_version_damaged_while_in_use_goes_on_from_memory(versions: Versions, models: Path) -> None:
    """It was whole when it was loaded; the lower version on disk is not better."""
    for number in (1, 2):
        versions.put(models, number, digit=number)
    watched = Watched(models)
    watched.refresh()
    flip_a_byte_of_the_plan(models / "2")
    assert [digit_of(watched.refresh()) for _ in range(2)] == [2, 2]
    assert watched.refused == ["checksum"]


def test_a_version_without_a_manifest_is_served_by_tensorflow(versions: Versions, models: Path) -> None:
    (versions.put(models, 1, digit=6) / "manifest.json").unlink()
    model = Watched(models).refresh()
    assert (model.runtime.name, model.manifest, model.confidence_threshold, digit_of(model)) == (
        "tensorflow",
        None,
        0,
        6,
    )


def test_a_plan_that_the_manifest_does_not_vouch_for_is_left_alone(versions: Versions, models: Path) -> None:
    path = versions.put(models, 1, digit=6)
    files = json.loads((path / "manifest.json").read_text())["files"]
    change_manifest(path, files={name: sha256 for name, sha256 in files.items() if name != "model.tflite"})
    (path / "model.tflite").write_text("not a plan")
    model = Watched(models).refresh()
    assert (model.runtime.name, digit_of(model)) == ("tensorflow", 6)


@pytest.fixture
def without_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)


@pytest.mark.parametrize(("runtime", "words"), [("auto", "needs TensorFlow"), ("litert", "model.tflite")])
@pytest.mark.usefixtures("without_tensorflow")
def test_a_runtime_that_is_not_there_refuses_the_version(
    runtime: str, words: str, versions: Versions, models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    versions.put(models, 1, digit=1)
    (versions.put(models, 2, digit=2) / "manifest.json").unlink()
    watched = Watched(models, runtime)
    assert digit_of(watched.refresh()) == 1
    assert watched.refused == ["runtime"]
    assert words in caplog.text


def test_answers_that_are_no_probabilities_are_refused(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        name = "litert"

        def __init__(self, _: bytes) -> None:
            pass

        def __call__(self, batch: Batch) -> Probabilities:
            return np.full((len(batch), 10), np.nan, np.float32)

    monkeypatch.setattr(model_store, "LiteRT", Broken)
    (models / "1").mkdir()
    (models / "1" / "model.tflite").touch()
    registry.write_manifest(models / "1", 1, {"name": "digits"})
    watched = Watched(models)
    watched.store.refresh()
    assert (watched.store.current, watched.refused) == (None, ["signature"])


def test_the_watcher_takes_what_appears_and_ends(versions: Versions, models: Path) -> None:
    watched = Watched(models)
    watched.store.watch(0.01)
    try:
        for number in (1, 2):
            versions.put(models, number, digit=number)
            assert watched.changed.wait(30)
            watched.changed.clear()
            assert watched.store.current
            assert watched.store.current.version == str(number)
    finally:
        watched.store.close()
    assert "model-watch" not in {thread.name for thread in threading.enumerate()}
    assert watched.store.current


def test_the_watcher_outlives_a_directory_that_cannot_be_read(
    versions: Versions, models: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looks = iter([OSError("Stale file handle"), None])
    look = model_store.list_versions

    def list_versions(path: Path) -> list[model_store.VersionSnapshot]:
        if error := next(looks, None):
            raise error
        return look(path)

    monkeypatch.setattr(model_store, "list_versions", list_versions)
    versions.put(models, 1, digit=1)
    watched = Watched(models)
    watched.store.watch(0.01)
    try:
        assert watched.changed.wait(30)
    finally:
        watched.store.close()
    assert "Stale file handle" in caplog.text


def test_no_answer_mixes_two_versions_while_they_swap(versions: Versions, models: Path) -> None:
    versions.put(models, 1, digit=1)
    watched = Watched(models)
    watched.refresh()
    seen: set[str] = set()
    wrong: list[object] = []
    progress, finished = threading.Condition(), threading.Event()

    def ask() -> None:
        while not finished.is_set():
            model = watched.store.current
            assert model
            digits = set(model.predict(BLANK).digits)
            with progress:
                seen.add(model.version)
                if digits != {int(model.version) % 10}:
                    wrong.append((model.version, digits))
                progress.notify_all()

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    try:
        for number in range(2, 32):
            versions.put(models, number, digit=number % 10)
            watched.refresh()
            with progress:
                assert progress.wait_for(lambda: str(number) in seen, timeout=30)  # noqa: B023 - ends within this turn
    finally:
        finished.set()
        for asker in askers:
            asker.join()
    assert wrong == []
    assert seen == {str(number) for number in range(1, 32)}
