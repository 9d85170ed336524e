"""The distribution: its extras are the dependency groups, and its dependencies are those of the client alone."""

import tomllib

from tests.conftest import REPOSITORY
from tools.lock import requirements

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


def test_the_lock_has_a_version_of_every_dependency_of_the_client() -> None:
    pinned = {requirement.partition("==")[0] for requirement in requirements(REPOSITORY, "client")}
    assert {requirement.partition(">=")[0] for requirement in PROJECT["dependencies"]} == pinned
    assert pinned & {name.partition("==")[0] for name in requirements(REPOSITORY, "service")} == set()
