"""Every test image over HTTP, by the committed version: the accuracy is the manifest's, to the last image."""

import struct
from collections.abc import Iterator
from io import BytesIO

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from tests.system.server import Server, serving
from training.data.mnist import Dataset


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


def stated(server: Server) -> float:
    answer = server.client.get("/model").raise_for_status().json()
    assert answer["runtime"] == "litert"
    return float(answer["manifest"]["metrics"]["test_accuracy"])


def png(image: npt.NDArray[np.uint8]) -> bytes:
    file = BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def test_as_png_files_one_a_request_and_many(server: Server, mnist: Dataset) -> None:
    files = [png(image) for image in mnist.test.images]
    alone = [
        server.client.post("/predict", content=file, headers={"Content-Type": "image/png"}).raise_for_status().json()
        for file in files[:1000]
    ]
    digits = [answer["predictions"][0]["digit"] for answer in alone]
    for start in range(1000, len(files), 1000):
        form = [("file", (f"{index}.png", file)) for index, file in enumerate(files[start : start + 1000])]
        answer = server.client.post("/predict", params={"fields": "digit"}, files=form).raise_for_status().json()
        digits += [prediction["digit"] for prediction in answer["predictions"]]
    assert len(digits) == 10_000
    assert np.mean(digits == mnist.test.labels) == stated(server)


def test_as_one_idx_file(server: Server, mnist: Dataset) -> None:
    file = struct.pack(">4I", 0x803, len(mnist.test), 28, 28) + mnist.test.images.tobytes()
    headers = {"Content-Type": "application/octet-stream"}
    answer = server.client.post("/predict", content=file, headers=headers).raise_for_status().json()
    digits = [prediction["digit"] for prediction in answer["predictions"]]
    assert np.mean(digits == mnist.test.labels) == stated(server)
    assert answer["version"] == str(server.client.get("/model").json()["manifest"]["version"])


def test_tensorflow_gives_the_same_answers(server: Server, mnist: Dataset) -> None:
    headers = {"Content-Type": "application/octet-stream"}
    batch = mnist.test.images[:2000].tobytes()
    with serving(runtime="tensorflow", workers=1) as other:
        assert other.client.get("/model").json()["runtime"] == "tensorflow"
        answers = [
            running.client.post("/predict", content=batch, headers=headers).raise_for_status().json()["predictions"]
            for running in (server, other)
        ]
    ours, theirs = (np.array([prediction["probabilities"] for prediction in answer]) for answer in answers)
    assert np.abs(ours - theirs).max() < 1e-5
