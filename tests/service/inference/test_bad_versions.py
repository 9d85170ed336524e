"""A good version beside a bad one: it is loaded at the start and served on, and a newer good one is taken.

The table of bad versions is tests/bad_versions.py; tests/system/test_bad_versions.py has it with real workers.
"""

import logging
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.inference import model, trial
from service.inference.model import load
from service.inference.model_store import ModelStore, preload
from service.inference.rejection import ModelRejected
from tests import bad_versions
from tests.conftest import Versions

BLANK = np.zeros((1, 28, 28), np.uint8)
FILES = ("model.tflite", "saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001")


class Recorder:
    """A store, and the reasons of its rejections."""

    def __init__(self, models: Path, runtime: str = "litert") -> None:
        self.rejected: list[str] = []
        self.store = ModelStore(
            models,
            lambda path: load(path, runtime),
            on_loaded=lambda *_: None,
            on_rejected=self.rejected.append,
        )

    def predicted(self) -> tuple[str, int]:
        """Scan twice; the version in use and the digit that it predicts."""
        for _ in range(2):
            self.store.refresh()
        current = self.store.require_current()
        return current.version, int(current.predict(BLANK).digits[0])


def publish_damaged(versions: Versions, models: Path, number: int, damage: bad_versions.Damage) -> None:
    version = versions.put(models.parent / "staging", number, digit=9)
    damage(version)
    version.rename(models / str(number))


@contextmanager
def one_error_each(caplog: pytest.LogCaptureFixture, count: int) -> Iterator[None]:
    """Check that each store logs one line for each rejection, without a traceback."""
    caplog.clear()
    yield
    records = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(records) == count
    for record in records:
        assert record.exc_info is None
        assert record.getMessage().isprintable()
        record.getMessage().encode()  # a lone surrogate would fail in the handler
        assert len(record.getMessage()) < 600


@pytest.mark.parametrize("name", bad_versions.VERSIONS)
def test_a_good_version_beside_a_bad_one_is_served(
    name: str, versions: Versions, models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    versions.put(models, 1, digit=1)
    before = Recorder(models)
    assert before.predicted() == ("1", 1)
    publish_damaged(versions, models, 2, bad_versions.VERSIONS[name])
    with one_error_each(caplog, 2):
        assert before.predicted() == ("1", 1)  # a reload
        after = Recorder(models)
        assert after.predicted() == ("1", 1)  # a start
        assert len(before.rejected) == len(after.rejected) == 1
        preloaded = preload(models, "litert")
        assert preloaded
        assert preloaded.model.version == "1"
    versions.put(models, 3, digit=3)
    assert before.predicted() == after.predicted() == ("3", 3)
    assert len(before.rejected) == len(after.rejected) == 1


@pytest.mark.parametrize("name", bad_versions.HARMLESS)
def test_entries_that_nothing_reads_do_no_harm(name: str, versions: Versions, models: Path) -> None:
    versions.put(models, 1, digit=1)
    before = Recorder(models)
    assert before.predicted() == ("1", 1)
    publish_damaged(versions, models, 2, bad_versions.HARMLESS[name])
    assert before.predicted() == Recorder(models).predicted() == ("2", 9)
    assert before.rejected == []


def test_entries_beside_the_versions_hide_none(
    versions: Versions, models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = Recorder(models)
    versions.put(models, 1, digit=1)
    assert before.predicted() == ("1", 1)
    for add in bad_versions.ENTRIES.values():
        add(models)
    with one_error_each(caplog, 10):
        assert before.predicted() == ("1", 1)
        after = Recorder(models)
        assert after.predicted() == ("1", 1)
    assert before.rejected == after.rejected
    assert len(after.rejected) == 5
    versions.put(models, 9999, digit=9)
    assert before.predicted() == after.predicted() == ("9999", 9)


def test_models_with_changed_bytes_are_loaded_or_rejected(versions: Versions, models: Path) -> None:
    """Whatever a trial does not find, loading does; here the trial is left out, and the changes crash no process."""
    versions.put(models, 1, digit=1)
    recorder = Recorder(models)
    assert recorder.predicted() == ("1", 1)
    served = 0
    for seed in range(60):
        publish_damaged(versions, models, 2, bad_versions.change_bytes(seed))
        version, _ = recorder.predicted()
        served += version == "2"
        (models / "2").rename(models / f".retired-{seed}")
        assert recorder.predicted() == ("1", 1)
    assert served + len(recorder.rejected) == 60
    assert len(recorder.rejected) > 20


@pytest.mark.parametrize("file", FILES[1:])
@pytest.mark.parametrize("kind", bad_versions.KINDS)
def test_a_saved_model_with_a_file_of_any_kind_is_loaded_or_rejected(
    file: str, kind: str, versions: Versions, models: Path
) -> None:
    """TensorFlow would wait for a FIFO, or read a device for ever."""
    versions.put(models, 1, digit=1)
    version = versions.put(models.parent / "staging", 2, digit=9)
    (version / "manifest.json").unlink()
    (version / file).unlink()
    bad_versions.KINDS[kind](version / file)
    version.rename(models / "2")
    recorder = Recorder(models, "auto")
    assert recorder.predicted() == ("1", 1)
    assert len(recorder.rejected) == 1


def test_a_saved_model_with_changed_bytes_is_loaded_or_rejected(versions: Versions, models: Path) -> None:
    versions.put(models, 1, digit=1)
    recorder = Recorder(models, "auto")
    source = random.Random(1)  # noqa: S311
    for seed in range(10):
        version = versions.put(models.parent / "staging", 2, digit=9)
        (version / "manifest.json").unlink()
        path = version / source.choice(FILES[1:])
        content = bytearray(path.read_bytes())
        content[source.randrange(len(content))] ^= 255
        path.write_bytes(content)
        version.rename(models / "2")
        assert recorder.predicted()[0] in {"1", "2"}
        (models / "2").rename(models / f".retired-{seed}")
        assert recorder.predicted() == ("1", 1)


@pytest.mark.parametrize("reason", ["crash", "error"])
def test_a_network_that_fails_its_trial_is_not_loaded(
    reason: str, versions: Versions, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: bytes | Path, __: int) -> None:
        raise ModelRejected(reason, "the model ends the process that runs it by SIGSEGV")

    monkeypatch.setattr(trial, "try_network", fail)
    monkeypatch.setattr(model, "LiteRT", lambda _: pytest.fail("loaded"))
    versions.put(models, 1, digit=1)
    recorder = Recorder(models)
    recorder.store.refresh()
    assert (recorder.store.current, recorder.rejected) == (None, [reason])
    assert preload(models, "litert") is None


@pytest.mark.parametrize("error", [OverflowError("int too large"), RecursionError("too deep"), KeyError("x")])
def test_any_exception_of_a_library_rejects_the_version(
    error: Exception, versions: Versions, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: bytes) -> None:
        raise error

    monkeypatch.setattr(model, "LiteRT", fail)
    with pytest.raises(ModelRejected, match=f"^({type(error).__name__}: )?.+") as caught:
        load(versions.put(models, 1, digit=1), "litert")
    assert caught.value.reason in {"error", "signature"}
    assert not caught.value.transient


@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), OSError(5, "I/O error"), MemoryError()])
def test_a_fault_of_the_process_is_transient(
    error: Exception, versions: Versions, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(model, "read_file", fail)
    with pytest.raises(ModelRejected) as caught:
        load(versions.put(models, 1, digit=1), "litert")
    assert caught.value.transient


@pytest.mark.parametrize("name", ["manifest.json", "model.tflite", "saved_model.pb"])
def test_a_file_without_permission_rejects_the_version(
    name: str, versions: Versions, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may read every file, so the error is raised here."""
    versions.put(models, 1, digit=1)
    versions.put(models, 2, digit=2)
    open_file = os.open

    def open_with_permission(path: Path, flags: int) -> int:
        if Path(path) == models / "2" / name:
            raise PermissionError(13, "Permission denied", str(path))
        return open_file(path, flags)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", open_with_permission)
        recorder = Recorder(models)
        assert recorder.predicted() == ("1", 1)
    assert recorder.rejected == ["files"]
    assert recorder.predicted() == ("1", 1)  # nothing has changed
    (models / "2" / name).chmod(0o600)
    assert recorder.predicted() == ("2", 2)


def test_the_listed_files_have_a_maximum_size_together(
    versions: Versions, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = versions.put(models, 1, digit=1)
    total = sum(path.stat().st_size for path in version.rglob("*") if path.is_file() and path.name != "manifest.json")
    monkeypatch.setattr(model, "MAX_VERSION_BYTES", total)
    load(version, "litert")
    monkeypatch.setattr(model, "MAX_VERSION_BYTES", total - 1)
    with pytest.raises(ModelRejected, match=rf"^the listed files have {total} bytes; {total - 1} are allowed$"):
        load(version, "litert")


NAMES = st.binary(min_size=1, max_size=20).filter(lambda name: not {0, 47} & set(name) and name not in {b".", b".."})


@settings(max_examples=50, deadline=None)  # the first example exports a model
@given(names=st.lists(NAMES, max_size=5), number=st.integers(2, 10**30))
def test_any_names_in_a_version_and_beside_it(
    names: list[bytes], number: int, versions: Versions, tmp_path_factory: pytest.TempPathFactory
) -> None:
    models = tmp_path_factory.mktemp("names")
    versions.put(models, 1, digit=1)
    (models / str(number)).mkdir()
    for name in names:
        for parent in (models / "1", models):
            Path(parent, os.fsdecode(name)).mkdir(exist_ok=True)
    recorder = Recorder(models)
    assert recorder.predicted() == ("1", 1)
