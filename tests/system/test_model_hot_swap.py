"""New versions come and bad ones fail to, while clients ask all the time: nobody notices but by the answer."""

import threading
from pathlib import Path

import httpx
import numpy as np

from tests.conftest import Versions
from tests.system.server import serving

SWAPS = 30
CLIENTS = 4
BATCH = np.random.default_rng(0).integers(0, 256, (700, 28, 28), np.uint8).tobytes()


class Caller(threading.Thread):
    """Asks for a batch again and again; notes every answer that is not whole, and every version that it saw."""

    def __init__(self, address: str, done: threading.Event) -> None:
        super().__init__()
        self.wrong: list[str] = []
        self.seen: list[int] = []
        self.news = threading.Condition()
        self._address, self._done = address, done

    def run(self) -> None:
        """Version N of this test answers the digit N % 3 to everything."""
        with httpx.Client(base_url=self._address, timeout=60) as client:
            while not self._done.is_set():
                try:
                    self._ask(client)
                except httpx.HTTPError as error:
                    self.wrong.append(repr(error))

    def _ask(self, client: httpx.Client) -> None:
        headers = {"Content-Type": "application/octet-stream"}
        response = client.post("/predict", params={"fields": "digit"}, content=BATCH, headers=headers)
        if response.status_code != 200:
            self.wrong.append(response.text)
            return
        answer = response.json()
        version = int(answer["version"])
        if {prediction["digit"] for prediction in answer["predictions"]} != {version % 3}:
            self.wrong.append(f"version {version} mixed with another")
        with self.news:
            self.seen.append(version)
            self.news.notify_all()

    def sees(self, version: int) -> bool:
        """Wait until this caller has been answered by the version."""
        with self.news:
            return self.news.wait_for(lambda: version in self.seen[-50:], timeout=30)


def test_thirty_swaps_under_load(models: Path, versions: Versions) -> None:
    versions.put(models, 1, digit=1)
    done = threading.Event()
    with serving(model_dir=models, workers=2, model_poll_seconds=0.1) as server:
        callers = [Caller(server.address, done) for _ in range(CLIENTS)]
        for caller in callers:
            caller.start()
        try:
            for number in range(2, SWAPS + 2):
                if number % 5 == 0:
                    break_one(versions.put(models, 1000 + number, digit=0))
                versions.put(models, number, digit=number % 3)
                if number % 5 == 0:
                    (models / str(1000 + number)).rename(models / f".retired-{1000 + number}")
                assert callers[number % CLIENTS].sees(number), f"version {number} never answered"
        finally:
            done.set()
            for caller in callers:
                caller.join()
    assert [wrong for caller in callers for wrong in caller.wrong] == []
    assert sum(len(caller.seen) for caller in callers) > SWAPS
    assert "Traceback" not in server.log


def break_one(version: Path) -> None:
    """Alter a file that the manifest vouches for."""
    with (version / "model.tflite").open("r+b") as plan:
        plan.seek(100)
        plan.write(b"broken")


def test_a_new_version_answers_within_two_seconds_and_a_bad_one_never(models: Path, versions: Versions) -> None:
    versions.put(models, 1, digit=1)
    with serving(model_dir=models, workers=2) as server:
        break_one(versions.put(models, 3, digit=0))
        for _ in range(2):
            server.wait_for(r"version 3 refused \(checksum\)")
        assert server.client.get("/model").json()["manifest"]["version"] == 1
        versions.put(models, 4, digit=1)
        for _ in range(2):
            server.wait_for("version 4 is in use")
        assert server.client.get("/model").json()["manifest"]["version"] == 4
        (models / "4").rename(models / ".retired-4")
        for _ in range(2):
            server.wait_for("version 1 is in use")
        assert 'digits_model_load_failures_total{reason="checksum"} 2.0' in server.client.get("/metrics").text
