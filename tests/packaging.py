"""Build the distribution's wheel without a network: with the installed setuptools, from a copy of the repository."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY

CONTENTS = ("pyproject.toml", "setup.py", "LICENSE", "NOTICE", "digits", "service", "training", "models")


def build_wheel(directory: Path) -> Path:
    """Return the path of a new wheel in a directory. Setuptools writes into the tree: it is given a copy."""
    source = directory / "source"
    source.mkdir()
    for name in CONTENTS:
        path = REPOSITORY / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        else:
            shutil.copyfile(path, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run(
        [*command, "--disable-pip-version-check", "--wheel-dir", directory, source], capture_output=True, check=True
    )
    (wheel,) = directory.glob("*.whl")
    return wheel
