"""The benchmark of the client: its command sets the number of pictures in a request."""

import subprocess
import sys

from bench.client_speed import COMMAND
from tests.conftest import REPOSITORY


def test_the_command_is_that_of_the_client_with_another_limit() -> None:
    program = f"import atexit; {COMMAND.format(3)}".replace(
        "sys.exit", "atexit.register(lambda: print(digits.pictures.MAX_BATCH_PICTURES)); sys.exit"
    )
    command = [sys.executable, "-c", program, "--version"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("digits, version")
    assert done.stdout.endswith("\n3\n")
