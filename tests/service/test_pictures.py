import numpy as np
import pytest

from service import pictures
from service.errors import Malformed, NoDigit, RequestError, TooLarge, UnknownType
from service.pictures import check, read
from tests.conftest import REPOSITORY
from tests.service.samples import Pixels, encode, png_saying, stroke
from training.dataset import Dataset

MOST = 25_000_000


@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("BMP", {}), ("GIF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("WEBP", {"lossless": True})],
)
@pytest.mark.parametrize("mode", ["L", "RGB", "P"])
def test_mnist_passes_through_bit_for_bit(mnist: Dataset, kind: str, options: dict[str, object], mode: str) -> None:
    for image in mnist.test.images[:20]:
        assert np.array_equal(read(encode(image, kind=kind, mode=mode, **options), MOST), image)


def test_the_picture_of_the_curl_line_is_a_seven_of_mnist(mnist: Dataset) -> None:
    image = read((REPOSITORY / "tests" / "pictures" / "seven.png").read_bytes(), MOST)
    same = (mnist.test.images == image).all(axis=(1, 2))
    assert mnist.test.labels[same].tolist() == [7]


def test_a_picture_of_one_bit_a_pixel_becomes_0_and_255() -> None:
    ink = stroke() > 127
    assert np.array_equal(read(encode(ink), MOST), np.where(ink, 255, 0))


def test_every_image_of_mnist_is_taken_for_a_digit(mnist: Dataset) -> None:
    for part in (mnist.training, mnist.validation, mnist.test):
        for image in part.images:
            check(image)


@pytest.mark.parametrize(("kind", "options"), [("JPEG", {"quality": 95}), ("WEBP", {"quality": 95})])
def test_a_lossy_picture_stays_close(mnist: Dataset, kind: str, options: dict[str, object]) -> None:
    image = mnist.test.images[0]
    found = read(encode(image, kind=kind, mode="RGB", **options), MOST)
    assert np.abs(found.astype(int) - image).mean() < 4


def _framed(light: int, value: int = 128) -> Pixels:
    """An image with this many of its 108 border pixels at `value`; 128 is the least that counts as light."""
    image = stroke()
    image.reshape(-1)[pictures._BORDER[:light]] = value
    return image


@pytest.mark.parametrize(
    ("image", "taken"),
    [
        (np.pad(np.full((4, 4), 32, np.uint8), 12), True),
        (np.pad(np.full((4, 4), 31, np.uint8), 12), False),
        (_framed(54), True),
        (_framed(55), False),
        (_framed(108, 127), True),
        (np.full((28, 28), 255, np.uint8), False),
    ],
)
def test_where_a_digit_ends_and_none_begins(image: Pixels, *, taken: bool) -> None:
    if taken:
        assert np.array_equal(read(encode(image), MOST), image)
        return
    with pytest.raises(NoDigit):
        read(encode(image), MOST)


def test_a_header_alone_decides_what_is_too_large() -> None:
    bomb = png_saying(50_000, 50_000)
    assert len(bomb) < 200
    with pytest.raises(TooLarge, match="50000x50000 pixels; 25000000 are allowed"):
        read(bomb, MOST)
    with pytest.raises(NoDigit, match="5000x5000 pixels; 28x28 is read"):
        read(png_saying(5000, 5000), MOST)


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (b"", Malformed, "0 bytes"),
        (encode(stroke())[:-40], Malformed, "the picture cannot be decoded: "),
        (encode(stroke(), kind="GIF")[:-20], Malformed, "the picture cannot be decoded: "),
        (b"<svg/>", UnknownType, "PNG, JPEG, GIF, BMP, WEBP, TIFF"),
        (png_saying(28, 28, colour=3), Malformed, "the picture"),
        (encode(stroke(), kind="ICO"), UnknownType, "none of PNG"),
        (encode(np.dstack([stroke()] * 3 + [np.full((28, 28), 9, np.uint8)])), NoDigit, "RGBA or transparent"),
        (encode(stroke(), mode="LA"), NoDigit, "LA or transparent"),
        (encode(stroke(), mode="P", transparency=0), NoDigit, "P or transparent"),
        (encode(stroke().astype(np.uint16) * 257), NoDigit, "I;16 or transparent"),
        (encode(stroke(), kind="JPEG", mode="CMYK"), NoDigit, "CMYK or transparent"),
        (encode(stroke()[:, :27]), NoDigit, "27x28 pixels"),
    ],
)
def test_a_picture_that_is_not_read(data: bytes, error: type[RequestError], words: str) -> None:
    with pytest.raises(error, match=words):
        read(data, MOST)
