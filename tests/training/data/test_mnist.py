"""Reading MNIST's files: search, checksums, IDX format, splits, other data sets."""

import gzip
import hashlib
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.training.conftest import DATA
from tests.training.idx_files import NAMES, TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS, idx, write_files
from training.data import download, mnist
from training.data.mnist import ChecksumMismatch, Dataset
from training.errors import DataError

PUBLISHED_SHA256 = {
    TRAIN_IMAGES: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    TRAIN_LABELS: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    TEST_IMAGES: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    TEST_LABELS: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
IMAGES = np.random.default_rng(0).integers(0, 256, (12, 28, 28), np.uint8)
LABELS = np.arange(12, dtype=np.uint8) % 10

Contents = dict[str, bytes]


def sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def listing(directory: Path) -> Contents:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Contents:
    """Eight training and four test images whose checksums stand in for MNIST's; no source is available."""
    made = {
        TRAIN_IMAGES: idx(IMAGES[:8]),
        TRAIN_LABELS: idx(LABELS[:8]),
        TEST_IMAGES: idx(IMAGES[8:]),
        TEST_LABELS: idx(LABELS[8:]),
    }
    monkeypatch.setattr(mnist, "SHA256", {name: sha256(raw) for name, raw in made.items()})
    monkeypatch.setattr(mnist, "VALIDATION_IMAGES", 3)
    monkeypatch.setattr(download, "MIRRORS", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    return made


@pytest.mark.parametrize("gzipped", [(), (TRAIN_IMAGES, TEST_LABELS), NAMES])
def test_loads_raw_and_gzipped_files_and_splits_them(gzipped: tuple[str, ...], files: Contents, tmp_path: Path) -> None:
    plain = {name: raw for name, raw in files.items() if name not in gzipped}
    write_files(tmp_path / "data", plain | {f"{name}.gz": gzip.compress(files[name]) for name in gzipped})
    data = mnist.load(tmp_path / "data")
    for split, images in ((data.validation, slice(3)), (data.training, slice(3, 8)), (data.test, slice(8, 12))):
        np.testing.assert_array_equal(split.images, IMAGES[images])
        np.testing.assert_array_equal(split.labels, LABELS[images])
    assert data.name == "MNIST"
    assert {(file.name, file.sha256, file.size) for file in data.files} == {
        (name, sha256(raw), len(raw)) for name, raw in files.items()
    }


@pytest.mark.parametrize("kind", ["altered", "swapped", "truncated.gz", "not gzip.gz", "damaged.gz"])
def test_a_file_with_a_wrong_checksum_is_reported_and_renamed(kind: str, files: Contents, tmp_path: Path) -> None:
    right = files[TEST_IMAGES]
    packed = gzip.compress(right)
    wrong = {
        "altered": right[:-1] + bytes([right[-1] ^ 1]),
        "swapped": files[TRAIN_LABELS],
        "truncated.gz": packed[: len(packed) // 2],
        "not gzip.gz": right,
        "damaged.gz": packed[:100] + bytes(20) + packed[120:],
    }[kind]
    name = f"{TEST_IMAGES}{Path(kind).suffix}"
    others = {other: raw for other, raw in files.items() if other != TEST_IMAGES}
    write_files(tmp_path / "data", others | {name: wrong})
    with pytest.raises(DataError) as caught:
        mnist.load(tmp_path / "data")
    assert str(tmp_path / "data" / name) in str(caught.value)
    assert sha256(right) in str(caught.value)
    if name == TEST_IMAGES:
        assert sha256(wrong) in str(caught.value)
    assert listing(tmp_path / "data") == others | {f"{name}.wrong": wrong}


def test_four_wrong_checksums_are_another_data_set_and_rename_no_file(files: Contents, tmp_path: Path) -> None:
    other = {name: raw[:-1] + b"\0" for name, raw in files.items()}
    write_files(tmp_path / "data", other)
    with pytest.raises(DataError, match="--skip-checksums"):
        mnist.load(tmp_path / "data")
    assert listing(tmp_path / "data") == other


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Contents]], list[str]]:
    """Installs mirrors by name, each with its files; returns the list of the requests that they receive."""

    def install(mirrors: dict[str, Contents]) -> list[str]:
        requested: list[str] = []

        def mirror(base: str) -> download.DownloadFn:
            def get(name: str, staging: Path) -> Path:
                requested.append(f"{base}/{name}")
                (staging / f"{name}.gz").write_bytes(gzip.compress(mirrors[base][name]))
                return staging / f"{name}.gz"

            return get

        monkeypatch.setattr(download, "MIRRORS", tuple(mirrors))
        monkeypatch.setattr(download, "_mirror", mirror)
        return requested

    return install


def test_downloads_missing_files_and_rejects_a_wrong_checksum(
    files: Contents, requests: Callable[[dict[str, Contents]], list[str]], tmp_path: Path
) -> None:
    requested = requests({"a": files | {TRAIN_LABELS: b"wrong"}, "b": files})
    write_files(tmp_path / "data", {name: files[name] for name in (TRAIN_IMAGES, TEST_IMAGES)})
    for _ in range(2):
        data = mnist.load(tmp_path / "data")
        np.testing.assert_array_equal(data.training.labels, LABELS[3:8])
        assert requested == [f"a/{TRAIN_LABELS}", f"b/{TRAIN_LABELS}", f"b/{TEST_LABELS}"]
        assert listing(tmp_path / "data") == files


def test_a_failed_download_names_both_checksums_and_leaves_no_file(
    files: Contents, requests: Callable[[dict[str, Contents]], list[str]], tmp_path: Path
) -> None:
    requests({"a": files | {TRAIN_IMAGES: b"wrong"}})
    with pytest.raises(DataError, match=f"SHA-256 {sha256(b'wrong')}; that of MNIST is {sha256(files[TRAIN_IMAGES])}"):
        mnist.load(tmp_path / "data")
    assert listing(tmp_path / "data") == {}


@pytest.mark.parametrize(
    ("raw", "shape", "message"),
    [
        (idx(IMAGES)[:15], (28, 28), "x has 15 bytes; its header alone has 16"),
        (b"", (), "x has 0 bytes; its header alone has 8"),
        (idx(LABELS), (28, 28), "magic number 0x00000801; expected is 0x00000803"),
        (idx(IMAGES), (), "magic number 0x00000803; expected is 0x00000801"),
        (idx(IMAGES[:, :14]), (28, 28), r"shape \(14, 28\); expected is \(28, 28\)"),
        (idx(IMAGES)[:-1], (28, 28), "9423 bytes; its header states 12 items, which need 9424 bytes"),
        (idx(LABELS) + b"\0", (), "21 bytes; its header states 12 items, which need 20 bytes"),
        (struct.pack(">4I", 0x803, 2**32 - 1, 28, 28), (28, 28), "4294967295 items"),
    ],
)
def test_rejects_idx_bytes_that_contradict_their_header(raw: bytes, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        mnist.parse_idx(raw, "x", shape)


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        (TRAIN_LABELS, idx(np.append(LABELS[:7], np.uint8(10))), "train-labels-idx1-ubyte has the label 10"),
        (TRAIN_LABELS, idx(LABELS[:7]), "train has 8 images but 7 labels"),
        (TEST_IMAGES, idx(IMAGES[:0]), "t10k has 0 images but 4 labels"),
        (TEST_IMAGES, idx(IMAGES[8:]) + b"\0", f"{TEST_IMAGES} has 3153 bytes; its header states 4 items"),
        (TEST_LABELS, None, f"has no {TEST_LABELS}"),
        (TRAIN_IMAGES, None, f"has no {TRAIN_IMAGES}"),
    ],
)
def test_other_data_is_still_validated(
    name: str, raw: bytes | None, message: str, files: Contents, tmp_path: Path
) -> None:
    contents = {other: files[other] for other in files if other != name} | ({name: raw} if raw else {})
    write_files(tmp_path / "data", contents)
    with pytest.raises(DataError, match=message):
        mnist.load(tmp_path / "data", skip_checksums=True)
    assert listing(tmp_path / "data") == contents


def test_rejects_too_few_training_images(files: Contents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path / "data", files)
    monkeypatch.setattr(mnist, "VALIDATION_IMAGES", 8)
    with pytest.raises(DataError, match="8 training images; more than 8"):
        mnist.load(tmp_path / "data", skip_checksums=True)


def test_other_data_may_have_a_prefix_and_its_checksums_are_recorded(files: Contents, tmp_path: Path) -> None:
    del files[TEST_LABELS]
    other = {name: raw[:-1] + b"\7" for name, raw in files.items()} | {TEST_LABELS: idx(LABELS[:4])}
    named = {f"emnist-digits-{name.replace('t10k', 'test')}.gz": gzip.compress(raw) for name, raw in other.items()}
    write_files(tmp_path / "emnist", named)
    data = mnist.load(tmp_path / "emnist", skip_checksums=True)
    assert data.name == "emnist"
    assert {file.name: (file.sha256, file.size) for file in data.files} == {
        name: (sha256(raw), len(raw)) for name, raw in other.items()
    }
    np.testing.assert_array_equal(data.test.labels, LABELS[:4])
    assert listing(tmp_path / "emnist") == named


def test_checksums_are_the_published_ones() -> None:
    assert mnist.SHA256 == PUBLISHED_SHA256
    assert ChecksumMismatch("f", "a", "b").expected == "b"


def test_mnist_is_split_55000_5000_10000_with_the_first_images_for_validation(mnist: Dataset) -> None:
    raw = {}
    for name in NAMES:
        path = DATA / name
        raw[name] = path.read_bytes() if path.exists() else gzip.decompress((DATA / f"{name}.gz").read_bytes())
        assert sha256(raw[name]) == PUBLISHED_SHA256[name]
    assert {file.name: file.sha256 for file in mnist.files} == PUBLISHED_SHA256
    images = np.frombuffer(raw[TRAIN_IMAGES], np.uint8)[16:].reshape(60_000, 28, 28)
    labels = np.frombuffer(raw[TRAIN_LABELS], np.uint8)[8:]
    for split, where in ((mnist.validation, slice(5_000)), (mnist.training, slice(5_000, 60_000))):
        np.testing.assert_array_equal(split.images, images[where])
        np.testing.assert_array_equal(split.labels, labels[where])
    np.testing.assert_array_equal(mnist.test.images, np.frombuffer(raw[TEST_IMAGES], np.uint8)[16:].reshape(-1, 28, 28))
    np.testing.assert_array_equal(mnist.test.labels, np.frombuffer(raw[TEST_LABELS], np.uint8)[8:])
    assert [len(split) for split in (mnist.training, mnist.validation, mnist.test)] == [55_000, 5_000, 10_000]
    assert labels[:5].tolist() == [5, 0, 4, 1, 9]
