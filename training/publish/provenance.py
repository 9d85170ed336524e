"""The provenance of a version: recipe, code revision, package versions, data set."""

import platform
import subprocess
import time
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from training.data.mnist import Dataset
from training.recipe import Recipe

NAME = "digits"
PACKAGES = ("tensorflow", "keras", "numpy", "ai-edge-litert")


def collect(recipe: Recipe, data: Dataset) -> dict[str, Any]:
    """The provenance part of a manifest, for a version trained now with this code."""
    return {
        "name": NAME,
        "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "recipe": recipe.as_dict(),
        "seed": recipe.seed,
        "code_revision": code_revision(),
        "packages": package_versions(),
        "dataset": {
            "name": data.name,
            "images": {split: len(getattr(data, split)) for split in ("training", "validation", "test")},
            "files": [asdict(file) for file in data.files],
        },
    }


def package_versions() -> dict[str, str]:
    """The versions of Python and of the packages that influence the result of training."""
    return {"python": platform.python_version()} | {name: _installed_version(name) for name in PACKAGES}


def code_revision() -> str:
    """The commit of the code, with `+` if there are uncommitted changes in `training`; "unknown" outside of git."""
    git = ["git", "-C", str(Path(__file__).parents[1])]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        status = ["status", "--porcelain", "--", "."]
        changed = subprocess.run([*git, *status], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{head}+" if changed else head


def _installed_version(package: str) -> str:
    """The version of a package; TensorFlow may be installed as tensorflow-cpu."""
    names = (package, f"{package}-cpu") if package == "tensorflow" else (package,)
    for name in names:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "unknown"
