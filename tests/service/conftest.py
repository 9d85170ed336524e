"""Fixtures for the tests of the service in the process of the test."""

from collections.abc import Iterator

import pytest

from service.inference import trial


@pytest.fixture(scope="package", autouse=True)
def without_trials() -> Iterator[None]:
    """Load networks without a trial: it takes 0.3 s, and tests/service/inference/test_trial.py tests it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial, "try_network", lambda *_: None)
        yield
