"""Data files of Debian packages, each pinned by version, by the SHA-256 of the .deb and by that of its content.

A package is taken from the system if it is installed with exactly the pinned content, else from the cache, else it is
downloaded with `apt-get download` into the cache. Downloading needs no root; where the system's package lists do not
offer the version, as in the image of the trainer, which has none, new lists are downloaded into the cache first.
"""

import hashlib
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from training.errors import OodSetUnavailable

ROOT = Path("/")
APT_OPTIONS = ("APT::Sandbox::User=root", "Acquire::Retries=0", "Acquire::http::Timeout=20")
TIMEOUT_SECONDS = 300


@dataclass(frozen=True)
class DebianPackage:
    """A package and the file or directory in it that is used.

    `deb_sha256` is that of the .deb file; `content_sha256` that of the file `path`, or of the directory, as
    `content_digest` defines it.
    """

    name: str
    version: str
    deb_sha256: str
    path: str
    content_sha256: str

    def __str__(self) -> str:
        return f"the Debian package {self.name}, version {self.version}"


def locate_package(package: DebianPackage, cache: Path) -> Path:
    """The used file or directory of a package, verified; downloaded into `cache` if necessary.

    Raises:
        OodSetUnavailable: the package is not available in the pinned version, or its content differs.
    """
    for root in (ROOT, cache / package.name):
        if _is_pinned_content(root / package.path, package):
            return root / package.path
    _download(package, cache)
    found = cache / package.name / package.path
    if not _is_pinned_content(found, package):
        raise OodSetUnavailable(f"{package}, has unexpected content at {package.path}")
    return found


def content_digest(path: Path) -> str:
    """The SHA-256 of a file; of a directory, that of the output of `sha256sum` for its files, sorted by path."""
    if path.is_file():
        return _sha256(path)
    files = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
    lines = "".join(f"{_sha256(path / file)}  {file}\n" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def _is_pinned_content(path: Path, package: DebianPackage) -> bool:
    """Whether a file or directory has the pinned content; what cannot be read has not."""
    try:
        return path.exists() and content_digest(path) == package.content_sha256
    except OSError:
        return False


def _remove(path: Path) -> None:
    """Remove a directory or a file, whatever is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _download(package: DebianPackage, cache: Path) -> None:
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise OodSetUnavailable(f"{package}, is required, and there is no apt-get to download it")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=cache.resolve()) as staging:
            archive = _download_deb(package, Path(staging), cache.resolve() / ".apt")
            if (sha256 := _sha256(archive)) != package.deb_sha256:
                raise OodSetUnavailable(f"{package}, was downloaded with SHA-256 {sha256}, not {package.deb_sha256}")
            _run(["dpkg-deb", "-x", archive.name, "unpacked"], Path(staging), package)
            _remove(cache / package.name)
            Path(staging, "unpacked").rename(cache / package.name)
    except OSError as error:
        raise OodSetUnavailable(f"{package}, cannot be unpacked: {error}") from error


def _download_deb(package: DebianPackage, staging: Path, apt_state: Path) -> Path:
    """Download the .deb into `staging`, with the system's package lists or else with lists kept in `apt_state`."""
    try:
        _run(_apt_get(package), staging, package)
    except OodSetUnavailable:
        try:
            if not apt_state.exists():
                raise
            _run(_apt_get(package, apt_state), staging, package)
        except OodSetUnavailable:  # there are no lists, or they are out of date or damaged
            (staging / "apt/lists/partial").mkdir(parents=True)
            _run(_apt_get(None, staging / "apt"), staging, package)
            _run(_apt_get(package, staging / "apt"), staging, package)
            _remove(apt_state)
            (staging / "apt").rename(apt_state)
    archive = next(staging.glob("*.deb"), None)
    if archive is None:
        raise OodSetUnavailable(f"{package}, is required, and apt-get downloaded no .deb file")
    return archive


def _apt_get(package: DebianPackage | None, apt_state: Path | None = None) -> list[str]:
    """The command that downloads a package, or the package lists if there is none."""
    options = list(APT_OPTIONS)
    if apt_state:
        options += [f"Dir::State::lists={apt_state}/lists", f"Dir::Cache={apt_state}", "Debug::NoLocking=1"]
    action = ["download", f"{package.name}={package.version}"] if package else ["update"]
    return ["apt-get", "-qq", *(argument for option in options for argument in ("-o", option)), *action]


def _run(command: list[str], directory: Path, package: DebianPackage) -> None:
    try:
        completed = subprocess.run(
            command,
            cwd=directory,
            capture_output=True,
            text=True,
            errors="backslashreplace",
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise OodSetUnavailable(
            f"{package}, is required, and {command[0]} timed out after {TIMEOUT_SECONDS} s"
        ) from None
    if completed.returncode:
        output = " ".join(completed.stderr.split())[-200:]
        raise OodSetUnavailable(f"{package}, is required, and {command[0]} failed: {output}")
