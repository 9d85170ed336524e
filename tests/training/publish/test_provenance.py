"""The provenance part of a manifest: recipe, data set, package versions, code revision."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from training.data.mnist import Dataset
from training.publish import provenance
from training.recipe import Recipe


def git(directory: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    command = ["git", "-C", str(directory), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that provenance takes for that of the training package, with one file in `publish`."""
    directory = tmp_path / "repository" / "training"
    (directory / "publish").mkdir(parents=True)
    (directory / "publish" / "provenance.py").write_text("")
    monkeypatch.setattr(provenance, "__file__", str(directory / "publish" / "provenance.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    return directory


def test_states_recipe_data_set_and_time(small_mnist: Dataset) -> None:
    recipe = Recipe.load("smoke", ["seed=7"])
    manifest = provenance.collect(recipe, small_mnist)
    assert (manifest["name"], manifest["recipe"], manifest["seed"]) == ("digits", recipe.as_dict(), 7)
    assert manifest["dataset"]["name"] == small_mnist.name
    assert manifest["dataset"]["images"] == {"training": 2000, "validation": 5000, "test": 1000}
    files = [(file["name"], file["sha256"], file["size"]) for file in manifest["dataset"]["files"]]
    assert files == [(file.name, file.sha256, file.size) for file in small_mnist.files]
    created = datetime.fromisoformat(manifest["created_at"])
    assert created.tzinfo == UTC
    assert abs((datetime.now(UTC) - created).total_seconds()) < 3600


def test_package_versions_are_those_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = provenance.package_versions()
    assert versions["tensorflow"] == tf.__version__
    assert versions["numpy"] == np.__version__
    assert "unknown" not in versions.values()
    monkeypatch.setattr(provenance, "PACKAGES", ("no-such-package",))
    assert provenance.package_versions()["no-such-package"] == "unknown"


def test_revision_is_the_commit_with_a_plus_after_changes_in_training_only(package: Path) -> None:
    repository = package.parent
    git(repository, "init", "-q")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "first")
    head = git(repository, "rev-parse", "HEAD")
    assert provenance.code_revision() == head
    (repository / "README.md").write_text("changed outside of training")
    assert provenance.code_revision() == head
    (package / "commands.py").write_text("changed outside of publish")
    assert provenance.code_revision() == f"{head}+"


def test_revision_is_unknown_without_a_repository_or_without_git(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert provenance.code_revision() == "unknown"
    git(package.parent, "init", "-q")
    assert provenance.code_revision() == "unknown", "a repository without a commit"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.code_revision() == "unknown"
