"""docs/architecture.md: its layers are those that import-linter checks, and its table names every package."""

import re
import tomllib

import pytest

from tests.conftest import REPOSITORY

ARCHITECTURE = (REPOSITORY / "docs" / "architecture.md").read_text()
CONTRACTS = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]


@pytest.mark.parametrize("package", ["digits", "service", "training"])
def test_the_layers_are_those_of_the_import_contract(package: str) -> None:
    (contract,) = (contract for contract in CONTRACTS if contract.get("containers") == [package])
    block = re.search(rf"^{package}:((?:.+\n)(?: +<.+\n)*)", ARCHITECTURE, re.MULTILINE)
    assert block
    stated = [set(re.findall(r"\w+", layer)) for layer in block[1].replace("gunicorn.conf.py", "").split("<")]
    checked = [set(re.findall(r"\w+", layer)) for layer in reversed(contract["layers"])]
    assert [layer for layer in stated if layer] == checked


@pytest.mark.parametrize("package", ["digits", "service", "training"])
def test_the_table_names_every_package(package: str) -> None:
    packages = {path.parent.name for path in (REPOSITORY / package).glob("*/__init__.py")}
    assert packages
    assert {name for name in packages if f"| `{package}/{name}/` |" not in ARCHITECTURE} == set()
