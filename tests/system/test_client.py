"""The client and the command `digits` against a real service, and the service that the wheel has."""

import asyncio
import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from digits import AsyncClient, Client, Outcome, PictureRejected, Unauthorised
from digits.sources import Source
from tests.conftest import REPOSITORY
from tests.packaging import build_wheel
from tests.system.server import PATIENCE, Server, serving

SEVEN = REPOSITORY / "tests" / "pictures" / "seven.png"
PAGE = REPOSITORY / "tests" / "pictures" / "2024.jpg"
GROUP = 16
"""Pictures of one request."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(workers=1, api_key="secret", feedback_dir=tmp_path_factory.mktemp("feedback")) as running:
        yield running
        assert "Traceback" not in running.log


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.address, "secret") as client:
        yield client


def metrics(server: Server) -> str:
    """The text of GET /metrics."""
    return server.client.get("/metrics").text


def command(server: Server, *arguments: str | Path) -> subprocess.Popen[str]:
    """Start the command `digits`."""
    return subprocess.Popen(
        [sys.executable, "-m", "digits", *arguments],
        cwd=REPOSITORY,
        env=os.environ | {"DIGITS_URL": server.address, "DIGITS_KEY": "secret"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(server: Server, *arguments: str | Path) -> tuple[int, str, str]:
    """Run the command `digits`; return its exit code, standard output and standard error."""
    process = command(server, *arguments)
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


def test_every_kind_of_source_gives_the_same_digit(client: Client) -> None:
    with SEVEN.open("rb") as file, Image.open(SEVEN) as image:
        sources: list[Source] = [SEVEN, str(SEVEN), SEVEN.read_bytes(), file, image, np.asarray(image.convert("L"))]
        found = [client.predict(source) for source in sources]
    assert {prediction.digit for prediction in found} == {7}
    assert found[0].probabilities[7] == found[0].confidence == max(found[0].probabilities)
    assert {round(prediction.confidence, 5) for prediction in found} == {round(found[0].confidence, 5)}


def test_several_digits_are_read_with_split_and_noted_without(client: Client) -> None:
    split = client.predict(PAGE, split=True)
    assert split.numbers == ("2024",)
    assert [digit.digit for digit in split.digits] == [2, 0, 2, 4]
    assert split.digits[0].box[0] < split.digits[1].box[0]
    whole = client.predict(PAGE)
    assert (whole.uncertain, whole.digits) == (True, 4)
    both = list(client.predict_many([SEVEN, PAGE, SEVEN], split=True))
    assert [prediction.numbers for prediction in both] == [("7",), ("2024",), ("7",)]


def test_images_in_bulk_and_the_model(client: Client, server: Server) -> None:
    images = np.stack([np.asarray(Image.open(SEVEN).convert("L"))] * 5_001)
    found = client.predict_images(images)
    assert found.digits.tolist() == [7] * 5_001
    assert found.version == client.model().version
    assert client.health().ready
    client.feedback(SEVEN, 7, predicted=1, version=found.version)
    server.wait_for_metrics('digits_feedback_total{digit="7"} 1.0')


def test_errors_have_the_service_s_sentence(client: Client, server: Server) -> None:
    with pytest.raises(PictureRejected, match="none of PNG, JPEG"):
        client.predict(b"no picture")
    with Client(server.address) as stranger, pytest.raises(Unauthorised, match="Authorization"):
        stranger.predict(SEVEN)


def test_the_asynchronous_client_reads_many(server: Server) -> None:
    async def call() -> tuple[list[int], list[Outcome]]:
        async with AsyncClient(server.address, "secret") as client:
            digits = [found.digit async for found in client.predict_many([SEVEN] * 100)]
            return digits, [outcome async for outcome in client.try_predict_many([SEVEN, b"no picture"])]

    digits, outcomes = asyncio.run(call())
    assert digits == [7] * 100
    assert isinstance(outcomes[1].result, PictureRejected)


def test_a_busy_service_is_waited_for() -> None:
    """A worker that takes one request at a time refuses most of eight; all of their pictures are read in the end."""
    with serving(workers=1, max_in_flight=1) as server, Client(server.address, connections=8) as client:
        pages = [PAGE.read_bytes()] * 24
        assert {found.numbers for found in client.predict_many(pages, split=True)} == {("2024",)}
        server.wait_for_metrics('digits_predictions_total{digit="4"} 24.0')
        refused = re.search(r'digits_http_requests_total{.*route="/predict",status="429"} (\S+)', metrics(server))
        assert refused
        assert float(refused[1]) > 0


def test_predict_reads_a_folder_and_lists_what_failed(server: Server, tmp_path: Path) -> None:
    for number in range(20):
        shutil.copyfile(SEVEN, tmp_path / f"{number:02}.png")
    (tmp_path / "07.png").write_text("no picture")
    code, out, err = run(server, "predict", tmp_path)
    assert code == 1
    rows = list(csv.DictReader(out.splitlines()))
    assert [row["file"] for row in rows] == [f"{tmp_path}/{number:02}.png" for number in range(20) if number != 7]
    assert {row["digit"] for row in rows} == {"7"}
    assert err.startswith(f"digits: {tmp_path}/07.png: the picture is none of PNG")
    assert err.endswith("digits: 1 of 20 pictures failed\n")


def test_split_prints_numbers(server: Server) -> None:
    code, out, _ = run(server, "predict", "--split", PAGE)
    assert (code, out.splitlines()[1].split(",")[:2]) == (0, [str(PAGE), "2024"])


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl", "out.parquet"])
def test_resume_after_kill_9_sends_nothing_twice(name: str, tmp_path: Path) -> None:
    """The command stops at a picture that is a pipe, behind one request's pictures, and is killed there."""
    pictures = [tmp_path / f"{number:02}.png" for number in range(3 * GROUP)]
    for picture in pictures:
        shutil.copyfile(SEVEN, picture)
    pictures[GROUP + 1].unlink()
    os.mkfifo(pictures[GROUP + 1])
    arguments = ("predict", *map(str, pictures), "-o", str(tmp_path / name), "--connections", "1")
    with serving(workers=1) as server:
        process = command(server, *arguments)
        with pictures[GROUP + 1].open("wb"):  # returns when the command has opened the pipe to read
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=PATIENCE)
        server.wait_for_metrics(f'digits_predictions_total{{digit="7"}} {GROUP}.0')
        pictures[GROUP + 1].unlink()
        shutil.copyfile(SEVEN, pictures[GROUP + 1])
        assert run(server, *arguments, "--resume") == (0, "", "")
        server.wait_for_metrics(f'digits_predictions_total{{digit="7"}} {len(pictures)}.0')
        whole = (tmp_path / name).read_bytes()
        assert run(server, *arguments) == (0, "", "")
        assert (tmp_path / name).read_bytes() == whole


def test_health_and_model_are_commands(server: Server) -> None:
    assert run(server, "health")[:2] == (0, "ready\n")
    assert run(server, "model")[1].startswith("version ")
    code, out, err = run(server, "health", "--url", "http://127.0.0.1:1")
    assert (code, out, err.count("\n")) == (1, "", 1)


def test_the_wheel_serves_the_packaged_version_from_any_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The packages come from the unpacked wheel, although a directory `service` is where the command is run."""
    wheel, installed, here = tmp_path / "wheel", tmp_path / "installed", tmp_path / "here"
    wheel.mkdir()
    zipfile.ZipFile(build_wheel(wheel)).extractall(installed)
    (here / "service").mkdir(parents=True)
    (here / "service" / "__init__.py").write_text("raise RuntimeError")
    monkeypatch.setenv("PYTHONPATH", str(installed))
    with serving((sys.executable, "-m", "digits", "serve", "--workers", "1"), cwd=here) as server:
        assert str(installed) in server.wait_for("curl").string
        newest = max(int(path.name) for path in (REPOSITORY / "models" / "digits").iterdir() if path.name.isdecimal())
        with Client(server.address) as client:
            assert client.predict(SEVEN).version == str(newest)
