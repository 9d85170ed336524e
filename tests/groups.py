"""A pytest plugin: sorts the tests into groups, and fails a run in which a required group was skipped.

A test's group follows from its directory and its fixtures, so that a new test need not be marked; `slow`, `docker`,
`nginx`, `wrk` and `alone` can be set by hand as well. pyproject.toml describes the markers.
"""

import os
from collections.abc import Iterator

import pytest
from _pytest.terminal import TerminalReporter

BESIDE_OTHERS = (
    *("test_accuracy", "test_fresh_clone", "test_malformed_requests", "test_pictures", "test_plain_worker", "test_tls"),
    *("test_client", "test_installed_package", "test_proxy", "test_tensorflow_serving", "test_web_ui"),
)
"""Modules of tests/system, by the beginning of their name, that compare responses only: load does not change them."""

TRAINS = {"mnist", "trained", "start"}
"""Fixtures of tests/training whose tests train a network, read all of MNIST, or start Python with TensorFlow."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test with its groups, and run the files with slow ones first, so that both processes end together."""
    for item in items:
        for name in groups(item):
            item.add_marker(name)
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def groups(item: pytest.Item) -> Iterator[str]:
    """Yield the groups of a test that follow from where it is and what it uses."""
    fixtures = set(getattr(item, "fixturenames", ()))
    system = item.nodeid.startswith("tests/system/")
    if system:
        yield "system"
        if not item.path.name.startswith(BESIDE_OTHERS):
            yield "alone"
    if "browser" in fixtures:
        yield "browser"
    if "stack" in fixtures:
        yield "docker"
    if item.nodeid.startswith("tests/training/") and (fixtures & TRAINS or item.path.stem == "test_loop"):
        yield "slow"
    if not system:
        yield "unit"


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """List the required groups of which a test was skipped."""
    for group, reasons in missing(terminalreporter).items():
        terminalreporter.write_line(f"ERROR tests marked {group} must run here, and were skipped: {'; '.join(reasons)}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run if a required group was skipped."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter and missing(reporter):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def missing(reporter: TerminalReporter) -> dict[str, list[str]]:
    """Return, for each group named in TESTS_MUST_RUN of which a test was skipped, the reasons."""
    required = os.environ.get("TESTS_MUST_RUN", "").split()
    reports = [report for report in reporter.stats.get("skipped", []) if isinstance(report.longrepr, tuple)]
    found = {
        group: sorted({report.longrepr[2] for report in reports if group in report.keywords}) for group in required
    }
    return {group: reasons for group, reasons in found.items() if reasons}
