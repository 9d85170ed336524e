"""SIGTERM: requests in flight are finished, idle connections are closed, and nothing is left behind."""

import http.client
import os
import re
import signal
import socket
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.system.http.counting_client import CountingClients, stop_under_load
from tests.system.http.raw_http import HEAD, PICTURE, PREDICT, PREDICT_PHOTOGRAPH, connect, wait_until_read
from tests.system.server import MODEL_LOADED, serving


def test_sigterm_finishes_the_request_in_flight_and_exits_with_0(one_version: Path) -> None:
    with serving(model_dir=one_version, workers=1) as server:
        readiness = http.client.HTTPConnection(*server.host_and_port, timeout=30)
        readiness.request("GET", "/readyz")
        assert readiness.getresponse().read()
        with connect(server) as connection:
            connection.send(HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(PICTURE))
            assert connection.receive_line() + connection.receive_line() == b"HTTP/1.1 100 Continue\r\n\r\n"
            connection.send(PICTURE[:-1])
            server.process.send_signal(signal.SIGTERM)
            server.wait_for("Handling signal: term")
            assert read_until_not_ready(readiness) == b'{"error":"the service is stopping"}\n'
            assert connection.request(PICTURE[-1:]).status == 200
        assert server.stop() == 0
    assert "Traceback" not in server.log


def read_until_not_ready(connection: http.client.HTTPConnection) -> bytes:
    """GET /readyz on one kept connection until the worker has the signal, and return the body of the 503."""
    for _ in range(10_000):
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        body = response.read()
        if response.status == 503:
            return body
    raise AssertionError("still ready")


def test_sigterm_finishes_more_requests_than_the_drain_of_idle_connections_takes(one_version: Path) -> None:
    """The photographs take one process more than the second for which idle connections are kept."""
    with (
        serving(model_dir=one_version, workers=1, picture_processes=1, picture_seconds=60, max_in_flight=200) as server,
        ExitStack() as opened,
    ):
        connections = [opened.enter_context(connect(server)) for _ in range(25)]
        for connection in connections:
            connection.send(PREDICT_PHOTOGRAPH)
        wait_until_read(server)
        server.process.terminate()
        responses = [connection.receive() for connection in connections]
        assert [response.status for response in responses] == [200] * 25
        assert [response.headers["Connection"] for response in responses[-10:]] == ["close"] * 10
        assert all(connection.is_closed() for connection in connections)


def test_idle_connections_do_not_delay_a_stop(one_version: Path) -> None:
    with (
        serving(model_dir=one_version, workers=1, shutdown_timeout_seconds=60) as server,
        connect(server) as used,
        connect(server) as unused,
    ):
        assert used.request(PREDICT).status == 200
        wait_until_read(server)
        server.process.send_signal(signal.SIGTERM)
        assert used.is_closed()
        assert unused.is_closed()
        assert server.process.wait(20) == 0
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(server.host_and_port, timeout=5)
    assert "Forcing close" not in server.log


def test_sigterm_right_after_a_workers_start_is_not_lost(one_version: Path) -> None:
    """A worker that was just forked has no handlers of its own; later it has some, but no running event loop."""
    with serving(model_dir=one_version, workers=1, shutdown_timeout_seconds=600) as server:
        for line in [r"Booting worker with pid: (?P<pid>\d+)"] * 10 + [MODEL_LOADED] * 5:
            pid = server.wait_for(line)["pid"]
            os.kill(int(pid), signal.SIGTERM)
            server.wait_for(rf"Worker exiting \(pid: {pid}\)")


@pytest.mark.parametrize("attempt", range(6))
def test_no_request_is_lost_when_the_service_stops_under_load(one_version: Path, attempt: int) -> None:
    """Neither on kept connections, nor on those for one request, which wait in the queue of the listening socket."""
    with serving(model_dir=one_version, workers=2) as server:
        server.wait_for_workers(2)
        clients = stop_under_load(server)
        assert clients.lost == {}, attempt
        assert server.stop() == 0
    assert "Traceback" not in server.log
    assert "Forcing close" not in server.log


def test_no_request_is_lost_when_the_arbiter_is_killed(one_version: Path) -> None:
    """The workers finish what is in flight, and end, with their parsers; they remove the metrics."""
    with serving(model_dir=one_version, workers=2) as server:
        server.wait_for_workers(2)
        clients = stop_under_load(server, signal.SIGKILL)
        assert clients.lost == {}
        assert server.stop() == -signal.SIGKILL
    assert server.log.count("the arbiter has ended") == 2
    assert server.log.count("Worker exiting") == 2


def test_a_request_in_flight_is_finished_when_the_arbiter_is_killed(one_version: Path) -> None:
    with serving(model_dir=one_version, workers=1) as server, connect(server) as connection, connect(server) as idle:
        assert idle.request(PREDICT).status == 200
        connection.send(HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(PICTURE))
        assert connection.receive_line() + connection.receive_line() == b"HTTP/1.1 100 Continue\r\n\r\n"
        server.process.kill()
        server.wait_for("the arbiter has ended")
        response = idle.request(PREDICT)
        assert (response.status, response.headers["Connection"]) == (200, "close")
        response = connection.request(PICTURE)
        assert (response.status, response.headers["Connection"]) == (200, "close")
        assert idle.is_closed()
        assert connection.is_closed()


def test_no_request_is_lost_by_reloads_and_the_last_workers_serve_alone(one_version: Path) -> None:
    with serving(model_dir=one_version, workers=2) as server:
        server.wait_for_workers(2)
        with CountingClients(server.host_and_port, keep_alive=True) as kept:
            single = CountingClients(server.host_and_port, keep_alive=False)
            with single:
                for _ in range(3):
                    server.process.send_signal(signal.SIGHUP)
                    for _ in range(2):
                        server.wait_for("Worker exiting")
                server.process.send_signal(signal.SIGTERM)
        assert (kept.lost, single.lost) == ({}, {})
        assert server.stop() == 0


def test_metrics_directory_is_removed_at_the_end(one_version: Path) -> None:
    with serving(model_dir=one_version) as server:
        worker = server.wait_for(MODEL_LOADED)["pid"]
        directory = re.search(r"(/\S*/digits-metrics-[\w-]+)/", list_open_files(int(worker)))
        assert directory
        assert Path(directory[1]).is_dir()
        assert server.stop() == 0
        assert not Path(directory[1]).exists()


def list_open_files(pid: int) -> str:
    """The paths of a process's open files, one a line."""
    paths = []
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # the process has closed it meanwhile
            paths.append(str(file.readlink()))
    return "\n".join(paths)
