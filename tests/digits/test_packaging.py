"""The distribution: a wheel with the client's requirements alone, the service's as an extra, and the newest version."""

import subprocess
import sys
import tomllib
import zipfile
from email import message_from_string
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.conftest import REPOSITORY
from tests.packaging import build_wheel
from tools.lock import requirements

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    return zipfile.ZipFile(build_wheel(tmp_path_factory.mktemp("wheel")))


def test_the_pins_of_the_client_are_within_its_ranges() -> None:
    ranges = {Requirement(text).name: Requirement(text).specifier for text in PROJECT["dependencies"]}
    pins = dict(text.split("==") for text in requirements(REPOSITORY, "client"))
    assert ranges.keys() == pins.keys()
    assert all(specifier.contains(pins[name]) for name, specifier in ranges.items())


@pytest.mark.parametrize(("extra", "group"), [("serve", "service"), ("training", "training"), ("parquet", "parquet")])
def test_each_extra_has_the_requirements_of_its_group(wheel: zipfile.ZipFile, extra: str, group: str) -> None:
    metadata = message_from_string(wheel.read("digits-0.1.0.dist-info/METADATA").decode())
    found = [Requirement(text) for text in metadata.get_all("Requires-Dist", [])]
    own = {
        f"{item.name}{item.specifier}" for item in found if item.marker and f'extra == "{extra}"' in str(item.marker)
    }
    assert own == {f"{item.name}{item.specifier}" for item in map(Requirement, requirements(REPOSITORY, group))}
    without = {item.name for item in found if not (item.marker and "extra" in str(item.marker))}
    assert without == {Requirement(text).name for text in PROJECT["dependencies"]}


def test_the_wheel_has_the_newest_version_whole_and_all_files_of_the_packages(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    versions = REPOSITORY / "models" / "digits"
    newest = max(int(path.name) for path in versions.iterdir() if path.name.isdecimal())
    files = {path.relative_to(versions) for path in (versions / str(newest)).rglob("*") if path.is_file()}
    assert {name for name in names if name.startswith("digits/models/")} == {f"digits/models/{name}" for name in files}
    tracked = subprocess.run(
        ["git", "ls-files", "digits", "service", "training"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    left_out = {name for name in tracked if name not in names and Path(name).suffix not in (".md", ".txt")}
    assert {name for name in left_out if not Path(name).name.startswith(".")} == set()


def test_the_wheel_gives_the_command(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    assert "digits = digits.__main__:main" in wheel.read("digits-0.1.0.dist-info/entry_points.txt").decode()
    wheel.extractall(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "digits", "--version"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{PROJECT['version']}\n"
