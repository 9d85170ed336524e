"""bench/server_process.py: a server is ready when it has responded, and its output is shown when it does not start."""

import sys

import pytest

from bench.load_generator import Request
from bench.server_process import start_server
from bench.serving import NOOP_FLASK


def test_server_responds_on_its_port_and_ends_with_the_block() -> None:
    with start_server(NOOP_FLASK) as server:
        assert server.predict_request("image/png", b"x", "?fields=digit") == Request(
            f"http://127.0.0.1:{server.port}/predict?fields=digit", "image/png", b"x"
        )
        assert server.start_seconds > 0
        assert 20 < server.memory_mb() < 500  # three Python processes
        assert server.process.poll() is None
    assert server.process.poll() is not None


def test_server_that_ends_is_reported_with_its_output() -> None:
    command = [sys.executable, "-c", "import os; raise SystemExit('no model for port ' + os.environ['DIGITS_PORT'])"]
    with pytest.raises(SystemExit, match=r"does not respond:\nno model for port \d+"), start_server(command):
        pass
