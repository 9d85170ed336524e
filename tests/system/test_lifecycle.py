"""The life of the service: wrong settings, a start without a model, killed workers, clients that disconnect."""

import os
import signal
import socket
import struct
import subprocess
import threading
from pathlib import Path

from tests.conftest import REPOSITORY, Versions
from tests.system.http.raw_http import HEAD, PICTURE, connect
from tests.system.server import GUNICORN, Server, serving

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108


def test_metrics_survive_killed_workers_and_their_files_are_reused(one_version: Path, tmp_path: Path) -> None:
    with serving(model_dir=one_version, workers=2, metrics_dir=tmp_path / "metrics") as server:
        server.wait_for_workers(2)
        for count in range(1, 7):
            assert server.predict(PICTURE, Connection="close").status_code == 200
            server.wait_for_metrics(
                f'digits_http_requests_total{{method="POST",route="/predict",status="200"}} {count}.0',
                "digits_in_flight_requests 1.0",
            )
            workers = server.worker_pids
            os.kill(workers[count % len(workers)], signal.SIGKILL)
            server.wait_for_workers(1)
        files = {file.name for file in (tmp_path / "metrics").iterdir()}
        kinds = ("counter", "histogram", "gauge_livesum", "gauge_livemax")
        assert files == {f"{kind}_{slot}.db" for kind in kinds for slot in (0, 1)}


def test_without_a_model_it_is_alive_but_not_ready(models: Path, versions: Versions) -> None:
    with serving(model_dir=models, workers=1, model_poll_seconds=0.1) as server:
        assert server.client.get("/healthz").status_code == 200
        responses = [server.client.get("/readyz"), server.client.get("/model"), server.predict(PICTURE)]
        for response in responses:
            assert (response.status_code, response.json()) == (503, {"error": "no model is loaded yet"})
        versions.put(models, 1, digit=7)
        server.wait_for_workers(1)
        assert server.client.get("/readyz").status_code == 200
        assert server.predict(PICTURE).json()["predictions"][0]["digit"] == 7


def test_clients_that_disconnect_while_they_send_cause_no_error(one_version: Path) -> None:
    with serving(model_dir=one_version, workers=1, threads=2) as server:
        threads = [threading.Thread(target=reset_while_sending, args=(server,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert server.predict(PICTURE).status_code == 200
        server.wait_for_metrics("digits_in_flight_requests 1.0")
    assert "Traceback" not in server.log


def reset_while_sending(server: Server) -> None:
    """Send all but the last byte of a request that the service has begun to receive, and reset the connection."""
    with connect(server) as connection:
        connection.send(HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(PICTURE))
        assert connection.receive_line() == b"HTTP/1.1 100 Continue\r\n"
        connection.send(PICTURE[:-1])
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_wrong_setting_stops_the_start_with_one_line() -> None:
    done = subprocess.run(
        GUNICORN,
        cwd=REPOSITORY,
        env=os.environ | {"DIGITS_PORT": "http"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "DIGITS_PORT is 'http'" in line
    assert "0 to 65535" in line


def test_a_start_on_a_taken_port_leaves_nothing_behind(one_version: Path, tmp_path: Path) -> None:
    """Neither a directory of metrics in shared memory, nor the counts of the running service erased."""
    directory = tmp_path / "metrics"
    with serving(model_dir=one_version, workers=1, metrics_dir=directory) as server:
        assert server.client.get("/model").status_code == 200
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DIGITS_")}
        environment |= {"DIGITS_PORT": server.address.rpartition(":")[2], "DIGITS_MODEL_DIR": str(one_version)}
        for settings in ({}, {"DIGITS_METRICS_DIR": str(directory)}):
            second = subprocess.Popen(
                GUNICORN, cwd=REPOSITORY, env=environment | settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            output, _ = second.communicate(timeout=60)
            assert second.returncode != 0
            assert b"already in use" in output
            assert not list(SHARED_MEMORY.glob(f"digits-metrics-{second.pid}-*"))
        assert 'route="/model"' in server.client.get("/metrics").text
