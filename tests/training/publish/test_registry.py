import hashlib
import itertools
import json
import os
import select
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import Process, Start
from tests.training.publish.publisher import FILES, publish_small_files
from training.publish import registry
from training.publish.registry import GateRejected, PublishError


def assert_only_whole_versions(models: Path) -> list[int]:
    """Hold every version against its manifest, by hand; returns their numbers."""
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


def test_a_published_version_is_sealed_and_listed(models: Path) -> None:
    version = publish_small_files(models, 0.75)
    assert assert_only_whole_versions(models) == [1]
    assert version.manifest["files"].keys() == FILES.keys()
    assert version.manifest == json.loads((models / "1" / "manifest.json").read_text())
    assert list(version.manifest) == ["name", "version", "metrics", "files"]
    assert (models / "1").stat().st_mode & 0o777 == 0o755
    assert (version.number, version.path, version.accuracy) == (1, models / "1", 0.75)
    assert registry.list_versions(models) == [version]
    assert registry.get_version(models, 1) == registry.serving_version(models) == version
    assert not leftovers(models)


def test_numbers_go_up_and_a_retired_one_is_never_used_again(models: Path) -> None:
    assert [publish_small_files(models).number for _ in range(10)] == list(range(1, 11))
    (models / "notes").mkdir()
    (models / "99").write_text("a file is no version")
    assert len(registry.list_versions(models)) == 10
    assert registry.retire(models, 10) == models / ".retired-10"
    assert registry.retire(models, 4) == models / ".retired-4"
    in_place = registry.serving_version(models)
    assert in_place is not None
    assert in_place.number == 9
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


@pytest.mark.parametrize("in_place", [9912, 9339, 9000, 5006, 5007, 1500])
def test_the_gate_lets_a_tenth_of_a_point_pass_and_no_more(in_place: int, models: Path) -> None:
    publish_small_files(models, 1.0)
    publish_small_files(models, in_place / 10_000)
    publish_small_files(models, 1.0)
    registry.retire(models, 3)
    registry.check_gate(models, 1.0)
    registry.check_gate(models, (in_place - 10) / 10_000)
    with pytest.raises(GateRejected, match="--force") as caught:
        registry.check_gate(models, (in_place - 11) / 10_000)
    assert caught.value.version == 2
    for part in (f"{(in_place - 11) / 10_000:.4f}", f"{in_place / 10_000:.4f}", "version 2"):
        assert part in str(caught.value)


@pytest.mark.parametrize("manifest", ["", "[]", "{}", '{"metrics": null}', '{"metrics": {"test_accuracy": "high"}}'])
def test_a_version_from_elsewhere_without_an_accuracy_stops_nobody(manifest: str, models: Path) -> None:
    (models / "7").mkdir()
    (models / "7" / "manifest.json").write_text(manifest)
    (version,) = registry.list_versions(models)
    assert version.accuracy is None
    registry.check_gate(models, 0.1)
    assert publish_small_files(models).number == 8


def test_staging_removes_what_killed_jobs_left_and_its_own(models: Path) -> None:
    (models / ".tmp-old" / "variables").mkdir(parents=True)
    (models / ".tmp-old" / "variables" / "data").write_bytes(b"half")
    with registry.staging(models) as directory:
        assert leftovers(models) == [directory]
        assert not list(directory.iterdir())
        (directory / "file").write_text("")
    assert not leftovers(models)
    for mistake in (KeyboardInterrupt, PublishError):
        with pytest.raises(mistake), registry.staging(models):
            raise mistake
        assert not leftovers(models)
    assert registry.list_versions(models) == []


def waits_for_a_lock(process: Process) -> bool:
    """Whether the kernel lists the process among those that wait for a file lock."""
    locks = Path("/proc/locks").read_text().splitlines()
    return any("-> FLOCK" in line and str(process.pid) in line.split() for line in locks)


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="only Linux says who waits for a lock")
def test_a_second_job_waits_until_the_first_has_published(models: Path, start: Start) -> None:
    with registry.staging(models) as directory:
        second = start("-m", "tests.training.publish.publisher", models)
        assert second.stdout is not None
        assert second.stdout.readline() == "publishing\n"
        while not waits_for_a_lock(second):
            assert not select.select([second.stdout], [], [], 0.01)[0], "the second job did not wait"
        assert leftovers(models) == [directory]
        for name, content in FILES.items():
            (directory / name).parent.mkdir(exist_ok=True)
            (directory / name).write_bytes(content)
        registry.publish(models, directory, {"name": "digits"})
    assert second.stdout.readline() == "2\n"
    assert second.wait() == 0
    assert assert_only_whole_versions(models) == [1, 2]
    assert not leftovers(models)


def test_a_job_killed_at_any_step_leaves_only_whole_versions(tmp_path: Path, start: Start) -> None:
    appeared = []
    for step in itertools.count(1):
        models = tmp_path / str(step)
        publish_small_files(models)
        (models / ".tmp-old").mkdir()
        (models / ".tmp-old" / "data").write_bytes(b"half")
        process = start("-S", "-m", "tests.training.publish.publisher", models, step)
        code = process.wait()
        numbers = assert_only_whole_versions(models)
        if code == 0:
            break
        assert code == -signal.SIGKILL
        appeared.append(numbers == [1, 2])
        assert publish_small_files(models).number == numbers[-1] + 1
        assert assert_only_whole_versions(models) == [*numbers, numbers[-1] + 1]
        assert not leftovers(models)
    assert numbers == [1, 2]
    assert len(appeared) > 60
    assert appeared == sorted(appeared)
    assert any(appeared)


@pytest.mark.parametrize("failing", ["fsync", "rename"])
def test_a_failure_of_the_disk_while_sealing_publishes_nothing(
    failing: str, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os if failing == "fsync" else Path, failing, full)
    with pytest.raises(PublishError, match="No space left"):
        publish_small_files(models)
    assert registry.list_versions(models) == []
    assert not leftovers(models)
