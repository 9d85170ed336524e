"""The metric files of a slot: full disks, truncated, damaged and foreign files, a removed directory."""

import errno
import logging
import os
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import values
from prometheus_client.mmap_dict import MmapedDict

from service.monitoring import slot_files
from service.monitoring.metrics import Metrics
from service.monitoring.prometheus_compat import use_slot_files, used_slot_files
from service.monitoring.slot_files import DamagedFile, SlotFiles
from tests import exposition

KEY = '["digits_rejected", "digits_rejected_total", {"reason": "%s"}, "Predict requests rejected, by reason."]'


class Disk:
    """A file system with limited space, as far as `posix_fallocate` and `pwrite` see it."""

    def __init__(self) -> None:
        self.full = False
        self.allocated: dict[int, int] = {}
        self._pwrite = os.pwrite

    def fallocate(self, file: int, offset: int, size: int) -> None:
        if self.full and offset + size > self.allocated.get(file, 0):
            raise OSError(errno.ENOSPC, "No space left on device")
        self.allocated[file] = offset + size
        os.truncate(file, max(offset + size, os.fstat(file).st_size))

    def pwrite(self, file: int, content: bytes, offset: int) -> int:
        room = self.allocated.get(file, 0) - offset
        if room <= 0 < len(content):
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._pwrite(file, content[:room], offset)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """Replaces the two system calls."""
    disk = Disk()
    monkeypatch.setattr(os, "posix_fallocate", disk.fallocate, raising=False)
    monkeypatch.setattr(os, "pwrite", disk.pwrite)
    return disk


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory of the files of slot 0, which this process has for one test."""
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    directory = tmp_path / "metrics"
    use_slot_files(directory, 0)
    files = used_slot_files()
    assert files
    with files:
        yield directory


def rejected(metrics: Metrics) -> list[str]:
    """The samples of rejected requests in the exposition."""
    return exposition.samples(metrics.exposition().decode(), "digits_rejected_total")


def reader(directory: Path) -> Metrics:
    """The metrics of another worker, which reads the files and has none of its own."""
    metrics = Metrics(directory)
    metrics._source._own = None  # type: ignore[attr-defined]
    return metrics


def write_file(path: Path, *entries: tuple[str, float]) -> None:
    """Write a metric file with prometheus_client."""
    file = MmapedDict(str(path))  # type: ignore[no-untyped-call]
    for key, value in entries:
        file.write_value(key, value, 0.0)  # type: ignore[no-untyped-call]
    file.close()  # type: ignore[no-untyped-call]


def test_the_blocks_are_allocated_at_the_start(directory: Path) -> None:
    sizes = {path.name: path.stat().st_blocks * 512 for path in directory.iterdir()}
    assert sizes.keys() == {"counter_0.db", "histogram_0.db", "gauge_livesum_0.db", "gauge_livemax_0.db"}
    assert sizes["counter_0.db"] >= 131072
    assert sizes["histogram_0.db"] >= 131072
    assert sizes["gauge_livemax_0.db"] >= 65536
    assert sizes["gauge_livesum_0.db"] >= 4096


def test_a_process_continues_with_the_counts_of_the_one_before(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = Metrics(directory)
    for _ in range(3):
        metrics.prediction_rejected("no_digit")
    metrics.flush()
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    use_slot_files(directory, 0)
    following = Metrics(directory)
    following.prediction_rejected("no_digit")
    assert rejected(following) == ['digits_rejected_total{reason="no_digit"} 4.0']


def test_on_a_full_disk_new_samples_stay_in_memory_and_are_written_when_there_is_space(
    disk: Disk, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    metrics, other = Metrics(directory), reader(directory)
    metrics.prediction_rejected("known")
    metrics.flush()
    disk.full = True
    count = 2 * slot_files.KIND_BYTES["counter"] // 150
    for number in range(count):
        metrics.prediction_rejected(f"new-{number}")
    metrics.prediction_rejected("known")
    own = rejected(metrics)
    assert len(own) == count + 1
    assert own[0] == 'digits_rejected_total{reason="known"} 2.0'
    shown = rejected(other)
    assert shown == own[: len(shown)], "entries that fit into the file"
    assert 500 < len(shown) < count
    assert len(caplog.records) == 1
    assert "No space left on device" in caplog.text
    disk.full = False
    assert rejected(metrics) == rejected(other) == own
    assert len(caplog.records) == 1


def test_a_process_that_starts_on_a_full_disk_counts_in_memory(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    disk.full = True
    use_slot_files(tmp_path, 0)
    metrics = Metrics(tmp_path)
    metrics.prediction_rejected("no_digit")
    assert rejected(metrics) == ['digits_rejected_total{reason="no_digit"} 1.0']
    assert rejected(reader(tmp_path)) == []
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_truncated_file_is_written_again(directory: Path) -> None:
    metrics = Metrics(directory)
    metrics.prediction_rejected("no_digit")
    metrics.flush()
    for path in directory.iterdir():
        os.truncate(path, 0)
    metrics.prediction_rejected("no_digit")
    assert rejected(metrics) == rejected(reader(directory)) == ['digits_rejected_total{reason="no_digit"} 2.0']
    assert (directory / "counter_0.db").stat().st_blocks * 512 >= 131072


def test_a_removed_directory_appears_again_with_all_samples(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics(directory)
    metrics.prediction_rejected("no_digit")
    metrics.flush()
    shutil.rmtree(directory)
    assert rejected(metrics) == rejected(reader(directory)) == ['digits_rejected_total{reason="no_digit"} 1.0']
    assert caplog.text == ""


def test_a_directory_that_cannot_be_made_again_leaves_the_samples_of_the_process(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Metrics(directory)
    metrics.prediction_rejected("no_digit")
    shutil.rmtree(directory)
    directory.write_text("a file in its place")
    for _ in range(3):
        assert rejected(metrics) == ['digits_rejected_total{reason="no_digit"} 1.0']
    slot_files.clear_live_gauges(directory, 1)
    with SlotFiles(directory, 1) as another:
        another.write()
    assert len(caplog.records) == 2, "one line for each process"


def entry(key: bytes, value: float = 1.0, length: int | None = None) -> bytes:
    """An entry; `length` is that of the key, unless given."""
    padding = b" " * (8 - (len(key) + 4) % 8)
    return struct.pack("=i", len(key) if length is None else length) + key + padding + struct.pack("=dd", value, 0)


def content(*entries: bytes, used: int | None = None) -> bytes:
    """A metric file; `used` is the size of header and entries, unless given."""
    body = b"".join(entries)
    return struct.pack("=ixxxx", 8 + len(body) if used is None else used) + body + bytes(64)


GOOD = entry((KEY % "other").encode())
DAMAGED = {
    "text": b"hello, world, this is no metric file",
    "shorter than its header": b"\x10",
    "truncated": content(GOOD)[:40],
    "negative size": content(GOOD, used=-5),
    "size in the header": content(GOOD, used=3),
    "huge size": content(GOOD, used=2**31 - 1),
    "size past the end": content(GOOD, used=4000),
    "size within an entry": content(GOOD, used=20),
    "negative length": content(entry(b"key", length=-3)),
    "huge length": content(entry(b"key", length=2**31 - 1)),
    "not UTF-8": content(entry(b"\xff\xfe")),
    "not JSON": content(entry(b"key")),
    "JSON of another form": content(entry(b'{"a": 1}')),
    "deep JSON": content(entry(b"[" * 100_000)),
    "a foreign metric": content(entry(b'["up", "up_total", {}, "Up."]')),
    "another type": content(entry(b'["digits_in_flight_limit", "digits_in_flight_limit", {}, "x"]')),
    "other labels": content(entry((KEY % "x").replace("reason", "cause").encode())),
    "a label that is no text": content(entry((KEY % "x").replace('"x"', "1").encode())),
    "an unhashable metric": content(entry(b'[["a"], "a", {}, ""]')),
    "NaN": content(entry((KEY % "x").encode(), value=float("nan"))),
    "infinity": content(entry((KEY % "x").encode(), value=float("inf"))),
}


@pytest.mark.parametrize("damaged", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_file_of_another_slot_is_skipped_and_logged_once(
    damaged: bytes, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Metrics(directory)
    metrics.prediction_rejected("own")
    write_file(directory / "counter_2.db", (KEY % "good", 5.0))
    (directory / "counter_1.db").write_bytes(damaged)
    for _ in range(3):
        assert rejected(metrics) == [
            'digits_rejected_total{reason="own"} 1.0',
            'digits_rejected_total{reason="good"} 5.0',
        ]
    (record,) = caplog.records
    assert record.message.startswith(f"/metrics skips {directory / 'counter_1.db'}: ")
    assert len(record.message) < 300


def test_what_is_no_metric_file_is_skipped_and_logged_once(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics(directory)
    metrics.prediction_rejected("own")
    (directory / "counter_1.db").mkdir()
    (directory / "x.db").mkdir()
    (directory / "notes.db").write_text("foreign")
    os.mkfifo(directory / "counter_2.db")
    (directory / "counter_3.db").symlink_to("counter_3.db")
    (directory / "counter_4.db").symlink_to("missing")
    (directory / "notes.txt").write_text("not even named like one")
    for _ in range(3):
        assert rejected(metrics) == ['digits_rejected_total{reason="own"} 1.0']
    assert sorted(record.message.split()[2].rpartition("/")[2] for record in caplog.records) == [
        *(f"counter_{slot}.db:" for slot in (1, 2, 3, 4)),
        "notes.db:",
        "x.db:",
    ]


def test_a_histogram_with_a_bound_that_is_no_number_is_skipped(directory: Path) -> None:
    metrics = Metrics(directory)
    key = '["digits_inference_batch_size", "digits_inference_batch_size_bucket", {"le": "%s"}, "x"]'
    write_file(directory / "histogram_1.db", (key % "1.0", 2.0), (key % "wide", 2.0))
    assert exposition.samples(metrics.exposition().decode(), "digits_inference_batch_size_count") == [
        "digits_inference_batch_size_count 0.0"
    ]


@pytest.mark.parametrize("damaged", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_process_that_finds_a_damaged_file_in_its_slot_starts_and_counts(
    damaged: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    (tmp_path / "counter_0.db").write_bytes(damaged)
    use_slot_files(tmp_path, 0)
    metrics = Metrics(tmp_path)
    metrics.prediction_rejected("no_digit")
    assert rejected(metrics)[-1:] == ['digits_rejected_total{reason="no_digit"} 1.0']


def test_a_process_with_a_directory_in_place_of_its_file_counts_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    (tmp_path / "counter_0.db").mkdir()
    use_slot_files(tmp_path, 0)
    metrics = Metrics(tmp_path)
    metrics.prediction_rejected("no_digit")
    assert rejected(metrics) == ['digits_rejected_total{reason="no_digit"} 1.0']


def test_the_gauges_of_an_ended_process_are_emptied_and_stay_allocated(directory: Path) -> None:
    metrics = Metrics(directory)
    metrics.set_in_flight_limit(40)
    metrics.prediction_rejected("no_digit")
    metrics.flush()
    sizes = {path.name: path.stat().st_blocks for path in directory.iterdir()}
    slot_files.clear_live_gauges(directory, 0)
    assert slot_files.read(directory / "gauge_livesum_0.db") == []
    assert slot_files.read(directory / "counter_0.db") != []
    assert {path.name: path.stat().st_blocks for path in directory.iterdir()} == sizes


def test_create_removes_the_metric_files_of_an_earlier_run_and_no_other_file(tmp_path: Path) -> None:
    for name in ("counter_0.db", "gauge_livesum_7.db", "users.db", "counter_0.db.bak", "notes.txt"):
        (tmp_path / name).write_text("old")
    slot_files.create(tmp_path, 2)
    kinds = ("counter", "histogram", "gauge_livesum", "gauge_livemax")
    created = {f"{kind}_{slot}.db" for kind in kinds for slot in (0, 1)}
    assert {path.name for path in tmp_path.iterdir()} == created | {"users.db", "counter_0.db.bak", "notes.txt"}
    assert all(slot_files.read(tmp_path / name) == [] for name in created)


def test_create_and_check_space_raise_an_error_on_a_full_disk_and_leave_no_file_to_check(
    disk: Disk, tmp_path: Path
) -> None:
    slot_files.check_space(tmp_path, 3)
    assert list(disk.allocated.values()) == [3 * 331776]
    disk.full = True
    disk.allocated.clear()
    with pytest.raises(OSError, match="No space left"):
        slot_files.check_space(tmp_path, 3)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="No space left"):
        slot_files.create(tmp_path, 1)


def test_a_file_system_without_allocation_gets_zeros(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    write_file(tmp_path / "counter_0.db", (KEY % "old", 5.0))
    with SlotFiles(tmp_path, 0) as files:
        assert [entry.value for entry in files.entries()[tmp_path / "counter_0.db"]] == [5.0]
    assert (tmp_path / "counter_0.db").stat().st_size == 131072
    assert slot_files.read(tmp_path / "counter_0.db") == [(KEY % "old", 5.0)]


def test_reading_names_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "counter_0.db"
    path.write_bytes(content(GOOD, used=20))
    with pytest.raises(DamagedFile, match="the entry at byte 8 extends past the 20 bytes in use"):
        slot_files.read(path)
