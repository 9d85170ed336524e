"""service/isolation/fork_server.py without a pool: how it ends."""

import os
import select

import pytest

from service.isolation.fork_server import ForkServer
from tests.service.isolation.fresh_process import SECONDS, run_in_fresh_process


async def ends_with_a_report_unread() -> None:
    server = ForkServer.start(lambda _: None)
    _, connection = server.fork()
    with connection:
        assert select.select([server.control], [], [], SECONDS)[0]
    server.close()
    assert os.waitpid(server.pid, 0) == (server.pid, 0)  # noqa: ASYNC222 - nothing else runs in this process


def test_a_worker_that_ends_with_a_report_unread_is_no_error(capfd: pytest.CaptureFixture[str]) -> None:
    run_in_fresh_process(ends_with_a_report_unread)
    assert "Traceback" not in capfd.readouterr().err
