"""The client and its command, against a running service."""

import asyncio
import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from digits import AsyncClient, Client, Prediction, RequestRejected, Unauthorised
from tests.system.server import REPOSITORY, Server, serving

DIGITS = (sys.executable, "-m", "digits")
PICTURES = REPOSITORY / "tests" / "pictures"
KEY = "a key"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(workers=1, api_key=KEY, feedback_dir=tmp_path_factory.mktemp("feedback")) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.address, key=KEY) as client:
        yield client


@pytest.fixture
def sevens(tmp_path: Path) -> Path:
    """A directory of 50 pictures."""
    directory = tmp_path / "sevens"
    directory.mkdir()
    for number in range(50):
        shutil.copyfile(PICTURES / "seven.png", directory / f"{number:02}.png")
    return directory


def environment(server: Server) -> dict[str, str]:
    return os.environ | {"DIGITS_URL": server.address, "DIGITS_KEY": KEY}


def run(server: Server, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*DIGITS, *map(str, arguments)],
        cwd=REPOSITORY,
        env=environment(server),
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_kind_of_picture_is_predicted(client: Client) -> None:
    seven = client.predict(PICTURES / "seven.png")
    assert (seven.digit, seven.uncertain, len(seven.probabilities)) == (7, False, 10)
    assert client.predict((PICTURES / "seven.png").read_bytes()) == seven
    (number,) = client.predict(PICTURES / "2024.jpg", split=True)
    assert number.text == "2024"
    assert number.digits[0].box[0] < number.digits[1].box[0]
    hint = client.predict(PICTURES / "2024.jpg")
    assert (hint.digits, hint.uncertain) == (4, True)


def test_arrays_are_predicted_as_they_are(client: Client) -> None:
    images = np.zeros((300, 28, 28), np.uint8)
    images[:, 4:24, 13:16] = 255
    found = client.predict_array(images)
    assert found.digits == (client.predict(images[0]).digit,) * 300
    assert found.digits[0] == 1
    assert len(found.confidences) == len(found.uncertain) == 300


def test_an_error_carries_the_sentence_of_the_service(client: Client, server: Server) -> None:
    with pytest.raises(RequestRejected, match="none of PNG, JPEG") as caught:
        client.predict(b"a" * 784)
    assert caught.value.status == 415
    with Client(server.address) as stranger, pytest.raises(Unauthorised):
        stranger.predict(PICTURES / "seven.png")


def test_model_health_and_feedback(client: Client) -> None:
    assert client.health().ready
    assert client.model().manifest["parameters"] == 185_300
    client.feedback(PICTURES / "seven.png", 7, predicted=1, version=client.model().version)
    client.feedback(np.eye(28, dtype=np.uint8) * 255, 1)


def test_the_asynchronous_client_predicts_the_same(client: Client, server: Server) -> None:
    async def predict() -> list[object]:
        async with AsyncClient(server.address, key=KEY) as other:
            assert (await other.health()).ready
            pictures = [PICTURES / "seven.png"] * 40 + [PICTURES / "2024.jpg"]
            return [one async for one in other.predict_many(pictures)]

    found = asyncio.run(predict())
    seven, several = client.predict(PICTURES / "seven.png"), client.predict(PICTURES / "2024.jpg")
    assert all(isinstance(one, Prediction) and one.digit == 7 for one in found[:40])
    assert found[0] == seven
    assert found[40] == several


@pytest.mark.parametrize(
    ("document", "output"),
    [
        ("README.md", r"7 0\.99\d+ False\n2024 \[\(\d+, \d+, \d+, \d+\), .*\]\n"),
        ("docs/client.md", r"7\n2024 0\.9\d+ \(.*\)\n7\nthe picture is none of .*\n\(\d, \d, \d\)\nTrue 0\.99\d+\n"),
    ],
)
def test_the_python_of_the_documents_runs(server: Server, document: str, output: str) -> None:
    program = re.search(r"```python\n(.*?)```", (REPOSITORY / document).read_text(), re.DOTALL)
    assert program
    here = program[1].replace('"http://127.0.0.1:8000"', f'"{server.address}", key="{KEY}"')
    done = subprocess.run([sys.executable, "-c", here], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert re.fullmatch(output, done.stdout)


def test_the_command_predicts_a_directory(server: Server, tmp_path: Path) -> None:
    (tmp_path / "note.png").write_text("no picture")
    done = run(server, "predict", PICTURES, tmp_path / "note.png", "-f", "jsonl")
    assert [json.loads(line)["digit"] for line in done.stdout.splitlines()][1] == 7
    assert done.returncode == 1
    assert done.stderr.startswith(f"digits: {tmp_path}/note.png: the picture is none of PNG")
    done = run(server, "predict", "--split", PICTURES / "2024.jpg")
    assert done.stdout.splitlines()[1].split(",")[1] == "2024"


def test_health_and_model_print_what_serves(server: Server) -> None:
    assert run(server, "health").stdout.startswith("ready, version ")
    assert "parameters              185,300" in run(server, "model").stdout


def test_a_killed_run_is_resumed(server: Server, sevens: Path) -> None:
    output = sevens.parent / "out.csv"
    slow = sevens / "40.png"
    slow.unlink()
    os.mkfifo(slow)
    command = [*DIGITS, "predict", str(sevens), str(slow), "-o", str(output), "--connections", "1"]
    process = subprocess.Popen(command, cwd=REPOSITORY, env=environment(server))
    try:
        with slow.open("wb"):  # waits until the last request, after three of 16 pictures, is put together
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    finally:
        process.kill()
        process.wait()
    written = output.read_bytes()
    assert written.count(b"\n") >= 17
    assert written.endswith(b"\n")
    slow.unlink()
    shutil.copyfile(PICTURES / "seven.png", slow)
    assert run(server, "predict", sevens, "-o", output, "--resume").returncode == 0
    assert output.read_bytes().startswith(written)
    rows = list(csv.DictReader(io.StringIO(output.read_text())))
    assert sorted(Path(row["file"]).name for row in rows) == [f"{number:02}.png" for number in range(50)]
    assert {row["digit"] for row in rows} == {"7"}


def test_a_busy_service_is_waited_for(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(12):
        shutil.copyfile(PICTURES / "2024.jpg", photos / f"{number}.jpg")
    with serving(workers=1, max_in_flight=2, picture_processes=1) as server:
        done = run(server, "predict", "--split", photos, "--connections", 12)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.count(",2024,") == 12
        metrics = server.client.get("/metrics").text
        assert 'digits_rejected_total{reason="too_many_requests"}' in metrics
