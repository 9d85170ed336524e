"""What a caller gives as a picture, and the bytes that are sent."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from digits.pictures import RAW, UNKNOWN, Picture, batches, encode_png, from_bytes, group, load_picture, to_images
from tests.conftest import REPOSITORY

SEVEN = (REPOSITORY / "tests" / "pictures" / "seven.png").read_bytes()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_the_media_type_is_that_of_the_first_bytes(form: str) -> None:
    buffer = BytesIO()
    Image.new("L", (28, 28)).save(buffer, form)
    assert load_picture(buffer.getvalue()) == (buffer.getvalue(), f"image/{form.lower()}")


def test_a_file_without_a_signature_is_never_pixels() -> None:
    assert load_picture(b"a" * 784) == (b"a" * 784, UNKNOWN)


@pytest.mark.parametrize("shape", [(40, 30), (40, 30, 3)])
def test_an_array_of_another_size_is_a_png(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    content, content_type = load_picture(pixels)
    assert content_type == "image/png"
    assert np.array_equal(np.asarray(Image.open(BytesIO(content))), pixels)


def test_a_slice_of_an_array_is_encoded_in_its_own_order() -> None:
    pixels = np.arange(40 * 60, dtype=np.uint8).reshape(40, 60)[::-1, ::2]
    assert np.array_equal(np.asarray(Image.open(BytesIO(encode_png(pixels)))), pixels)


@pytest.mark.parametrize("scale", [1, 1.0, True])
def test_floats_and_booleans_are_scaled_and_integers_are_not(scale: float) -> None:
    pixels = np.zeros((28, 28)) if isinstance(scale, float) else np.zeros((28, 28), type(scale))
    pixels[0, 0] = scale
    content, content_type = load_picture(pixels)
    assert content_type == RAW
    assert content[0] == (1 if type(scale) is int else 255)


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.full((28, 28), 2.0), "float64 and numbers from 2 to 2"),
        (np.full((28, 28), np.nan), "numbers from nan to nan"),
        (np.full((28, 28), 256), "numbers from 256 to 256"),
        (np.full((28, 28), -1), "numbers from -1 to -1"),
        (np.full((28, 28), "a"), "has the type <U1"),
        (np.zeros(784, np.uint8), r"shape \(784,\)"),
        (np.zeros((0, 28), np.uint8), r"shape \(0, 28\)"),
    ],
)
def test_other_arrays_are_rejected(array: np.ndarray, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        load_picture(array)


def test_an_array_file_is_for_predict_array() -> None:
    buffer = BytesIO()
    np.save(buffer, np.zeros((2, 28, 28), np.uint8))
    with pytest.raises(ValueError, match="call predict_array"):
        load_picture(buffer.getvalue())


def test_other_types_are_rejected() -> None:
    with pytest.raises(TypeError, match="the picture is a int; expected: a path"):
        load_picture(7)  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "1", "CMYK", "F"])
def test_an_image_of_pillow_is_a_png(mode: str) -> None:
    content, content_type = load_picture(Image.new(mode, (30, 20)))
    assert content_type == "image/png"
    assert Image.open(BytesIO(content)).size == (30, 20)


def test_a_missing_file_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_picture(tmp_path / "nothing.png")


@pytest.mark.parametrize("shape", [(3, 28, 28), (3, 784), (3, 28, 28, 1)])
def test_images_have_28x28_pixels(shape: tuple[int, ...]) -> None:
    assert to_images(np.zeros(shape, np.uint8)).shape == (3, 28, 28)


@pytest.mark.parametrize("shape", [(28, 28), (0, 28, 28), (3, 28), (784,), (3, 27, 28)])
def test_other_shapes_are_no_images(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected: "):
        to_images(np.zeros(shape, np.uint8))


def test_a_request_has_up_to_16_pictures_and_60000_bytes() -> None:
    assert list(group([100] * 33)) == [16, 16, 1]
    assert list(group([50_000, 10_000, 1, 900_000, 5])) == [2, 1, 1, 1]
    assert list(group([])) == []
    pictures = [from_bytes(SEVEN)] * 17 + [Picture(b"0" * 784, RAW)] * 2
    assert [len(batch) for batch in batches(pictures)] == [16, 1, 1, 1]
