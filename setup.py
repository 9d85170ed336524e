"""What pyproject.toml cannot say: extras that are its dependency groups, and the newest version within the wheel.

The service is installed with the version that the repository publishes, as `digits/models/N`: `digits serve` needs no
clone.
"""

import shutil
import tomllib
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

REPOSITORY = Path(__file__).parent
MODELS = REPOSITORY / "models" / "digits"
EXTRAS = {"serve": "service", "training": "training", "parquet": "parquet"}
"""The dependency group of each extra."""


def extras() -> dict[str, list[str]]:
    """Return the requirements of each extra: those of its dependency group."""
    groups = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["dependency-groups"]
    return {extra: groups[group] for extra, group in EXTRAS.items()}


class BuildWithModel(build_py):
    """Adds the newest published version to the packages."""

    def run(self) -> None:
        """Copy the packages, and the version's directory whole: its manifest has the hash of every file."""
        super().run()
        if not self.editable_mode:
            version = max((path for path in MODELS.iterdir() if path.name.isdecimal()), key=lambda path: int(path.name))
            models = Path(self.build_lib, "digits", "models")
            shutil.rmtree(models, ignore_errors=True)
            shutil.copytree(version, models / version.name)


if __name__ == "__main__":
    setup(cmdclass={"build_py": BuildWithModel}, extras_require=extras())
