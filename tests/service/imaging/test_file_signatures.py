"""Tests the formats of files by their first bytes: files of real encoders, claimed brands, and pixels."""

import bz2
import gzip
import lzma
import pickle
import struct
from io import BytesIO
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image, features

from service.imaging.decode import FORMATS
from service.imaging.file_signatures import PICTURE_FORMATS, describe_unsupported_file, identify_file
from tests.service.payloads import encode, idx3, npy, stroke
from training.data.mnist import Dataset


def zip_of(name: str) -> bytes:
    file = BytesIO()
    with ZipFile(file, "w") as archive:
        archive.writestr(name, b"content")
    return file.getvalue()


def iso_media(major: bytes, *compatible: bytes) -> bytes:
    """The first box of a file of the ISO base media format, and the next one."""
    brands = major + bytes(4) + b"".join(compatible)
    return struct.pack(">I", 8 + len(brands)) + b"ftyp" + brands + b"\0\0\1\0meta" + bytes(700)


PILLOW = ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "AVIF"]
OTHERS: dict[str, tuple[bytes, str]] = {
    "ICO": (encode(stroke(), kind="ICO"), "ICO"),
    "PDF": (encode(stroke(), kind="PDF"), "PDF"),
    "SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
    "SVG with a declaration": (b"<?xml version='1.0'?>\n<!-- drawn -->\n<svg/>", "SVG"),
    "ZIP": (zip_of("a"), "ZIP"),
    "gzip": (gzip.compress(bytes(784)), "gzip"),
    "gzip with a name": (b"\x1f\x8b\x08\x08" + bytes(20), "gzip"),
    "bzip2": (bz2.compress(bytes(784)), "bzip2"),
    "xz": (lzma.compress(bytes(784)), "xz"),
    "pickle": (pickle.dumps(stroke(), 4), "pickle"),
    "pickle of protocol 5": (pickle.dumps(stroke(), 5), "pickle"),
    "HEIC": (iso_media(b"heic", b"mif1", b"heic"), "HEIC"),
    "HEIC by a compatible brand": (iso_media(b"mif1", b"mif1", b"heic"), "HEIC"),
    "AVIF": (iso_media(b"avif", b"mif1", b"miaf"), "AVIF"),
    "AVIF by a compatible brand": (iso_media(b"mif1", b"mif1", b"avif"), "AVIF"),
    "MP4": (iso_media(b"isom", b"mp41"), "MP4"),
    "JPEG XL": (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(99), "JPEG XL"),
    "npy": (npy(stroke()[None]), "NPY"),
    "IDX3": (idx3(stroke()[None]), "IDX3"),
    "labels": (struct.pack(">2I", 0x801, 776) + bytes(776), "IDX1"),
}


@pytest.mark.parametrize("kind", PILLOW)
def test_pictures_are_identified_as_pillow_identifies_them(kind: str) -> None:
    for pixels in (stroke(), np.zeros((99, 50, 3), np.uint8)):
        file = encode(pixels, kind=kind)
        with Image.open(BytesIO(file)) as picture:
            assert identify_file(file) == picture.format == kind


@pytest.mark.parametrize("name", OTHERS)
def test_other_files_are_named(name: str) -> None:
    file, expected = OTHERS[name]
    assert identify_file(file) == expected
    assert identify_file(file.ljust(784 * 3, b"\0")) == expected or expected == "IDX1"


def test_every_format_that_is_decoded_has_a_signature() -> None:
    assert set(FORMATS) <= PICTURE_FORMATS
    assert ("AVIF" in FORMATS) == features.check("avif")


def test_no_image_of_mnist_starts_like_a_file(mnist: Dataset) -> None:
    for images in (mnist.training.images, mnist.validation.images, mnist.test.images):
        assert not any(identify_file(image.tobytes()) for image in images)
        assert not any(identify_file((255 - image).tobytes()) for image in images)


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"\0",
        b"\x89PN",
        b"\xff\xd8\xff\0",
        b"\xff\xff\xff",
        b"BM" + bytes(40),
        b"RIFF" + bytes(8),
        b"\x1f\x8b\x08\xff" + bytes(40),
        b"\x80\x04\x95" + b"\xff" * 8,
        b"\0\0\1\0\2\3",
        b"\0\0\1\0" + bytes(30),
        b"\0\0\x08\x01" + bytes(30),
        b"\0\0\x08\x03" + bytes(30),
        b"GIF",
        b"PK\1\1",
        b"<xml",
    ],
)
def test_pixels_that_start_like_a_part_of_a_signature_are_no_file(start: bytes) -> None:
    assert identify_file(start) is None
    assert identify_file(start + bytes(784)) is None


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("HEIC", "send a JPEG or a PNG; on an iPhone, choose Settings > Camera > Formats > Most Compatible"),
        ("MP4", "send a JPEG or a PNG"),
        ("PDF", "send a JPEG or a PNG of its page"),
        ("gzip", "unpack it, or send it with the header Content-Encoding: gzip"),
    ],
)
def test_the_sentence_names_the_format_and_the_way_out(name: str, advice: str) -> None:
    assert describe_unsupported_file(name) == f"the file is {name}, which is not read as a picture; {advice}"
