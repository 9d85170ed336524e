"""Tests decoding against arrays that were saved in every format, depth and orientation, and of damaged files."""

from io import BytesIO

import numpy as np
import pytest
from PIL import AvifImagePlugin, Image, UnidentifiedImageError

from service.errors import BadRequest, PayloadTooLarge, RequestError, UnsupportedMediaType
from service.imaging import decode as decode_module
from service.imaging.decode import Decoded, decode
from service.settings import Settings
from tests.service.payloads import Pixels, encode, png_with_size, stroke

LIMITS = Settings()
UPRIGHT = np.zeros((60, 40), np.uint8)
UPRIGHT[5:15, 5:35] = 200
UPRIGHT[5:55, 5:10] = 90


def grey(data: bytes) -> Pixels:
    return np.asarray(Image.fromarray(decode(data, LIMITS).pixels).convert("L"))


def with_alpha_as(kind: str, colour: tuple[int, int, int], alpha: Pixels) -> bytes:
    return encode(np.dstack([np.full((*alpha.shape, 3), colour, np.uint8), alpha]), kind=kind)


def with_alpha(colour: tuple[int, int, int], alpha: Pixels) -> bytes:
    return encode(np.dstack([np.full((*alpha.shape, 3), colour, np.uint8), alpha]))


@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("BMP", {}), ("GIF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("WEBP", {"lossless": True})],
)
@pytest.mark.parametrize("mode", ["L", "RGB", "P"])
def test_every_format_keeps_grey_levels(kind: str, options: dict[str, object], mode: str) -> None:
    np.testing.assert_array_equal(grey(encode(UPRIGHT, kind=kind, mode=mode, **options)), UPRIGHT)


def test_avif_is_decoded_in_colour_with_transparency_and_orientation() -> None:
    """By a decoder of one thread; its colours are exact to 2 levels."""
    exif = Image.Exif()
    exif[0x112] = 6
    turned = decode(encode(UPRIGHT, kind="AVIF", quality=100, exif=exif), LIMITS).pixels
    np.testing.assert_allclose(turned.astype(int), np.rot90(UPRIGHT, -1), atol=2)
    ink = with_alpha_as("AVIF", (200, 30, 40), UPRIGHT)
    np.testing.assert_allclose(decode(ink, LIMITS).pixels[30, 7].astype(int), [236, 176, 179], atol=2)
    assert AvifImagePlugin.DEFAULT_MAX_THREADS == 1


@pytest.mark.parametrize("white", [1, 255, 1023, 4095, 16383, 65535])
def test_rescales_more_than_8_bits_by_the_white_level(white: int) -> None:
    levels = UPRIGHT / np.float32(255) * white
    levels[0, 0] = white
    expected = UPRIGHT.copy()
    expected[0, 0] = 255
    if white > 1:
        np.testing.assert_array_equal(grey(encode(levels.round().astype(np.uint16), kind="TIFF")), expected)
        np.testing.assert_array_equal(grey(encode(levels.round().astype(np.uint16))), expected)
    np.testing.assert_array_equal(grey(encode(levels.astype(np.float32), kind="TIFF")), expected)


def test_rescales_other_floats_by_their_range_and_takes_nan_and_infinities_for_0() -> None:
    levels = UPRIGHT.astype(np.float32) * 1000 - 7
    levels[0, :3] = np.nan, np.inf, -np.inf
    found = grey(encode(levels, kind="TIFF"))
    np.testing.assert_allclose(found[1:], UPRIGHT[1:] * np.float64(255 / 200), atol=1)
    assert (found[0] == 0).all()


def test_converts_one_bit_and_cmyk() -> None:
    np.testing.assert_array_equal(grey(encode(UPRIGHT > 100)), np.where(UPRIGHT > 100, 255, 0))
    found = grey(encode(UPRIGHT, kind="TIFF", mode="CMYK")).astype(int)
    assert np.abs(found - UPRIGHT).max() <= 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_applies_the_exif_orientation(kind: str, orientation: int) -> None:
    """EXIF 2.32, 4.6.4.A: which side of the sensor the first row and the first column are."""
    transpositions = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    transposition, picture = transpositions[orientation], Image.fromarray(UPRIGHT)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.asarray(picture.transpose(transposition) if transposition is not None else picture)
    options = {"quality": 100} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    found = grey(encode(stored, kind=kind, exif=exif, **options)).astype(int)
    assert found.shape == UPRIGHT.shape
    assert np.abs(found - UPRIGHT).mean() < 2


@pytest.mark.parametrize(
    ("ink", "ground"), [((0, 0, 0), 255), ((30, 0, 90), 255), ((255, 255, 255), 0), ((255, 240, 200), 0)]
)
@pytest.mark.parametrize("hidden", [0, 128, 255])
def test_transparent_ink_gets_the_background_that_differs_more(
    ink: tuple[int, int, int], ground: int, hidden: int
) -> None:
    alpha = np.where(UPRIGHT > 0, 255, 0).astype(np.uint8)
    layers = np.dstack([np.full((*alpha.shape, 3), hidden, np.uint8), alpha])
    layers[UPRIGHT > 0, :3] = ink
    found = grey(encode(layers))
    assert (found[UPRIGHT == 0] == ground).all()
    assert np.abs(found[UPRIGHT > 0].astype(int) - ground).min() > 150


def test_half_transparent_ink_is_between_ink_and_background() -> None:
    found = grey(with_alpha((0, 0, 0), UPRIGHT)).astype(int)
    assert np.abs(found - (255 - UPRIGHT)).max() <= 1


def test_an_opaque_card_gets_its_own_colour_as_background() -> None:
    card = np.full((60, 60, 4), 0, np.uint8)
    card[10:50, 10:50] = (250, 250, 240, 255)
    card[20:40, 28:32, :3] = 20
    found = grey(encode(card))
    assert found[0, 0] > 240
    assert (found < 100).sum() == 20 * 4


@pytest.mark.parametrize("mode", ["LA", "P"])
def test_composites_every_kind_of_transparency(mode: str) -> None:
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


def test_a_large_jpeg_is_decoded_at_a_reduced_scale() -> None:
    large = np.kron(UPRIGHT, np.ones((100, 100), np.uint8))
    decoded = decode(encode(large, kind="JPEG"), LIMITS)
    assert decoded.pixels.shape == (1500, 1000)
    assert decoded.scale == 4
    expected = np.kron(UPRIGHT, np.ones((25, 25), np.uint8))
    assert np.abs(decoded.pixels.astype(int) - expected).mean() < 1


@pytest.mark.parametrize("size", [(8064, 6048), (8160, 6144), (9248, 6936)])
def test_photos_of_48_50_and_64_megapixels_are_read(size: tuple[int, int]) -> None:
    decoded = decode(encode(np.zeros(size[::-1], np.uint8), kind="JPEG"), LIMITS)
    assert decoded.pixels.shape == (size[1] // 8, size[0] // 8)
    assert decoded.scale == 8


def test_a_jpeg_is_limited_by_the_pixels_that_it_states_and_by_those_that_are_decoded() -> None:
    stated = encode(np.zeros((8000, 8200), np.uint8), kind="JPEG")
    assert message_of(stated) == "the picture has 8200x8000 pixels; 65000000 are allowed in a JPEG"
    photo = encode(np.zeros((1500, 2000), np.uint8), kind="JPEG")
    assert decode(photo, Settings(max_pixels=750_000)).pixels.shape == (750, 1000)
    assert message_of(photo, Settings(max_pixels=749_999)) == (
        "the picture has 2000x1500 pixels, decoded at 1/2 of each side; 749999 are allowed"
    )
    assert decode(stated, Settings(max_pixels=65_600_000)).scale == 8


def test_rejects_a_large_picture_by_its_header() -> None:
    bomb = png_with_size(50_000, 50_000)
    assert len(bomb) < 200
    with pytest.raises(PayloadTooLarge, match=r"^the picture has 50000x50000 pixels; 25000000 are allowed$"):
        decode(bomb, LIMITS)
    with pytest.raises(PayloadTooLarge, match=r"^the picture has 20000x5 pixels; a side may have 16384$"):
        decode(png_with_size(20_000, 5), LIMITS)


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (b"", BadRequest, "0 bytes"),
        (encode(stroke())[:-40], BadRequest, "the picture cannot be decoded: "),
        (encode(stroke(), kind="GIF")[:-20], BadRequest, "the picture cannot be decoded: "),
        (b"<svg/>", UnsupportedMediaType, "the file is SVG"),
        (b"<html/>", UnsupportedMediaType, "PNG, JPEG, GIF, BMP, WEBP, TIFF, AVIF"),
        (png_with_size(28, 28, colour=3), BadRequest, "the picture"),
        (encode(stroke(), kind="ICO"), UnsupportedMediaType, "the file is ICO"),
        (png_with_size(0, 5), RequestError, "the picture"),
    ],
)
def test_rejects_a_file_that_is_not_a_picture(data: bytes, error: type[RequestError], words: str) -> None:
    with pytest.raises(error, match=words):
        decode(data, LIMITS)


def message_of(data: bytes, settings: Settings = LIMITS) -> str:
    """The sentence of the error that a file raises."""
    with pytest.raises(RequestError) as caught:
        decode(data, settings)
    return str(caught.value)


def test_messages_name_the_cause() -> None:
    assert message_of(b"") == "the picture has 0 bytes"
    assert message_of(b"a text") == "the picture is none of PNG, JPEG, GIF, BMP, WEBP, TIFF, AVIF"
    assert message_of(encode(stroke())[:-40]).startswith("the picture cannot be decoded: ")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("two  words\nand a line"), "two words and a line"),
        (ValueError("x" * 200), "x" * 100),
        (KeyError(), "KeyError"),
    ],
    ids=["white space", "a long message", "no message"],
)
def test_an_error_of_pillow_becomes_one_short_sentence(
    monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    def fail(_: Image.Image) -> Decoded:
        raise error

    monkeypatch.setattr(decode_module, "_decode", fail)
    assert message_of(encode(stroke())) == f"the picture cannot be decoded: {reason}"


def test_a_memory_error_is_no_fault_of_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Image.Image) -> Decoded:
        raise MemoryError

    monkeypatch.setattr(decode_module, "_decode", fail)
    with pytest.raises(MemoryError):
        decode(encode(stroke()), Settings())


def test_limits_are_inclusive() -> None:
    data = encode(UPRIGHT)  # 40 x 60 pixels
    assert decode(data, Settings(max_pixels=2400, max_side=60)).pixels.shape == (60, 40)
    assert message_of(data, Settings(max_pixels=2399)) == "the picture has 40x60 pixels; 2399 are allowed"
    assert message_of(data, Settings(max_side=59)) == "the picture has 40x60 pixels; a side may have 59"


@pytest.mark.parametrize("error", [MemoryError(), OSError("out of memory when reading image file")])
def test_a_failed_allocation_is_no_damaged_file(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(_: Image.Image) -> Decoded:
        raise error

    monkeypatch.setattr(decode_module, "_decode", fail)
    with pytest.raises(MemoryError):
        decode(encode(stroke()), LIMITS)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "I;16", "F"])
@pytest.mark.parametrize("rows", [1, 7, 16, 1000])
def test_bands_of_rows_do_not_change_the_picture(monkeypatch: pytest.MonkeyPatch, mode: str, rows: int) -> None:
    """Conversion of bands of so many rows, of a picture of 700 x 600 pixels."""
    levels = np.random.default_rng(5).integers(0, 256, (700, 600), np.uint8)
    levels[:, 200:] = np.where(levels[:, 200:] > 127, 255, 0)
    if mode in {"I;16", "F"}:
        pixels = levels.astype(np.uint16 if mode == "I;16" else np.float32) * 3
        data = encode(pixels, kind="TIFF")
    elif mode == "P":
        data = encode(levels, mode="P", transparency=255)
    else:
        layers = np.dstack([levels] * (3 if mode == "RGBA" else 1) + [levels[::-1]])
        data = encode(layers)
    whole = decode(data, LIMITS).pixels
    monkeypatch.setattr(decode_module, "MAX_WHOLE_PIXELS", 600)
    monkeypatch.setattr(decode_module, "BAND_PIXELS", rows * 600)
    np.testing.assert_array_equal(decode(data, LIMITS).pixels, whole)


@pytest.mark.parametrize(
    ("width", "height", "scale"),
    [
        (1999, 1999, 1),
        (2000, 512, 2),
        (2000, 511, 1),
        (512, 2000, 2),
        (3999, 3000, 2),
        (4000, 3000, 4),
        (3000, 4000, 4),
        (4000, 1023, 2),
        (7999, 6000, 4),
        (8000, 2048, 8),
        (16_000, 1500, 4),
        (16_000, 20, 1),
        (1, 1, 1),
    ],
)
def test_a_jpeg_keeps_1000_pixels_along_its_longer_side_and_256_along_its_shorter(
    width: int, height: int, scale: int
) -> None:
    decoded = decode(encode(np.zeros((height, width), np.uint8), kind="JPEG"), LIMITS)
    assert decoded.pixels.shape == (-(-height // scale), -(-width // scale))
    assert decoded.scale == pytest.approx(scale, rel=0.01)


def test_the_scale_is_that_of_the_stored_width_however_the_picture_lies() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    decoded = decode(encode(np.zeros((2048, 4096), np.uint8), kind="JPEG", exif=exif), LIMITS)
    assert (decoded.pixels.shape, decoded.scale) == ((1024, 512), 4)


@pytest.mark.parametrize(
    ("contrast", "height", "is_card"), [(64, 40, True), (63, 40, False), (64, 20, True), (200, 19, False)]
)
def test_a_card_has_contrast_and_fills_half_of_its_box(contrast: int, height: int, *, is_card: bool) -> None:
    """An opaque L on transparent pixels: a column of 2 x 40 pixels and a block of 38 x `height`."""
    card = np.zeros((60, 60, 4), np.uint8)
    card[10:50, 10:12] = card[10 : 10 + height, 10:50] = (200, 200, 200, 255)
    card[12:20, 20:40, :3] = 200 - contrast
    if height in (19, 20):
        card[10:50, 10:12] = 0
        card[10:50, 10] = (200, 200, 200, 255)
        card[10 : 10 + height, 49] = 0
    found = grey(encode(card))
    assert found[0, 0] == (200 if is_card else 0)


@pytest.mark.parametrize(("level", "background"), [(127, 255), (128, 0)])
def test_ink_of_middle_grey_gets_white_or_black(level: int, background: int) -> None:
    alpha = np.where(UPRIGHT > 0, 255, 0).astype(np.uint8)
    assert grey(with_alpha((level, level, level), alpha))[0, 0] == background


@pytest.mark.parametrize("alpha", [40, 249, 250])
def test_pixels_of_the_highest_alpha_decide_where_none_is_opaque(alpha: int) -> None:
    """The faint pixels, dark, are not ink; the others, light, are, so that the background is black."""
    layers = np.zeros((60, 40, 4), np.uint8)
    layers[UPRIGHT == 90] = (255, 255, 255, alpha)
    layers[UPRIGHT == 200] = (0, 0, 0, alpha - 1)
    found = grey(encode(layers))
    assert found[0, 0] == 0
    assert np.abs(found[UPRIGHT == 90].astype(int) - alpha).max() <= 1


def test_a_large_transparent_picture_is_analysed_on_a_small_one() -> None:
    alpha = np.kron(np.where(UPRIGHT > 0, 255, 0).astype(np.uint8), np.ones((20, 20), np.uint8))
    found = grey(with_alpha((10, 20, 30), alpha))
    assert found.shape == (1200, 800)
    assert (found[alpha == 0] == 255).all()
    assert (found[alpha == 255] < 30).all()


def test_the_background_of_a_card_is_the_median_of_its_channels() -> None:
    card = np.zeros((60, 60, 4), np.uint8)
    card[5:55, 5:55] = (240, 220, 130, 255)
    card[20:40, 25:35, :3] = 20
    pixels = decode(encode(card), LIMITS).pixels
    assert pixels.shape == (60, 60, 3)
    assert pixels[0, 0].tolist() == [240, 220, 130]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK"])
def test_a_grey_picture_has_one_channel_in_every_mode(mode: str) -> None:
    assert decode(encode(UPRIGHT, kind="TIFF", mode=mode), LIMITS).pixels.shape == (60, 40)


@pytest.mark.parametrize("alpha", [255, 254, 0])
@pytest.mark.parametrize(("row", "column", "channel"), [(0, 0, 0), (0, 0, 2), (59, 39, 1), (33, 21, 0)])
def test_a_picture_with_one_coloured_pixel_has_three_channels(alpha: int, row: int, column: int, channel: int) -> None:
    """A transparent pixel has no colour."""
    layers = np.dstack([UPRIGHT] * 3 + [np.full_like(UPRIGHT, 255)])
    layers[row, column, channel] += 9
    np.testing.assert_array_equal(decode(encode(layers[..., :3]), LIMITS).pixels, layers[..., :3])
    layers[row, column, 3] = alpha
    found = decode(encode(layers), LIMITS).pixels
    assert found.shape == ((60, 40, 3) if alpha else (60, 40))
    if alpha == 255:
        np.testing.assert_array_equal(found, layers[..., :3])


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "1", "CMYK"])
@pytest.mark.parametrize("orientation", [1, 3, 5, 6])
def test_pixels_are_contiguous_bytes(mode: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, object] = {} if orientation == 1 else {"exif": exif}
    pixels = decode(encode(UPRIGHT, kind="TIFF" if mode == "CMYK" else "PNG", mode=mode, **options), LIMITS).pixels
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous


def test_negative_levels_are_rescaled_by_their_range() -> None:
    levels = np.linspace(-2, 3, 2400, dtype=np.float32).reshape(60, 40)
    found = grey(encode(levels, kind="TIFF"))
    np.testing.assert_allclose(found, np.round((levels + 2) * 51), atol=1)
    assert (grey(encode(np.full((9, 9), -5, np.float32), kind="TIFF")) == 0).all()


def test_an_unreadable_orientation_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise UnidentifiedImageError

    monkeypatch.setattr("PIL.Image.Image.getexif", fail)
    np.testing.assert_array_equal(grey(encode(UPRIGHT, kind="BMP")), UPRIGHT)


def test_a_grey_png_with_a_transparent_level_is_composited() -> None:
    found = grey(encode(np.where(UPRIGHT > 0, 0, 90).astype(np.uint8), transparency=90))
    np.testing.assert_array_equal(found, np.where(UPRIGHT > 0, 0, 255))


def test_nan_and_infinities_among_fractions_are_0() -> None:
    levels = np.full((20, 20), 0.5, np.float32)
    levels[0, :3], levels[1] = (np.nan, np.inf, -np.inf), 1
    found = grey(encode(levels, kind="TIFF"))
    assert (found[0, :3].tolist(), found[1, 0], found[5, 5]) == ([0, 0, 0], 255, 128)


@pytest.mark.parametrize(("level", "background"), [(0, 255), (255, 0)])
def test_the_background_of_transparent_ink_is_exactly_white_or_black(level: int, background: int) -> None:
    alpha = np.where(UPRIGHT > 0, 255, 0).astype(np.uint8)
    assert decode(with_alpha((level, level, level), alpha), LIMITS).pixels[0, 0] == background
