"""Tests the reading pipeline against MNIST: unchanged images, invariances, rows of digits, and boxes on the upload."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from service.errors import NoDigitFound
from service.imaging import mnist_format, reader
from service.imaging.geometry import Box
from service.imaging.mnist_format import stroke_width
from service.imaging.reader import DEFAULT_OPTIONS, NormaliseOptions, read_image, read_picture
from service.settings import Settings
from tests.conftest import REPOSITORY
from tests.service.payloads import Pixels, encode, stroke
from training.data.mnist import Dataset

LIMITS = Settings()
ALWAYS, NEVER, ROW = NormaliseOptions("always"), NormaliseOptions("never"), NormaliseOptions(split=True)


def single_image(data: bytes, options: NormaliseOptions = DEFAULT_OPTIONS) -> Pixels:
    """The one image of a picture."""
    (found,) = read_picture(data, LIMITS, options)
    return found.image


def normalise(pixels: Pixels) -> Pixels:
    (found,) = read_image(pixels, ALWAYS) if pixels.shape == (28, 28) else read_picture(encode(pixels), LIMITS, ALWAYS)
    return found.image


def mean_difference(one: Pixels, other: Pixels) -> float:
    """Mean absolute difference in grey levels."""
    return float(np.abs(one.astype(int) - other).mean())


@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("BMP", {}), ("GIF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("WEBP", {"lossless": True})],
)
@pytest.mark.parametrize("mode", ["L", "RGB", "P"])
def test_mnist_passes_unchanged(mnist: Dataset, kind: str, options: dict[str, object], mode: str) -> None:
    for image in mnist.test.images[:20]:
        data = encode(image, kind=kind, mode=mode, **options)
        assert np.array_equal(single_image(data), image)
        assert np.array_equal(single_image(data, NEVER), image)


def test_mnist_in_sixteen_bits_passes_unchanged(mnist: Dataset) -> None:
    for image in mnist.test.images[:20]:
        assert np.array_equal(single_image(encode(image.astype(np.uint16) * 257)), image)


def test_the_picture_of_the_curl_line_is_a_seven_of_mnist(mnist: Dataset) -> None:
    image = single_image((REPOSITORY / "tests" / "pictures" / "seven.png").read_bytes())
    same = (mnist.test.images == image).all(axis=(1, 2))
    assert mnist.test.labels[same].tolist() == [7]


def test_every_image_of_mnist_passes_unchanged(mnist: Dataset) -> None:
    for part in (mnist.training, mnist.validation, mnist.test):
        for image in part.images:
            assert read_image(image, NEVER)[0].image is image


def test_normalised_mnist_is_nearly_unchanged(mnist: Dataset) -> None:
    """The oracle of the whole way is MNIST: its own normal form, normalised, is the same again."""
    differences = np.array([mean_difference(normalise(image), image) for image in mnist.test.images[:1000]])
    assert np.median(differences) < 0.25
    assert differences.mean() < 0.8


@pytest.mark.parametrize(("kind", "options"), [("JPEG", {"quality": 95}), ("WEBP", {"quality": 95})])
def test_lossy_compression_changes_little(mnist: Dataset, kind: str, options: dict[str, object]) -> None:
    image = mnist.test.images[0]
    assert mean_difference(single_image(encode(image, kind=kind, mode="RGB", **options)), image) < 4


def _framed(light: int, value: int = 128) -> Pixels:
    """An image with this many of its 108 border pixels at `value`; 128 is the least that counts as light."""
    image = stroke()
    image.reshape(-1)[reader._BORDER_INDICES[:light]] = value
    return image


@pytest.mark.parametrize(
    "image", [np.pad(np.full((4, 4), 32, np.uint8), 12), _framed(54), _framed(108, 127)], ids=range(3)
)
def test_light_on_dark_passes_unchanged_if_it_must_not_be_normalised(image: Pixels) -> None:
    assert np.array_equal(single_image(encode(image), NEVER), image)
    assert np.array_equal(read_image(image, NEVER)[0].image, image)


def test_light_on_dark_in_another_form_than_mnists_is_normalised(mnist: Dataset) -> None:
    for image in mnist.test.images[:20]:
        for other in (np.roll(image, 3, axis=1), image // 2, np.maximum(image, 40)):
            np.testing.assert_array_equal(single_image(encode(other)), normalise(other))


def test_dark_on_light_is_normalised_or_rejected(mnist: Dataset) -> None:
    assert np.array_equal(single_image(encode(255 - mnist.test.images[0])), normalise(mnist.test.images[0]))
    for image in (255 - mnist.test.images[0], _framed(55)):
        with pytest.raises(NoDigitFound, match=r"^the picture is dark on light, and is not to be normalised$"):
            single_image(encode(image), NEVER)


@pytest.mark.parametrize("level", [0, 31, 128, 255])
@pytest.mark.parametrize("side", [28, 27, 400])
@pytest.mark.parametrize("options", [DEFAULT_OPTIONS, ALWAYS, ROW], ids=str)
def test_a_blank_picture_has_no_digit(level: int, side: int, options: NormaliseOptions) -> None:
    with pytest.raises(NoDigitFound, match="no digit to read"):
        read_picture(encode(np.full((side, side), level, np.uint8)), LIMITS, options)


def test_a_faint_image_that_must_not_be_normalised_has_no_digit() -> None:
    with pytest.raises(NoDigitFound, match=r"^no digit to read: the pixels differ by 31 at most; a stroke needs 32$"):
        single_image(encode(np.pad(np.full((4, 4), 31, np.uint8), 12)), NEVER)


def test_never_rejects_other_sizes_and_names_them() -> None:
    with pytest.raises(NoDigitFound, match=r"^the picture has 28x27 pixels; 28x28 is read without normalising$"):
        single_image(encode(stroke()[:27]), NEVER)


USUAL = (1.1 * mnist_format.MIN_STROKE_WIDTH, 0.9 * mnist_format.MAX_STROKE_WIDTH)
Change = Callable[[Pixels, st.DataObject], Pixels]


def _inverted(image: Pixels, _: st.DataObject) -> Pixels:
    return 255 - image


def _padded(image: Pixels, data: st.DataObject) -> Pixels:
    return np.pad(image, data.draw(st.tuples(*[st.tuples(*[st.integers(0, 80)] * 2)] * 2)))


def _moved(image: Pixels, data: st.DataObject) -> Pixels:
    page = np.zeros((90, 120), np.uint8)
    top, left = data.draw(st.integers(0, 62)), data.draw(st.integers(0, 92))
    page[top : top + 28, left : left + 28] = image
    return page


def _again(image: Pixels, _: st.DataObject) -> Pixels:
    return normalise(image)


@pytest.mark.parametrize(
    ("change", "most"),
    [(_inverted, 0.0), (_padded, 0.0), (_moved, 0.0), (_again, 0.6)],
)
@hypothesis_settings(max_examples=60, deadline=None)
@given(data=st.data(), index=st.integers(0, 9999))
def test_normalisation_is_invariant(
    mnist: Dataset, change: Change, most: float, data: st.DataObject, index: int
) -> None:
    """Inversion, a margin and the position on the page change nothing, and normalising twice changes next to nothing.

    Of digits by a usual pen: strokes at the edge of what is brought to its width may fall on either side.
    """
    image = mnist.test.images[index]
    assume(USUAL[0] < stroke_width(np.asarray(image / image.max(), np.float32)) < USUAL[1])
    once = normalise(image)
    assert mean_difference(normalise(change(image, data)), once) <= most


def test_an_integer_scale_changes_next_to_no_image(mnist: Dataset) -> None:
    """Of 913 images with strokes of usual width, 2 change by more than rounding at some scale (4530 and 9300)."""
    changed = 0
    for number, index in enumerate(range(0, 10_000, 50)):
        image, scale = mnist.test.images[index], 1 + number % 12
        if not USUAL[0] < stroke_width(np.asarray(image / image.max(), np.float32)) < USUAL[1]:
            continue  # a stroke at the edge of the usual widths may be dilated at one scale and not at another
        enlarged = np.kron(image, np.ones((scale, scale), np.uint8))
        changed += mean_difference(normalise(enlarged), normalise(image)) > 0.5
    assert changed <= 1


def draw_number(mnist: Dataset, text: str, *, scale: int = 4, gap: int = 6) -> Pixels:
    """Dark digits of MNIST on a light page, side by side."""
    digits = [mnist.test.images[np.flatnonzero(mnist.test.labels == int(digit))[3]] for digit in text]
    row = np.concatenate([np.pad(digit[:, 3:25], ((0, 0), (0, gap // 2))) for digit in digits], axis=1)
    return 255 - np.pad(np.asarray(Image.fromarray(row).resize((row.shape[1] * scale, row.shape[0] * scale))), 30)


def test_a_row_gives_the_image_and_the_box_of_each_digit(mnist: Dataset) -> None:
    page = draw_number(mnist, "2024", gap=12)
    found = read_picture(encode(page), LIMITS, ROW)
    assert len(found) == 4
    edges = [edge for one in found for edge in one.box[::2]]
    assert edges == sorted(edges)
    for (left, top, right, bottom), image in ((one.box, one.image) for one in found):
        part = page[top:bottom, left:right]
        assert part.shape == (bottom - top, right - left)
        assert all(side.min() < 240 for side in (part[0], part[-1], part[:, 0], part[:, -1]))
        np.testing.assert_array_equal(normalise(np.pad(part, 20, constant_values=255)), image)


def test_small_digits_on_a_large_page_are_read_at_full_resolution(mnist: Dataset) -> None:
    row = draw_number(mnist, "71", scale=1, gap=30)
    page = np.full((2000, 3000), 255, np.uint8)
    page[900 : 900 + row.shape[0], 1700 : 1700 + row.shape[1]] = row
    near, far = read_picture(encode(row), LIMITS, ROW), read_picture(encode(page), LIMITS, ROW)
    for one, other in zip(near, far, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        assert np.subtract(other.box, one.box).tolist() == [1700, 900, 1700, 900]


@pytest.mark.parametrize(("height", "width"), [(60, 3000), (1500, 1500), (1500, 16_000)])
def test_digits_at_both_ends_of_a_large_picture_are_read(height: int, width: int, mnist: Dataset) -> None:
    page = np.full((height, width), 255, np.uint8)
    seven = 255 - np.kron(mnist.test.images[0], np.ones((2, 2), np.uint8))
    page[2:58, 20:76] = page[2:58, width - 90 : width - 34] = seven
    assert len(read_picture(encode(page), LIMITS, ROW)) == 2
    assert single_image(encode(page)).any()


def test_a_box_ends_within_the_picture() -> None:
    """1,501 pixels are reduced to 500; the last one fills no pixel of the reduced picture."""
    pixels = np.full((1501, 1501), 255, np.uint8)
    pixels[700:1501, 600:1501:8] = 0
    pixels[700:712, 600:1501] = 0
    (found,) = read_picture(encode(pixels), LIMITS, DEFAULT_OPTIONS)
    assert found.box[2:] == (1500, 1500)


@pytest.mark.parametrize(("top", "bottom", "left", "right"), [(100, 200, 20, 280), (20, 280, 110, 190)])
def test_a_stroke_as_broad_as_a_page_is_not_a_page(top: int, bottom: int, left: int, right: int) -> None:
    pixels = np.full((300, 300), 255, np.uint8)
    pixels[top:bottom, left:right] = 0
    (found,) = read_picture(encode(pixels), LIMITS, DEFAULT_OPTIONS)
    assert found.box == (left, top, right, bottom)


def test_dark_ink_on_grey_paper_is_normalised_at_28_pixels_too(mnist: Dataset) -> None:
    for paper, depth in ((115, 100), (170, 140)):
        image = np.round(paper - depth / 255 * mnist.test.images[0]).astype(np.uint8)
        assert mean_difference(single_image(encode(image)), normalise(mnist.test.images[0])) < 2


def test_boxes_are_in_pixels_of_the_upload_after_decoding_at_a_reduced_scale(mnist: Dataset) -> None:
    page = draw_number(mnist, "47", scale=40, gap=12)
    for kind in ("PNG", "JPEG"):
        found = read_picture(encode(page, kind=kind), replace(LIMITS, max_pixels=10**8), ROW)
        assert len(found) == 2
        for left, top, right, bottom in (one.box for one in found):
            dark = page[top:bottom, left:right] < 128
            assert dark.any(axis=1).mean() > 0.9
            assert dark.any(axis=0).mean() > 0.9


def draw_block(height: int, width: int, top: int, left: int, side: int = 60) -> Pixels:
    """A white page with a dark square ring."""
    page = np.full((height, width), 255, np.uint8)
    page[top : top + side, left : left + side] = 0
    page[top + side // 4 : top + 3 * side // 4, left + side // 4 : left + 3 * side // 4] = 255
    return page


@pytest.mark.parametrize("side", [40, 100, 200])
@pytest.mark.parametrize("offset", range(3))
def test_a_small_digit_of_a_reduced_picture_has_the_ink_of_full_resolution(side: int, offset: int) -> None:
    """The page is reduced to a third; below 80 pixels there, ink and box are those of the page itself."""
    page = draw_block(1500, 1500, 300 + offset, 600 + offset, side)
    page[300 + offset : 300 + side : 5, 600 + offset : 600 + side // 4] = 120  # lost on the reduced picture
    (digit,) = reader._extract_digits(page, split=False)
    assert digit.box == Box(300 + offset, 300 + offset + side, 600 + offset, 600 + offset + side)
    part = page[digit.box.top : digit.box.bottom, digit.box.left : digit.box.right]
    np.testing.assert_allclose(digit.ink, 255 - part.astype(int), atol=2)


def test_a_large_digit_of_a_reduced_picture_keeps_its_reduced_ink() -> None:
    page = draw_block(1500, 1500, 300, 600, 300)
    (digit,) = reader._extract_digits(page, split=False)
    assert digit.ink.shape == (100, 100)
    assert digit.box == Box(300, 600, 600, 900)


def test_the_ink_of_full_resolution_leaves_out_specks_inside_the_box() -> None:
    page = draw_block(1500, 1500, 300, 600, 150)
    page[370:374, 670:674] = 0
    (digit,) = reader._extract_digits(page, split=False)
    assert digit.ink.shape == (150, 150)
    assert not digit.ink[60:90, 60:90].any()


def test_a_page_without_a_digit_is_read_with_its_surroundings() -> None:
    picture = np.full((300, 400), 230, np.uint8)
    picture[:60] = picture[-60:] = 20
    (found,) = read_picture(encode(picture), LIMITS, DEFAULT_OPTIONS)
    assert found.box[0] == 0
    assert found.image.any()


def test_a_digit_on_a_page_has_a_box_on_the_picture() -> None:
    picture = np.full((300, 400), 230, np.uint8)
    picture[:, :100] = picture[:, -100:] = 20
    picture[100:200, 180:200] = 0
    (found,) = read_picture(encode(picture), LIMITS, DEFAULT_OPTIONS)
    assert found.box == (180, 100, 200, 200)


@pytest.mark.parametrize(("scale", "box"), [(1.0, (3, 1, 9, 2)), (2.0, (6, 2, 18, 4)), (1.5, (4, 2, 14, 3))])
def test_boxes_are_scaled_to_the_upload_and_rounded(scale: float, box: tuple[int, int, int, int]) -> None:
    assert reader._upload_coordinates(Box(1, 2, 3, 9), scale) == box


def test_the_size_in_a_message_is_that_of_the_upload() -> None:
    with pytest.raises(NoDigitFound, match=r"^the picture has 4096x2048 pixels; 28x28 is read without normalising$"):
        single_image(encode(np.zeros((2048, 4096), np.uint8), kind="JPEG"), NEVER)


def test_a_colour_image_of_28_pixels_passes_as_grey(mnist: Dataset) -> None:
    grey = mnist.test.images[0]
    coloured = np.dstack([grey, grey, np.where(grey == 255, 0, grey)])
    found = single_image(encode(coloured), NEVER)
    np.testing.assert_array_equal(found, np.asarray(Image.fromarray(coloured).convert("L")))


def test_an_unchanged_image_has_the_box_of_28_pixels_and_a_split_one_that_of_its_ink() -> None:
    (found,) = read_image(stroke(), NEVER)
    assert found.box == (0, 0, 28, 28)
    (found,) = read_image(stroke(), ROW)
    assert found.box == (13, 5, 15, 24)
