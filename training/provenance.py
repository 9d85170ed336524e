"""What a version was made with: the code's revision and the packages' versions."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("tensorflow", "keras", "numpy", "ai-edge-litert")


def packages() -> dict[str, str]:
    """The versions of Python and of the packages that decide what training gives."""
    return {"python": platform.python_version()} | {name: _installed(name) for name in PACKAGES}


def revision() -> str:
    """The commit that the code is at, with `+` if files were changed since; "unknown" outside of git."""
    git = ["git", "-C", str(Path(__file__).parent)]
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
