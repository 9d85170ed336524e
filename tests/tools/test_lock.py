"""The locks: `differences` reports every way in which a requirement file can stop matching pyproject.toml."""

import shutil
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tools.lock import GROUPS, differences, requirements


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of pyproject.toml and the locks."""
    for name in ("pyproject.toml", *GROUPS):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(REPOSITORY / name, tmp_path / name)
    return tmp_path


def test_locks_match_pyproject(copy: Path) -> None:
    assert differences(copy) == []


def test_included_groups_are_resolved() -> None:
    assert set(requirements(REPOSITORY, "service")) < set(requirements(REPOSITORY, "dev"))


@pytest.mark.parametrize(
    ("file", "old", "new", "sentence"),
    [
        ("pyproject.toml", '"scipy==1.17.1"', '"scipy==1.17.2"', "scipy is 1.17.1, and 1.17.2 in pyproject.toml"),
        ("pyproject.toml", '    "scipy==1.17.1",\n', "", "the dependency group training of pyproject.toml has changed"),
        (
            "service/requirements.txt",
            "click==8.5.1",
            "click==8.5.0",
            "click is 8.5.0, and 8.5.1 in requirements.txt",
        ),
        (
            "requirements.txt",
            "tritonclient==2.73.0",
            "tritonclient==2.72.0",
            "tritonclient is 2.72.0, and 2.73.0 in pyproject.toml",
        ),
        ("service/requirements.txt", "flask==", "flaskr==", "flask is None"),
        ("training/requirements.txt", "scipy==1.17.1 \\", "scipy==1.17.1\n", "a package has no hash"),
        ("requirements.txt", "scipy==", "--index-url file://packages\nscipy==", "an index is named"),
    ],
)
def test_reports_a_change_of_one_file(copy: Path, file: str, old: str, new: str, sentence: str) -> None:
    path = copy / file
    assert path.read_text().count(old) == 1
    path.write_text(path.read_text().replace(old, new))
    assert sentence in "\n".join(differences(copy))
