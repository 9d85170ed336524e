"""New model versions under load: good ones are swapped in, bad ones are rejected, and no request fails."""

from contextlib import ExitStack
from pathlib import Path

import numpy as np

from tests.conftest import Versions
from tests.system.polling_client import PollingClient
from tests.system.server import serving

SWAPS = 12
CLIENTS = 4
IMAGES = 700
BATCH = np.random.default_rng(0).integers(0, 256, (IMAGES, 28, 28), np.uint8).tobytes()


def digit_of(version: int) -> int:
    """The digit that a version of these tests predicts for every image."""
    return version % 3


def put_corrupt(versions: Versions, models: Path, number: int) -> None:
    """Make a version appear of which one file does not have the checksum in the manifest."""
    version = versions.put(models.parent / "staging", number, digit=0)
    with (version / "model.tflite").open("r+b") as file:
        file.seek(100)
        file.write(b"broken")
    version.rename(models / str(number))  # only now: a version without a fault would be loaded


def test_swaps_under_load_fail_no_request_and_mix_no_versions(models: Path, versions: Versions) -> None:
    """Each of four clients sends batches without a pause; every fourth version comes with a corrupt, higher one."""
    versions.put(models, 1, digit=digit_of(1))
    with serving(model_dir=models, workers=2, model_poll_seconds=0.1) as server, ExitStack() as running:
        clients = [
            running.enter_context(
                PollingClient(
                    server.address,
                    BATCH,
                    "application/octet-stream",
                    pictures=IMAGES,
                    pause=0,
                    expected_digit=digit_of,
                )
            )
            for _ in range(CLIENTS)
        ]
        assert all(client.wait_for_version(1) for client in clients)
        for number in range(2, SWAPS + 2):
            with_corrupt_version = number % 4 == 0
            if with_corrupt_version:
                put_corrupt(versions, models, 1000 + number)
            versions.put(models, number, digit=digit_of(number))
            if with_corrupt_version:
                (models / str(1000 + number)).rename(models / f".retired-{1000 + number}")
            assert clients[number % CLIENTS].wait_for_version(number), f"version {number} has not responded"
    assert [failure for client in clients for failure in client.failures] == []
    assert set.union(*(client.versions for client in clients)) == {str(number) for number in range(1, SWAPS + 2)}
    assert "Traceback" not in server.log


def test_corrupt_version_is_rejected_and_retired_version_is_rolled_back(models: Path, versions: Versions) -> None:
    versions.put(models, 1, digit=1)
    with serving(model_dir=models, workers=2, model_poll_seconds=0.1) as server:
        put_corrupt(versions, models, 3)
        for _ in range(2):
            server.wait_for(r"version 3 .*\(checksum\)")
        assert server.client.get("/model").json()["manifest"]["version"] == 1
        versions.put(models, 4, digit=1)
        for _ in range(2):
            server.wait_for("version 4 is in use")
        assert server.client.get("/model").json()["manifest"]["version"] == 4
        (models / "4").rename(models / ".retired-4")
        for _ in range(2):
            server.wait_for("version 1 is in use")
        server.wait_for_metrics('digits_model_load_failures_total{reason="checksum"} 2.0')
