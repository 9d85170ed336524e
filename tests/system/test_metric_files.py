"""Full disks, foreign files and a removed directory cost metrics at most: no worker ends, and `/metrics` responds.

A limit of the file size (RLIMIT_FSIZE) stands for a full disk where no file system can be mounted.
"""

import os
import resource
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.system.http.raw_http import PICTURE
from tests.system.server import GUNICORN, Server, serving

OWN_SHARED_MEMORY = ("unshare", "--map-root-user", "--mount", "sh", "-c")
MOUNT = 'mount -t tmpfs -o size=2m tmpfs /dev/shm && exec "$@"'
CAN_MOUNT = not subprocess.run([*OWN_SHARED_MEMORY, MOUNT, "sh", "true"], capture_output=True, check=False).returncode
PREDICTIONS = 'digits_http_requests_total{method="POST",route="/predict",status="200"}'
KINDS = ("counter", "histogram", "gauge_livesum", "gauge_livemax")


def predict(server: Server, count: int) -> None:
    """Send predict requests, each on its own connection."""
    for _ in range(count):
        assert server.predict(PICTURE, Connection="close").status_code == 200


def count_unusual_requests(server: Server) -> None:
    """Send requests whose route, method and status have not been counted before."""
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "BREW"):
        for path in ("/healthz", "/readyz", "/model", "/docs", "/openapi.json", "/metrics", "/missing"):
            assert server.client.request(method, path, headers={"Connection": "close"}).status_code < 500


def replace_worker(server: Server, pid: int) -> None:
    """Kill a worker and wait until another one has loaded the model."""
    os.kill(pid, signal.SIGKILL)
    server.wait_for_workers(1)


def fill(path: Path) -> None:
    """Write a file until the disk is full."""
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def metrics(server: Server) -> str:
    """The exposition of a worker."""
    response = server.client.get("/metrics", headers={"Connection": "close"})
    assert response.status_code == 200
    return response.text


def test_a_start_without_space_is_one_line_and_exit_code_2(one_version: Path, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DIGITS_")}
    environment |= {"DIGITS_MODEL_DIR": str(one_version), "DIGITS_METRICS_DIR": str(tmp_path), "DIGITS_WORKERS": "2"}
    done = subprocess.run(
        ["sh", "-c", 'ulimit -f 100 && exec "$@"', "sh", *GUNICORN],
        cwd=REPOSITORY,
        env=environment | {"DIGITS_PORT": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("[")]
    assert line.startswith(f"digits: 663552 bytes for the metrics of 2 workers cannot be allocated in {tmp_path}: ")
    assert line.endswith("; free space there, or set DIGITS_METRICS_DIR to another directory")
    assert list(tmp_path.iterdir()) == []


def test_workers_that_cannot_write_their_files_go_on_and_can_be_replaced(one_version: Path, tmp_path: Path) -> None:
    with serving(model_dir=one_version, workers=2, metrics_dir=tmp_path / "metrics") as server:
        server.wait_for_workers(2)
        workers = server.worker_pids
        predict(server, 3)
        server.wait_for_metrics(f"{PREDICTIONS} 3.0")
        for pid in (server.process.pid, *workers):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, 0))
        count_unusual_requests(server)
        predict(server, 20)
        assert PREDICTIONS in metrics(server)
        assert server.worker_pids == workers, "no worker has ended"
        replace_worker(server, workers[0])
        predict(server, 20)
        assert PREDICTIONS in metrics(server)
        assert len(server.worker_pids) == 2
        assert server.stop() == 0
    assert "Traceback" not in server.log
    assert "SIGBUS" not in server.log
    assert server.log.count("cannot be written: File too large; other workers do not see its samples") == 3


@pytest.mark.skipif(not CAN_MOUNT, reason="no file system can be mounted, not even in a user namespace")
def test_shared_memory_that_others_have_filled_ends_no_worker(one_version: Path) -> None:
    command = (*OWN_SHARED_MEMORY, MOUNT, "sh", *GUNICORN)
    with serving(command, model_dir=one_version, workers=2) as server:
        server.wait_for_workers(2)
        workers = server.worker_pids
        predict(server, 3)
        shared_memory = Path(f"/proc/{server.process.pid}/root/dev/shm")
        (directory,) = shared_memory.glob("digits-metrics-*")
        fill(shared_memory / "filler")
        count_unusual_requests(server)
        predict(server, 20)
        server.wait_for_metrics(f"{PREDICTIONS} 23.0")
        assert server.worker_pids == workers, "no worker has ended"
        replace_worker(server, workers[0])
        predict(server, 20)
        server.wait_for_metrics(f"{PREDICTIONS} 43.0", "digits_in_flight_requests 1.0")
        assert {path.name for path in directory.iterdir()} == {f"{kind}_{slot}.db" for kind in KINDS for slot in (0, 1)}
        assert server.stop() == 0
    assert "Traceback" not in server.log
    assert "cannot be written" not in server.log, "the files were allocated at the start"


def test_foreign_and_damaged_files_cost_only_themselves(one_version: Path, tmp_path: Path) -> None:
    directory = tmp_path / "metrics"
    with serving(model_dir=one_version, workers=1, metrics_dir=directory) as server:
        server.wait_for_workers(1)
        predict(server, 3)
        (directory / "counter_7.db").write_bytes(b"\x40\x00\x00\x00 and text that is no metric file")
        (directory / "histogram_7.db").mkdir()
        (directory / "notes.db").write_text("foreign")
        os.mkfifo(directory / "gauge_livesum_7.db")
        for _ in range(5):
            server.wait_for_metrics(f"{PREDICTIONS} 3.0")
        assert server.log.count("/metrics skips ") == 4
        os.kill(server.worker_pids[0], signal.SIGSTOP)
        (directory / "counter_0.db").write_bytes(os.urandom(500))
        replace_worker(server, server.worker_pids[0])
        predict(server, 2)
        server.wait_for_metrics(f"{PREDICTIONS} 2.0")
    assert "Traceback" not in server.log


def test_a_metrics_directory_that_is_removed_appears_again_with_the_counts(one_version: Path, tmp_path: Path) -> None:
    directory = tmp_path / "metrics"
    with serving(model_dir=one_version, workers=2, metrics_dir=directory) as server:
        server.wait_for_workers(2)
        predict(server, 10)
        server.wait_for_metrics(f"{PREDICTIONS} 10.0")
        shutil.rmtree(directory)
        server.wait_for_metrics(f"{PREDICTIONS} 10.0")
        for pid in server.worker_pids:
            shutil.rmtree(directory)
            replace_worker(server, pid)
            predict(server, 5)
            deadline = time.monotonic() + 20
            while PREDICTIONS not in metrics(server):  # another worker may have answered, and write its counts later
                assert time.monotonic() < deadline
        assert len(server.worker_pids) == 2
        assert server.stop() == 0
    assert "Traceback" not in server.log
