"""Pictures as callers have them: each becomes the bytes of a file, or an error that says what is expected."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from digits.errors import InvalidSource
from digits.sources import Source, describe_source, image_bytes, read_source


def test_paths_bytes_and_files_are_read_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"abc")
    with path.open("rb") as file:
        sources: list[Source] = [
            path,
            str(path),
            b"abc",
            bytearray(b"abc"),
            memoryview(b"abc"),
            io.BytesIO(b"abc"),
            file,
        ]
        assert {read_source(source) for source in sources} == {b"abc"}


@pytest.mark.parametrize("shape", [(28, 28), (5, 7), (5, 7, 1), (5, 7, 3), (5, 7, 4)])
def test_an_array_becomes_a_png_with_the_same_pixels(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    decoded = np.asarray(Image.open(io.BytesIO(read_source(pixels))))
    assert np.array_equal(decoded, pixels.reshape(decoded.shape))


def test_an_array_that_is_not_contiguous_keeps_its_pixels() -> None:
    pixels = np.arange(20, dtype=np.uint8).reshape(4, 5).T
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(read_source(pixels)))), pixels)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_images_of_pillow_are_read_in_every_mode(mode: str) -> None:
    image = Image.new("RGB", (6, 4), (255, 255, 255)).convert(mode)
    decoded = Image.open(io.BytesIO(read_source(image)))
    assert decoded.size == (6, 4)
    assert decoded.convert("L").getextrema() == (255, 255)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("nothing.png", "nothing.png cannot be read: No such file or directory"),
        (np.zeros((28, 28)), "the type float64; expected: uint8"),
        (np.zeros((2, 28, 28, 1), np.uint8), "(2, 28, 28, 1)"),
        (np.zeros((0, 28), np.uint8), "(0, 28)"),
        (7, "a int is no picture"),
        (io.StringIO("text"), "mode 'rb'"),
    ],
)
def test_anything_else_is_refused(source: Source, sentence: str) -> None:
    with pytest.raises(InvalidSource, match=re.escape(sentence)):
        read_source(source)


def test_a_picture_is_named_by_its_path_or_number() -> None:
    assert describe_source(Path("a/b.png"), 3) == "a/b.png"
    assert describe_source(b"abc", 3) == "picture 3"


@pytest.mark.parametrize("shape", [(3, 28, 28), (3, 784), (3, 28, 28, 1)])
def test_images_in_bulk_are_their_bytes(shape: tuple[int, ...]) -> None:
    images = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    assert image_bytes(images) == images.tobytes()


@pytest.mark.parametrize("images", [np.zeros((28, 28), np.uint8), np.zeros((0, 784), np.uint8), np.zeros((1, 784))])
def test_other_arrays_are_no_images_in_bulk(images: np.ndarray) -> None:
    with pytest.raises(InvalidSource, match="expected"):
        image_bytes(images)
