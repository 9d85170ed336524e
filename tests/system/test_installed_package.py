"""The wheel, installed without the clone: the command, the service in it, and the version of the model in it."""

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from email import message_from_string
from pathlib import Path

import pytest

from digits import Client
from tests.system.server import REPOSITORY, Server, serving
from tools.lock import requirements

SOURCES = ("digits", "service", "training", "models", "pyproject.toml", "setup.py", "MANIFEST.in", "LICENSE", "NOTICE")
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "-q")
OFFLINE = ("--no-deps", "--no-index")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this checkout, with a second, older version of the model that must not be in it."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    ignore = shutil.ignore_patterns("__pycache__", ".*")
    for name in SOURCES:
        path = REPOSITORY / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=ignore)
        else:
            shutil.copyfile(path, source / name)
    older = source / "models" / "digits" / "1"
    older.mkdir()
    (older / "manifest.json").write_text("{}")
    subprocess.run([*PIP, "wheel", *OFFLINE, "--no-build-isolation", "-w", target, source], check=True)
    (found,) = target.glob("digits-*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the packages of the wheel."""
    target = tmp_path_factory.mktemp("installed")
    subprocess.run([*PIP, "install", *OFFLINE, "--target", target, wheel], check=True)
    return target


@pytest.fixture(scope="module")
def server(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`digits serve`, in a directory that has packages of the same names."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "service").mkdir()
    (elsewhere / "service" / "__init__.py").write_text("raise AssertionError('this is another package')")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(installed))
        with serving([sys.executable, str(installed / "bin" / "digits"), "serve"], cwd=elsewhere, workers=1) as server:
            yield server


def test_the_wheel_has_the_newest_version_alone(wheel: Path) -> None:
    newest = max((REPOSITORY / "models" / "digits").glob("[0-9]*"), key=lambda path: int(path.name))
    names = zipfile.ZipFile(wheel).namelist()
    versions = {name.split("/")[2] for name in names if name.startswith("digits/models/")}
    assert versions == {newest.name}
    assert {"digits/py.typed", "service/gunicorn.conf.py", "service/web/templates/base.html"} <= set(names)
    assert not [name for name in names if name.startswith(("tests/", "tools/", "bench/"))]


def test_the_dependencies_are_those_of_the_client_and_the_extras_are_the_groups(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        required = message_from_string(archive.read(path).decode()).get_all("Requires-Dist") or []
    names = {item.replace("<1,", "").partition(">=")[0] for item in required if "extra" not in item}
    assert names == {"click", "httpx", "tqdm"}
    for extra, group in (("serve", "service"), ("train", "training")):
        found = [item.partition(";")[0] for item in required if f'extra == "{extra}"' in item]
        assert found == [item.partition(";")[0] for item in requirements(REPOSITORY, group)]


def test_the_installed_service_predicts(server: Server, installed: Path) -> None:
    assert f"{installed}/service/web/example/seven.png" in server.log or server.wait_for(str(installed))
    with Client(server.address) as client:
        assert client.predict(REPOSITORY / "tests" / "pictures" / "seven.png").digit == 7
        assert client.predict(REPOSITORY / "tests" / "pictures" / "2024.jpg", split=True)[0].text == "2024"
        assert client.model().manifest["parameters"] == 185_300
    assert server.client.get("/").status_code == 200
