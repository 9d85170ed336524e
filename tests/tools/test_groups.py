"""The pytest plugin that groups the tests: what it marks, and that a required group must not be skipped."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.conftest import REPOSITORY
from tests.groups import groups

SKIPPED = '@pytest.mark.{marker}\ndef test_example(): pytest.skip("no engine responds")\n'


def run_pytest(directory: Path, text: str, required: str) -> tuple[int, str]:
    """Run pytest on a file with this text, and return its exit status and its output."""
    path = directory / "test_example.py"
    path.write_text(f"import pytest\n{text}")
    plugins = ("-p", "tests.groups", "-p", "no:cacheprovider")
    configuration = ("-c", str(REPOSITORY / "pyproject.toml"), "--rootdir", str(directory))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, *configuration, path],
        cwd=REPOSITORY,
        env=os.environ | {"TESTS_MUST_RUN": required, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def test_unit_is_the_default(request: pytest.FixtureRequest) -> None:
    assert list(groups(request.node)) == ["unit"]


@pytest.mark.parametrize(
    ("path", "fixture", "expected"),
    [
        ("service/test_app.py", "mnist", {"unit"}),
        ("training/data/test_mnist.py", "tmp_path", {"unit"}),
        ("training/data/test_mnist.py", "mnist", {"unit", "slow"}),
        ("training/fit/test_loop.py", "tmp_path", {"unit", "slow"}),
        ("system/test_web_ui.py", "browser", {"system", "browser"}),
        ("system/test_accuracy.py", "mnist", {"system"}),
        ("system/test_lifecycle.py", "one_version", {"system", "alone"}),
        ("system/test_stack.py", "stack", {"system", "alone", "docker"}),
    ],
)
def test_groups_follow_from_directory_and_fixtures(path: str, fixture: str, expected: set[str]) -> None:
    item = SimpleNamespace(path=REPOSITORY / "tests" / path, fixturenames=[fixture])
    assert set(groups(item)) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(("marker", "status"), [("docker", 1), ("wrk", 0)])
def test_skip_fails_the_run_if_its_group_is_required(tmp_path: Path, marker: str, status: int) -> None:
    found, output = run_pytest(tmp_path, SKIPPED.format(marker=marker), required="browser docker")
    assert found == status
    assert ("ERROR tests marked docker must run here, and were skipped: Skipped: no engine responds" in output) == found
