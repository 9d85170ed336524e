"""Every test image over HTTP: the accuracy of the committed version is the manifest's, to the last image."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import REPOSITORY
from tests.service.payloads import encode, idx3
from tests.system.server import Server, serving
from training.data.mnist import Dataset

OCTETS = "application/octet-stream"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


def manifest_accuracy(server: Server) -> float:
    """The accuracy on MNIST's test images that the version's manifest states."""
    response = server.client.get("/model").raise_for_status().json()
    assert response["runtime"] == "litert"
    return float(response["manifest"]["metrics"]["test_accuracy"])


def test_png_files_one_per_request_and_many(server: Server, mnist: Dataset) -> None:
    files = [encode(image) for image in mnist.test.images]
    single = [server.predict(file).raise_for_status().json() for file in files[:1000]]
    digits = [response["predictions"][0]["digit"] for response in single]
    for start in range(1000, len(files), 1000):
        form = [("file", (f"{index}.png", file)) for index, file in enumerate(files[start : start + 1000])]
        response = server.client.post("/predict", params={"fields": "digit"}, files=form).raise_for_status().json()
        digits += [prediction["digit"] for prediction in response["predictions"]]
    assert len(digits) == 10_000
    assert np.mean(digits == mnist.test.labels) == manifest_accuracy(server)


def test_one_idx_file(server: Server, mnist: Dataset) -> None:
    response = server.predict(idx3(mnist.test.images), OCTETS).raise_for_status().json()
    digits = [prediction["digit"] for prediction in response["predictions"]]
    assert np.mean(digits == mnist.test.labels) == manifest_accuracy(server)
    assert response["version"] == str(server.client.get("/model").json()["manifest"]["version"])


def test_version_without_manifest_and_tflite_model_predicts_the_same_with_tensorflow(
    server: Server, mnist: Dataset, models: Path
) -> None:
    version = server.client.get("/model").json()["version"]
    path = shutil.copytree(REPOSITORY / "models" / "digits" / version, models / version)
    for name in ("manifest.json", "model.tflite"):
        (path / name).unlink()
    batch = mnist.test.images[:2000].tobytes()
    with serving(model_dir=models, workers=1) as other:
        assert other.client.get("/model").json() == {"version": version, "manifest": None, "runtime": "tensorflow"}
        litert, tensorflow = (
            running.predict(batch, OCTETS).raise_for_status().json()["predictions"] for running in (server, other)
        )
    assert not any(prediction["uncertain"] for prediction in tensorflow), "only a manifest has a threshold"
    difference = [
        np.subtract(one["probabilities"], other["probabilities"]) for one, other in zip(litert, tensorflow, strict=True)
    ]
    assert np.abs(difference).max() < 1e-5
