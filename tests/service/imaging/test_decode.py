from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from service.errors import BadRequest, PayloadTooLarge, RequestError, UnsupportedMediaType
from service.imaging.decode import decode
from service.settings import Settings
from tests.service.payloads import Pixels, encode, png_saying, stroke

LIMITS = Settings()
UPRIGHT = np.zeros((60, 40), np.uint8)
UPRIGHT[5:15, 5:35] = 200
UPRIGHT[5:55, 5:10] = 90


def grey(data: bytes) -> Pixels:
    return np.asarray(decode(data, LIMITS).picture.convert("L"))


def with_alpha(colour: tuple[int, int, int], alpha: Pixels) -> bytes:
    return encode(np.dstack([np.full((*alpha.shape, 3), colour, np.uint8), alpha]))


@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("BMP", {}), ("GIF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("WEBP", {"lossless": True})],
)
@pytest.mark.parametrize("mode", ["L", "RGB", "P"])
def test_every_format_keeps_grey_levels(kind: str, options: dict[str, object], mode: str) -> None:
    np.testing.assert_array_equal(grey(encode(UPRIGHT, kind=kind, mode=mode, **options)), UPRIGHT)


@pytest.mark.parametrize("white", [1, 255, 1023, 4095, 65535])
def test_more_bits_than_eight_are_taken_by_their_full_scale(white: int) -> None:
    levels = UPRIGHT / np.float32(255) * white
    levels[0, 0] = white
    expected = UPRIGHT.copy()
    expected[0, 0] = 255
    if white > 1:
        np.testing.assert_array_equal(grey(encode(levels.round().astype(np.uint16), kind="TIFF")), expected)
        np.testing.assert_array_equal(grey(encode(levels.round().astype(np.uint16))), expected)
    np.testing.assert_array_equal(grey(encode(levels.astype(np.float32), kind="TIFF")), expected)


def test_float_levels_of_no_scale_are_stretched_and_those_that_are_no_numbers_are_0() -> None:
    levels = UPRIGHT.astype(np.float32) * 1000 - 7
    levels[0, :3] = np.nan, np.inf, -np.inf
    found = grey(encode(levels, kind="TIFF"))
    np.testing.assert_allclose(found[1:], UPRIGHT[1:] * np.float64(255 / 200), atol=1)
    assert (found[0] == 0).all()


def test_one_bit_and_cmyk() -> None:
    np.testing.assert_array_equal(grey(encode(UPRIGHT > 100)), np.where(UPRIGHT > 100, 255, 0))
    found = grey(encode(UPRIGHT, kind="TIFF", mode="CMYK")).astype(int)
    assert np.abs(found - UPRIGHT).max() <= 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_a_picture_is_turned_upright(kind: str, orientation: int) -> None:
    """EXIF 2.32, 4.6.4.A: which side of the sensor the first row and the first column are."""
    turns = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    turn, picture = turns[orientation], Image.fromarray(UPRIGHT)
    exif = Image.Exif()
    exif[0x0112] = orientation
    lying = np.asarray(picture.transpose(turn) if turn is not None else picture)
    options = {"quality": 100} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    found = grey(encode(lying, kind=kind, exif=exif, **options)).astype(int)
    assert found.shape == UPRIGHT.shape
    assert np.abs(found - UPRIGHT).mean() < 2


@pytest.mark.parametrize(
    ("ink", "ground"), [((0, 0, 0), 255), ((30, 0, 90), 255), ((255, 255, 255), 0), ((255, 240, 200), 0)]
)
@pytest.mark.parametrize("hidden", [0, 128, 255])
def test_ink_without_a_ground_lies_on_what_is_farthest_from_it(
    ink: tuple[int, int, int], ground: int, hidden: int
) -> None:
    alpha = np.where(UPRIGHT > 0, 255, 0).astype(np.uint8)
    layers = np.dstack([np.full((*alpha.shape, 3), hidden, np.uint8), alpha])
    layers[UPRIGHT > 0, :3] = ink
    found = grey(encode(layers))
    assert (found[UPRIGHT == 0] == ground).all()
    assert np.abs(found[UPRIGHT > 0].astype(int) - ground).min() > 150


def test_half_transparent_ink_is_between_ink_and_ground() -> None:
    found = grey(with_alpha((0, 0, 0), UPRIGHT)).astype(int)
    assert np.abs(found - (255 - UPRIGHT)).max() <= 1


def test_a_card_lies_on_more_of_itself() -> None:
    card = np.full((60, 60, 4), 0, np.uint8)
    card[10:50, 10:50] = (250, 250, 240, 255)
    card[20:40, 28:32, :3] = 20
    found = grey(encode(card))
    assert found[0, 0] > 240
    assert (found < 100).sum() == 20 * 4


@pytest.mark.parametrize("mode", ["LA", "P"])
def test_every_kind_of_transparency_is_laid_on_a_ground(mode: str) -> None:
    pixels = np.where(UPRIGHT > 0, 255, 0).astype(np.uint8)
    picture = Image.fromarray(pixels).convert(mode)
    if mode == "LA":
        picture.putalpha(Image.fromarray(pixels))
    file = BytesIO()
    picture.save(file, "PNG", **({"transparency": 0} if mode == "P" else {}))
    np.testing.assert_array_equal(grey(file.getvalue()), pixels)


def test_only_the_first_frame_is_read() -> None:
    frames, file = [Image.fromarray(np.full((20, 20), level, np.uint8)) for level in (40, 200)], BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    assert (grey(file.getvalue()) == 40).all()


def test_a_large_jpeg_is_decoded_at_a_part_of_its_size_and_says_so() -> None:
    large = np.kron(UPRIGHT, np.ones((100, 100), np.uint8))
    decoded = decode(encode(large, kind="JPEG"), LIMITS)
    assert decoded.picture.size == (2000, 3000)
    assert decoded.scale == 2


def test_a_header_alone_decides_what_is_too_large() -> None:
    bomb = png_saying(50_000, 50_000)
    assert len(bomb) < 200
    with pytest.raises(PayloadTooLarge, match="50000x50000 pixels; 25000000 are allowed"):
        decode(bomb, LIMITS)
    with pytest.raises(PayloadTooLarge, match="20000x5 pixels; a side may have 16384"):
        decode(png_saying(20_000, 5), LIMITS)


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (b"", BadRequest, "0 bytes"),
        (encode(stroke())[:-40], BadRequest, "the picture cannot be decoded: "),
        (encode(stroke(), kind="GIF")[:-20], BadRequest, "the picture cannot be decoded: "),
        (b"<svg/>", UnsupportedMediaType, "PNG, JPEG, GIF, BMP, WEBP, TIFF"),
        (png_saying(28, 28, colour=3), BadRequest, "the picture"),
        (encode(stroke(), kind="ICO"), UnsupportedMediaType, "none of PNG"),
        (png_saying(0, 5), RequestError, "the picture"),
    ],
)
def test_a_file_that_is_no_picture(data: bytes, error: type[RequestError], words: str) -> None:
    with pytest.raises(error, match=words):
        decode(data, LIMITS)
