"""Pictures as people have them, over HTTP, read by the committed version."""

from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from bench import synthetic_photos
from tests.conftest import REPOSITORY
from tests.system.server import Server, serving
from training.data.mnist import Dataset, Split

EVERY = 100
"""One test image of so many is put into each scene."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as running:
        yield running
        assert "Traceback" not in running.log


@pytest.fixture(scope="module")
def part(mnist: Dataset) -> Split:
    return Split(mnist.test.images[::EVERY], mnist.test.labels[::EVERY])


def right(server: Server, files: list[bytes], part: Split, query: str = "") -> int:
    """How many of the files, sent as one form, are answered right."""
    form = [("file", (f"{index}.png", file)) for index, file in enumerate(files)]
    answer = server.client.post(f"/predict?fields=digit{query}", files=form).raise_for_status().json()
    return int(np.sum([entry["digit"] for entry in answer["predictions"]] == part.labels))


@pytest.mark.parametrize("name", synthetic_photos.scenes())
def test_a_scene_costs_hardly_a_digit(server: Server, part: Split, name: str) -> None:
    random, scene = np.random.default_rng(7), synthetic_photos.scenes()[name]
    query = "&normalise=always" if "normalised" in name else ""
    as_they_are = right(server, [synthetic_photos.encode(Image.fromarray(image)) for image in part.images], part)
    assert right(server, [scene(image, random) for image in part.images], part, query) >= as_they_are - 3


def test_all_of_mnist_normalised_again_is_read_as_well(server: Server, mnist: Dataset) -> None:
    answer = server.client.post(
        "/predict?fields=digit&normalise=always",
        content=mnist.test.images.tobytes(),
        headers={"Content-Type": "application/octet-stream"},
    )
    digits = [entry["digit"] for entry in answer.raise_for_status().json()["predictions"]]
    stated = server.client.get("/model").json()["manifest"]["metrics"]["test_accuracy"]
    assert np.mean(digits == mnist.test.labels) >= stated - 0.001


def test_a_number_on_ruled_paper_is_read_whole(server: Server) -> None:
    page = (REPOSITORY / "tests" / "pictures" / "2024.jpg").read_bytes()
    answer = server.client.post("/predict?split=digits", content=page, headers={"Content-Type": "image/jpeg"})
    assert answer.json()["numbers"] == ["2024"]
