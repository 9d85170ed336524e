"""Bad versions beside good ones, with real workers: at a reload, at a start and after a crash, no request fails.

tests/bad_versions.py has the table.
"""

import os
import re
import signal
import time
from pathlib import Path
from typing import Any

from tests import bad_versions
from tests.conftest import Versions
from tests.exposition import samples
from tests.system.http.raw_http import PICTURE
from tests.system.polling_client import PollingClient
from tests.system.server import PATIENCE, Server, serving

WORKERS = 2
CHANGED_MODELS = 12
FIRST_BAD = 100
BAD = {
    **bad_versions.VERSIONS,
    "crashes LiteRT": bad_versions.crash_litert,
    "crashes LiteRT, again": bad_versions.crash_litert,
}


def publish(versions: Versions, models: Path, number: int, damage: bad_versions.Damage) -> None:
    version = versions.put(models.parent / "staging", number, digit=9)
    damage(version)
    version.rename(models / str(number))


def failures(server: Server) -> int:
    """Rejections that all workers have counted."""
    lines = samples(server.client.get("/metrics").text, "digits_model_load_failures_total")
    return int(sum(float(line.rpartition(" ")[2]) for line in lines))


def wait_for_failures(server: Server, count: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while (found := failures(server)) < count:
        assert time.monotonic() < deadline, f"{found} of {count}:\n{server.log}"
        time.sleep(0.1)  # a metric is polled: there is no event
    assert found == count


def rejections(server: Server) -> dict[int, int]:
    """How many lines of the log reject each version."""
    numbers = re.findall(r"version (\d+) is rejected", server.log)
    return {int(number): numbers.count(number) for number in set(numbers)}


def polling(server: Server) -> PollingClient:
    return PollingClient(server.address, PICTURE, "image/png", expected_digit=lambda version: version % 10)


def test_bad_versions_take_no_request_from_a_good_one(models: Path, versions: Versions) -> None:
    versions.put(models, 1, digit=1)
    settings: dict[str, Any] = {"model_dir": models, "workers": WORKERS, "model_poll_seconds": 0.1, "runtime": "litert"}
    numbers = range(FIRST_BAD, FIRST_BAD + len(BAD))
    with serving(**settings) as server:
        server.wait_for_workers(WORKERS)
        with polling(server) as client:
            assert client.wait_for_version(1)
            for number, damage in zip(numbers, BAD.values(), strict=True):
                publish(versions, models, number, damage)
            wait_for_failures(server, WORKERS * len(BAD))
        assert (client.failures, client.versions) == ([], {"1"})
        assert rejections(server) == dict.fromkeys(numbers, WORKERS)
        sent = client.requests

        os.kill(server.worker_pids[0], signal.SIGKILL)
        server.wait_for(r"version 1 is in use")
        with polling(server) as client:
            wait_for_failures(server, (WORKERS + 1) * len(BAD))
            for add in bad_versions.ENTRIES.values():
                add(models)
            for number, damage in zip(range(10_009, 20_000, 10), bad_versions.HARMLESS.values(), strict=False):
                publish(versions, models, number, damage)
                assert client.wait_for_version(number)
                (models / str(number)).rename(models / f".retired-{number}")
            versions.put(models, 20003, digit=3)
            assert client.wait_for_version(20003)
        assert client.failures == []
        sent += client.requests
        assert len(server.worker_pids) == WORKERS
        assert "Traceback" not in server.log
        print(f"{len(BAD)} bad versions, {sent} requests sent, 0 lost")

    (models / "20003").rename(models / ".retired-20003")
    with serving(**settings) as server:
        server.wait_for_workers(WORKERS)
        with polling(server) as client:
            assert client.wait_for_version(1)
            versions.put(models, 20004, digit=4)
            assert client.wait_for_version(20004)
        assert client.failures == []
        assert "Traceback" not in server.log


def test_models_with_changed_bytes_end_no_worker(models: Path, versions: Versions) -> None:
    versions.put(models, 1, digit=1)
    with serving(model_dir=models, workers=1, model_poll_seconds=0.1, runtime="litert") as server:
        server.wait_for_workers(1)
        worker = server.worker_pids
        with PollingClient(server.address, PICTURE, "image/png") as client:
            for seed in range(CHANGED_MODELS):
                publish(versions, models, 2 + seed, bad_versions.change_bytes(seed))
            versions.put(models, 100, digit=1)
            assert client.wait_for_version(100)
        assert client.failures == []
        assert server.worker_pids == worker
        assert "Traceback" not in server.log


def test_a_saved_model_that_cannot_be_read_is_left_aside(models: Path, versions: Versions) -> None:
    """TensorFlow would wait for the FIFO; the second has changed bytes."""
    versions.put(models, 1, digit=1)
    with serving(model_dir=models, workers=1, model_poll_seconds=0.1) as server:
        server.wait_for_workers(1)
        with PollingClient(server.address, PICTURE, "image/png") as client:
            for number, name in ((2, "saved_model.pb"), (3, "variables/variables.index")):
                version = versions.put(models.parent / "staging", number, digit=9)
                (version / "manifest.json").unlink()
                content = bytearray((version / name).read_bytes())
                (version / name).unlink()
                if number == 2:
                    os.mkfifo(version / name)
                else:
                    content[len(content) // 2] ^= 255
                    (version / name).write_bytes(content)
                version.rename(models / str(number))
            wait_for_failures(server, 2)
        assert (client.failures, client.versions) == ([], {"1"})
        assert "Traceback" not in server.log
