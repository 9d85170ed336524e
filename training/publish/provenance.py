"""What a version says of itself: how it was made, what of, and what it is worth."""

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
    """The part of a manifest that tells how a version was made, now, with this code."""
    return {
        "name": NAME,
        "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "recipe": recipe.as_dict(),
        "seed": recipe.seed,
        "code_revision": code_revision(),
        "packages": package_versions(),
        "dataset": {
            "name": data.name,
            "images": {part: len(getattr(data, part)) for part in ("training", "validation", "test")},
            "files": [asdict(file) for file in data.files],
        },
    }


def package_versions() -> dict[str, str]:
    """The versions of Python and of the packages that decide what training gives."""
    return {"python": platform.python_version()} | {name: _installed(name) for name in PACKAGES}


def code_revision() -> str:
    """The commit that the code is at, with `+` if files were changed since; "unknown" outside of git."""
    git = ["git", "-C", str(Path(__file__).parents[1])]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        code = ["status", "--porcelain", "--", "."]
        changed = subprocess.run([*git, *code], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{head}+" if changed else head


def _installed(package: str) -> str:
    """The package's version; TensorFlow's goes by one of two names."""
    names = (package, f"{package}-cpu") if package == "tensorflow" else (package,)
    for name in names:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "unknown"
