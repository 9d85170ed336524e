"""Tests the limits of AVIF files, on files of the encoder whose boxes are changed."""

import struct
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.errors import PayloadTooLarge
from service.imaging.avif_limits import check_avif
from tests.service.payloads import Pixels, encode

WIDTH, HEIGHT = 60, 40


def avif(pixels: Pixels | None = None, **options: Any) -> bytes:
    return encode(np.zeros((HEIGHT, WIDTH), np.uint8) if pixels is None else pixels, kind="AVIF", **options)


def with_size(width: int, height: int) -> bytes:
    return avif().replace(struct.pack(">II", WIDTH, HEIGHT), struct.pack(">II", width, height))


def with_exif(size: int) -> bytes:
    """A file whose item of EXIF data has so many bytes: four, and what Pillow writes."""
    exif = Image.Exif()
    exif[0x010E] = "d" * size
    excess = len(exif.tobytes()) + 4 - size
    exif[0x010E] = "d" * (size - excess)
    return avif(exif=exif)


def test_returns_the_size() -> None:
    assert check_avif(avif()) == (WIDTH, HEIGHT)
    assert check_avif(avif(np.zeros((HEIGHT, WIDTH, 4), np.uint8))) == (WIDTH, HEIGHT)
    assert check_avif(b"\0\0\0\x08ftyp") == (0, 0)


def test_the_limit_on_pixels_is_exact() -> None:
    assert check_avif(with_size(5000, 2500)) == (5000, 2500)
    with pytest.raises(PayloadTooLarge) as caught:
        check_avif(with_size(5001, 2500))
    assert str(caught.value) == "the picture has 5001x2500 pixels; 12500000 are allowed in an AVIF; send a JPEG"


def test_boxes_are_limited() -> None:
    box = struct.pack(">I4s", 8, b"free")
    file = avif()
    meta = file.index(b"meta") - 4
    assert check_avif(file[:meta] + box * 900 + file[meta:]) == (WIDTH, HEIGHT)
    for body in (file[:meta] + box * 1000 + file[meta:], file + box * 1000):
        with pytest.raises(PayloadTooLarge, match=r"^the AVIF has more than 1000 boxes, which is the limit$"):
            check_avif(body)


def test_the_limit_on_exif_data_is_exact_to_its_alignment() -> None:
    check_avif(with_exif(262_144))
    with pytest.raises(PayloadTooLarge, match=r"^the EXIF data has 262146 bytes; 262144 are allowed; remove it$"):
        check_avif(with_exif(262_146))


def test_items_and_extents_are_limited() -> None:
    file = avif()
    place = file.index(b"iloc") + 4
    many = file[: place + 6] + struct.pack(">H", 1001) + file[place + 8 :]
    with pytest.raises(PayloadTooLarge, match=r"^the AVIF has 1001 items; 1000 are allowed$"):
        check_avif(many)
    extents = place + 8 + 2 + (2 if file[place] else 0) + 2 + (file[place + 5] >> 4)
    assert file[extents : extents + 2] == b"\0\1"
    with pytest.raises(
        PayloadTooLarge, match=r"^the items of the AVIF have more than 1000 extents, which is the limit$"
    ):
        check_avif(file[:extents] + struct.pack(">H", 1001) + file[extents + 2 :])


def test_damaged_files_raise_only_what_the_caller_expects() -> None:
    file = with_exif(1000)
    random = np.random.default_rng(1)
    for _ in range(2000):
        damaged = bytearray(file[: random.integers(1, len(file))])
        damaged[random.integers(len(damaged))] = random.integers(256)
        with suppress(PayloadTooLarge, struct.error, IndexError):
            check_avif(bytes(damaged))
