"""Pinned Debian packages: system files, cache, download with stubs of apt-get and dpkg-deb, and every mismatch."""

import dataclasses
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.training.conftest import DATA, SYSTEM_PATH
from training.errors import OodSetUnavailable
from training.evaluation import debian_packages, ood_sets
from training.evaluation.debian_packages import DebianPackage, content_digest, locate_package

DEB, CONTENT = b"fonts-one=1:2.0-3\n", b"content of fonts-one=1:2.0-3\n"
PACKAGE = DebianPackage(
    name="fonts-one",
    version="1:2.0-3",
    deb_sha256=hashlib.sha256(DEB).hexdigest(),
    path="usr/share/one/file",
    content_sha256=hashlib.sha256(CONTENT).hexdigest(),
)
APT_GET = 'for last; do :; done; echo "$@" >> "$LOG"; echo "$last" > "$(echo "$last" | cut -d= -f1)_1_all.deb"'
DPKG_DEB = 'mkdir -p "$3/usr/share/one" && { printf "content of "; cat "$2"; } > "$3/usr/share/one/file"'

Tool = Callable[[str, str], None]


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tool:
    """Installs shell scripts; PATH has nothing else. They append their arguments to $LOG."""
    directory = tmp_path / "bin"
    directory.mkdir()
    (tmp_path / "log").write_text("")
    monkeypatch.setenv("PATH", str(directory))
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    monkeypatch.setattr(debian_packages, "ROOT", tmp_path / "root")

    def install(name: str, script: str) -> None:
        (directory / name).write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
        (directory / name).chmod(0o755)

    return install


@pytest.fixture
def cache(tool: Tool, tmp_path: Path) -> Path:
    """A cache directory to be created, with apt-get and dpkg-deb that provide the pinned package."""
    tool("apt-get", APT_GET)
    tool("dpkg-deb", DPKG_DEB)
    return tmp_path / "cache"


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("directory", ["cache", "{tmp}/cache"], ids=["relative", "absolute"])
def test_downloads_the_pinned_version_once(
    directory: str, cache: Path, tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cache = Path(directory.format(tmp=tmp_path))
    found = locate_package(PACKAGE, cache)
    assert found == cache / "fonts-one" / PACKAGE.path
    assert found.read_bytes() == CONTENT
    assert (tmp_path / "log").read_text().endswith("download fonts-one=1:2.0-3\n")
    tool("apt-get", "exit 1")
    assert locate_package(PACKAGE, cache) == found
    assert [path.name for path in cache.iterdir()] == ["fonts-one"]


def test_an_installed_package_is_used_if_its_content_is_pinned(cache: Path, tmp_path: Path) -> None:
    installed = put(tmp_path / "root" / PACKAGE.path, CONTENT)
    assert locate_package(PACKAGE, cache) == installed
    assert not cache.exists()
    installed.write_bytes(b"another version")
    assert locate_package(PACKAGE, cache) == cache / "fonts-one" / PACKAGE.path


def test_a_cached_package_with_other_content_is_replaced(cache: Path) -> None:
    put(cache / "fonts-one" / PACKAGE.path, b"another version")
    put(cache / "fonts-one" / "other", b"left over")
    assert locate_package(PACKAGE, cache).read_bytes() == CONTENT
    assert not (cache / "fonts-one" / "other").exists()


def test_a_cached_package_that_cannot_be_read_is_replaced(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = put(cache / "fonts-one" / PACKAGE.path, CONTENT)
    read = Path.read_bytes

    def fail_once(path: Path) -> bytes:
        if path == damaged:
            monkeypatch.setattr(Path, "read_bytes", read)
            raise OSError(5, "Input/output error")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", fail_once)
    assert locate_package(PACKAGE, cache).read_bytes() == CONTENT


@pytest.mark.parametrize("kind", ["file", "link", "directory"])
def test_whatever_is_in_place_of_a_cached_package_is_replaced(kind: str, cache: Path) -> None:
    cache.mkdir()
    place = cache / "fonts-one"
    if kind == "file":
        place.write_text("a file")
    elif kind == "link":
        place.symlink_to("fonts-one")
    else:
        (place / PACKAGE.path).mkdir(parents=True)
    assert locate_package(PACKAGE, cache).read_bytes() == CONTENT
    assert locate_package(PACKAGE, cache).read_bytes() == CONTENT


def test_package_lists_in_the_cache_that_are_out_of_date_are_replaced(cache: Path, tool: Tool, tmp_path: Path) -> None:
    old = put(cache / ".apt" / "lists" / "old", b"out of date")
    offers = 'case "$*" in *Dir::State::lists=*/.fetch-*) ;; *) echo "E: Unable to locate" >&2; exit 100;; esac'
    update = 'case "$*" in *update) echo "$@" >> "$LOG"; exit 0;; esac'
    tool("apt-get", f"{offers}\n{update}\n{APT_GET}")
    assert locate_package(PACKAGE, cache).read_bytes() == CONTENT
    assert not old.exists()
    assert (cache / ".apt" / "lists").is_dir()
    assert [line.split()[-1] for line in (tmp_path / "log").read_text().splitlines()] == ["update", "fonts-one=1:2.0-3"]


def test_the_output_of_a_tool_may_be_of_any_bytes(cache: Path, tool: Tool) -> None:
    tool("apt-get", r"printf 'E: \377\376\n' >&2; exit 100")
    with pytest.raises(OodSetUnavailable, match=r"apt-get failed: E: \\xff\\xfe"):
        locate_package(PACKAGE, cache)


def test_without_package_lists_new_ones_are_downloaded_once(cache: Path, tool: Tool, tmp_path: Path) -> None:
    offers = 'case "$*" in *Dir::State::lists=*) ;; *) echo "E: Unable to locate" >&2; exit 100;; esac'
    update = 'case "$*" in *update) echo "$@" >> "$LOG"; exit 0;; esac'
    tool("apt-get", f"{offers}\n{update}\n{APT_GET}")
    other = dataclasses.replace(PACKAGE, content_sha256=hashlib.sha256(b"").hexdigest())
    assert locate_package(PACKAGE, cache).read_bytes() == CONTENT
    with pytest.raises(OodSetUnavailable, match="unexpected content"):
        locate_package(other, cache)
    actions = [line.split()[-2:] for line in (tmp_path / "log").read_text().splitlines()]
    assert [action[-1] for action in actions] == ["update", "fonts-one=1:2.0-3", "fonts-one=1:2.0-3"]
    assert (cache / ".apt" / "lists").is_dir()


@pytest.mark.parametrize(
    ("apt_get", "dpkg_deb", "reason"),
    [
        (None, DPKG_DEB, "is required, and there is no apt-get"),
        (APT_GET, None, "is required, and there is no apt-get"),
        (
            "echo 'E: Version not found' >&2; exit 100",
            DPKG_DEB,
            "is required, and apt-get failed: E: Version not found",
        ),
        ("true", DPKG_DEB, "apt-get downloaded no .deb file"),
        ("echo other > a.deb", DPKG_DEB, f"was downloaded with SHA-256 [0-9a-f]{{64}}, not {PACKAGE.deb_sha256}"),
        (APT_GET, "echo broken >&2; exit 2", "dpkg-deb failed: broken"),
        (APT_GET, "true", "cannot be unpacked: "),
        (APT_GET, 'mkdir "$3"', "has unexpected content at usr/share/one/file"),
        (APT_GET, 'mkdir -p "$3/usr/share/one/file"', "has unexpected content at usr/share/one/file"),
    ],
)
def test_a_failure_is_one_sentence_with_the_version_and_leaves_nothing_to_be_used(
    apt_get: str | None, dpkg_deb: str | None, reason: str, tool: Tool, tmp_path: Path
) -> None:
    for name, script in (("apt-get", apt_get), ("dpkg-deb", dpkg_deb)):
        if script is not None:
            tool(name, script)
    cache = tmp_path / "cache"
    with pytest.raises(OodSetUnavailable, match=f"the Debian package fonts-one, version 1:2.0-3, .*{reason}") as caught:
        locate_package(PACKAGE, cache)
    assert "\n" not in str(caught.value)
    assert not [path for path in cache.rglob("file") if path.is_file()]
    assert not list(cache.glob(".fetch-*"))
    shutil.rmtree(cache, ignore_errors=True)
    tool("apt-get", APT_GET)
    tool("dpkg-deb", DPKG_DEB)
    assert locate_package(PACKAGE, cache).exists()


def test_the_digest_of_a_directory_depends_on_names_and_contents(tmp_path: Path) -> None:
    put(tmp_path / "a" / "x" / "1", b"one")
    put(tmp_path / "a" / "2", b"two")
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in (("2", b"two"), ("x/1", b"one"))}
    lines = "".join(f"{digest}  {name}\n" for name, digest in sums.items())
    assert content_digest(tmp_path / "a") == hashlib.sha256(lines.encode()).hexdigest()
    (tmp_path / "a" / "2").rename(tmp_path / "a" / "3")
    assert content_digest(tmp_path / "a") != hashlib.sha256(lines.encode()).hexdigest()


@pytest.mark.skipif(not shutil.which("apt-get", path=SYSTEM_PATH), reason="there is no apt-get to download packages")
def test_the_pinned_packages_can_be_obtained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", SYSTEM_PATH)
    packages = [*ood_sets.TEXT_FONTS, *ood_sets.HANDWRITING_FONTS, ood_sets.FASHION_MNIST, ood_sets.KANJI_STROKES]
    for package in packages:
        path = locate_package(package, DATA / "ood_sets")
        assert content_digest(path) == package.content_sha256
        assert path.is_file() or {".ttf", ".otf"} & {file.suffix for file in path.iterdir()}
