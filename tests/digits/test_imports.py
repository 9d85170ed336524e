"""`import digits` is light: in a fresh process, it loads none of the libraries of service and training."""

import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

HEAVY = {"numpy", "PIL", "pyarrow", "flask", "werkzeug", "gunicorn", "tensorflow", "cv2", "service", "training"}


@pytest.mark.parametrize("module", ["digits", "digits.commands.group"])
def test_it_imports_nothing_of_service_and_training(module: str) -> None:
    program = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60
    )
    assert set(done.stdout.split()) & HEAVY == set()
    assert "httpx" in done.stdout.split()
