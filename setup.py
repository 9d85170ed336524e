"""What pyproject.toml cannot say: extras are dependency groups, and a wheel has the newest version of the model."""

import shutil
import tomllib
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
EXTRAS = {"serve": "service", "train": "training"}
"""The dependency group of each extra of the application. A library beside the client may have other versions."""
VERSIONS = ROOT / "models" / "digits"


def extras() -> dict[str, list[str]]:
    """The requirements of each extra, as the dependency group pins them."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    return {"parquet": ["pyarrow>=15"]} | {extra: groups[group] for extra, group in EXTRAS.items()}


class BuildWithModel(build_py):  # type: ignore[misc]  # setuptools ships no types
    """Copies the newest version beside the modules of `digits`; `digits serve` finds it there."""

    def run(self) -> None:
        """Build, and copy the version. An editable installation serves the version of the clone."""
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / "digits" / "models"
        shutil.rmtree(target, ignore_errors=True)  # an earlier build may have left an older version
        numbers = [int(path.parent.name) for path in VERSIONS.glob("*/manifest.json") if path.parent.name.isdecimal()]
        if numbers:
            newest = str(max(numbers))
            shutil.copytree(VERSIONS / newest, target / newest)


setup(cmdclass={"build_py": BuildWithModel}, extras_require=extras())
