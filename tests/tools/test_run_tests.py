"""The test runner: one summary counts the tests of all phases, and a failure of any phase is a failure."""

from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tools.run_tests import run

PHASES: dict[str, tuple[str, ...]] = {"not alone": (), "alone": ()}
TESTS = """
import pytest

def test_passes(): pass

@pytest.mark.skip(reason="there is no engine")
@pytest.mark.parametrize("number", [1, 2])
def test_needs_an_engine(number): pass

@pytest.fixture
def broken(): raise OSError

@pytest.mark.alone
def test_alone(): pass
"""
FAILS = "def test_fails(): assert False\n"
FAILS_ALONE = f"@pytest.mark.alone\n{FAILS}"
HAS_AN_ERROR = "def test_has_an_error(broken): pass\n"


@pytest.fixture(autouse=True)
def _only_own_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # starts faster


def run_file(directory: Path, text: str, *arguments: str) -> int:
    (directory / "test_example.py").write_text(text)
    configuration = ("-c", str(REPOSITORY / "pyproject.toml"), "--rootdir", str(directory), "-p", "no:cacheprovider")
    return run(PHASES, [*configuration, *arguments, str(directory)])


def test_last_line_counts_all_phases(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_file(tmp_path, TESTS) == 0
    *_, skipped, last = capfd.readouterr().out.splitlines()
    assert skipped == "SKIPPED [2] there is no engine"
    assert last.startswith("2 passed, 2 skipped in ")


@pytest.mark.parametrize(
    ("text", "problem", "counts"),
    [
        (FAILS, "FAILED test_example.py::test_fails", "1 failed, 2 passed, 2 skipped in "),
        (FAILS_ALONE, "FAILED test_example.py::test_fails", "1 failed, 2 passed, 2 skipped in "),
        (HAS_AN_ERROR, "ERROR test_example.py::test_has_an_error", "2 passed, 2 skipped, 1 errors in "),
    ],
)
def test_problem_of_any_phase_fails_the_run(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], text: str, problem: str, counts: str
) -> None:
    assert run_file(tmp_path, TESTS + text) == 1
    *_, named, last = capfd.readouterr().out.splitlines()
    assert named == problem
    assert last.startswith(counts)


def test_phase_that_cannot_run_fails_the_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_file(tmp_path, TESTS, "--no-such-option") == 1
    assert "ERROR pytest ended with exit status 4; tests marked not alone" in capfd.readouterr().out
