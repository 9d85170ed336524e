"""The model directory: publishing, the gate, retiring, locks, crashes and full disks."""

import hashlib
import json
import os
import select
from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import Process, Start
from tests.training.publish.publisher import FILES, publish_small_files
from training.publish import registry
from training.publish.registry import GateRejected, PublishError


def assert_versions_complete(models: Path) -> list[int]:
    """Compare the files of every version with its manifest; returns the versions' numbers."""
    numbers = sorted(int(path.name) for path in models.iterdir() if path.name.isdigit())
    for number in numbers:
        directory = models / str(number)
        manifest = json.loads((directory / "manifest.json").read_text())
        assert manifest["version"] == number
        files = [path for path in directory.rglob("*") if path.is_file()]
        sums = {path.relative_to(directory).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
        del sums["manifest.json"]
        assert manifest["files"] == sums
        assert {"saved_model.pb", "model.tflite"} <= sums.keys()
    return numbers


def leftovers(models: Path) -> list[Path]:
    return list(models.glob(".tmp-*"))


def test_a_published_version_has_a_manifest_and_is_listed(models: Path) -> None:
    version = publish_small_files(models, 0.75)
    assert assert_versions_complete(models) == [1]
    assert version.manifest["files"].keys() == FILES.keys()
    assert version.manifest == json.loads((models / "1" / "manifest.json").read_text())
    assert list(version.manifest) == ["name", "version", "metrics", "files"]
    assert (models / "1").stat().st_mode & 0o777 == 0o755
    assert (version.number, version.path, version.accuracy) == (1, models / "1", 0.75)
    assert registry.list_versions(models) == [version]
    assert registry.get_version(models, 1) == registry.serving_version(models) == version
    assert not leftovers(models)


def test_numbers_increase_and_the_number_of_a_retired_version_is_not_reused(models: Path) -> None:
    assert [publish_small_files(models).number for _ in range(10)] == list(range(1, 11))
    (models / "notes").mkdir()
    (models / "99").write_text("a file, not a version")
    assert len(registry.list_versions(models)) == 10
    assert registry.retire(models, 10) == models / ".retired-10"
    assert registry.retire(models, 4) == models / ".retired-4"
    serving = registry.serving_version(models)
    assert serving is not None
    assert serving.number == 9
    assert [(version.number, version.retired) for version in registry.list_versions(models)] == [
        (number, number in (4, 10)) for number in range(1, 11)
    ]
    assert publish_small_files(models).number == 11
    for number in (4, 10, 12):
        with pytest.raises(PublishError, match=f"no version {number}; it has 1, 2, 3, 5, 6, 7, 8, 9, 11"):
            registry.retire(models, number)


def test_an_empty_or_missing_directory_has_no_versions(models: Path, tmp_path: Path) -> None:
    for directory in (models, tmp_path / "missing"):
        assert registry.list_versions(directory) == []
        assert registry.serving_version(directory) is None
        registry.check_gate(directory, 0.0)
        with pytest.raises(PublishError, match="no version 1; it has none"):
            registry.get_version(directory, 1)


@pytest.mark.parametrize("serving", [9912, 9339, 9000, 5006, 5007, 1500])
def test_the_gate_allows_a_drop_of_a_tenth_of_a_percentage_point(serving: int, models: Path) -> None:
    publish_small_files(models, 1.0)
    publish_small_files(models, serving / 10_000)
    publish_small_files(models, 1.0)
    registry.retire(models, 3)
    registry.check_gate(models, 1.0)
    registry.check_gate(models, (serving - 10) / 10_000)
    with pytest.raises(GateRejected, match="--force") as caught:
        registry.check_gate(models, (serving - 11) / 10_000)
    assert caught.value.version == 2
    for part in (f"{(serving - 11) / 10_000:.4f}", f"{serving / 10_000:.4f}", "version 2"):
        assert part in str(caught.value)


@pytest.mark.parametrize("manifest", ["", "[]", "{}", '{"metrics": null}', '{"metrics": {"test_accuracy": "high"}}'])
def test_the_gate_passes_if_the_serving_version_states_no_accuracy(manifest: str, models: Path) -> None:
    (models / "7").mkdir()
    (models / "7" / "manifest.json").write_text(manifest)
    (version,) = registry.list_versions(models)
    assert version.accuracy is None
    registry.check_gate(models, 0.1)
    assert publish_small_files(models).number == 8


def test_metrics_of_old_manifests_have_their_present_names(models: Path) -> None:
    (models / "4").mkdir()
    metrics = {"test_accuracy": 0.5, "test_certain": 0.75, "test_accuracy_certain": 1, "note": "text"}
    (models / "4" / "manifest.json").write_text(json.dumps({"metrics": metrics}))
    expected = {"test_accuracy": 0.5, "test_coverage": 0.75, "test_selective_accuracy": 1.0}
    assert registry.get_version(models, 4).metrics == expected


def test_staging_removes_its_directory_and_those_of_killed_processes(models: Path) -> None:
    (models / ".tmp-old" / "variables").mkdir(parents=True)
    (models / ".tmp-old" / "variables" / "data").write_bytes(b"half")
    with registry.staging(models) as directory:
        assert leftovers(models) == [directory]
        assert not list(directory.iterdir())
        (directory / "file").write_text("")
    assert not leftovers(models)
    for error in (KeyboardInterrupt, PublishError):
        with pytest.raises(error), registry.staging(models):
            raise error
        assert not leftovers(models)
    assert registry.list_versions(models) == []


def waits_for_lock(process: Process) -> bool:
    """Whether the process waits for a file lock, according to the kernel."""
    locks = Path("/proc/locks").read_text().splitlines()
    return any("-> FLOCK" in line and str(process.pid) in line.split() for line in locks)


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="only Linux lists waiting processes in /proc/locks")
def test_a_second_process_waits_until_the_first_has_published(models: Path, start: Start) -> None:
    with registry.staging(models) as directory:
        second = start("-m", "tests.training.publish.publisher", models)
        assert second.stdout is not None
        assert second.stdout.readline() == "publishing\n"
        while not waits_for_lock(second):
            assert not select.select([second.stdout], [], [], 0.01)[0], "the second process did not wait"
        assert leftovers(models) == [directory]
        for name, content in FILES.items():
            (directory / name).parent.mkdir(exist_ok=True)
            (directory / name).write_bytes(content)
        registry.publish(models, directory, {"name": "digits"})
    assert second.stdout.readline() == "2\n"
    assert second.wait() == 0
    assert assert_versions_complete(models) == [1, 2]
    assert not leftovers(models)


def test_a_process_killed_at_any_step_leaves_only_complete_versions(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # slow, and without effect on what a killed process leaves
    process = start("-S", "-m", "tests.training.crash_steps", "publish", tmp_path)
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    last, published = int(stdout), []
    for step in range(1, last + 1):
        models = tmp_path / str(step)
        numbers = assert_versions_complete(models)
        published.append(numbers == [1, 2])
        assert publish_small_files(models).number == numbers[-1] + 1
        assert assert_versions_complete(models) == [*numbers, numbers[-1] + 1]
        assert not leftovers(models)
    assert last > 60
    assert published == sorted(published)
    assert not published[0]
    assert published[-1]


@pytest.mark.parametrize("failing", ["fsync", "replace", "rename"])
def test_a_disk_failure_while_writing_the_manifest_publishes_nothing(
    failing: str, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os if failing == "fsync" else Path, failing, fail)
    with pytest.raises(PublishError, match="No space left"):
        publish_small_files(models)
    assert registry.list_versions(models) == []
    assert not leftovers(models)
