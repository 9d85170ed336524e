"""Tests the bulk formats against NumPy and struct: IDX3 files, .npy arrays and raw bytes, their detection, and limits.

Malformed arrays are in invalid_bodies.py, with those of other formats.
"""

import struct
from io import BytesIO

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from service.errors import BadRequest, PayloadTooLarge
from service.prediction.array_formats import parse_bulk, parse_npy
from service.types import Batch
from tests.service.payloads import idx3, npy, npy_with_header

BATCHES = arrays(np.uint8, st.tuples(st.integers(1, 4), st.just(28), st.just(28)))
ONE_BLANK = np.zeros((1, 28, 28), np.uint8)


def random_batch(count: int) -> Batch:
    return np.random.default_rng(count).integers(0, 256, (count, 28, 28), np.uint8)


def npy_of_version(array: npt.NDArray[np.uint8], version: tuple[int, int]) -> bytes:
    file = BytesIO()
    np.lib.format.write_array(file, array, version)
    return file.getvalue()


@given(batch=BATCHES, version=st.sampled_from([(1, 0), (2, 0)]), flat=st.booleans())
def test_npy_arrays_are_read_as_numpy_reads_them(batch: Batch, version: tuple[int, int], *, flat: bool) -> None:
    body = npy_of_version(batch.reshape(-1, 784) if flat else batch, version)
    expected = np.load(BytesIO(body)).reshape(-1, 28, 28)
    for parse in (parse_npy, parse_bulk):
        parsed = parse(body, 4)
        assert (parsed.dtype.name, parsed.shape) == ("uint8", batch.shape)
        assert np.array_equal(parsed, expected)


@given(BATCHES)
def test_idx3_files_are_read_after_their_header(batch: Batch) -> None:
    body = struct.pack(">4I", 0x803, len(batch), 28, 28) + batch.tobytes()
    parsed = parse_bulk(body, 4)
    assert (parsed.dtype.name, parsed.shape) == ("uint8", batch.shape)
    assert parsed.tobytes() == body[16:]


@given(st.integers(1, 4).flatmap(lambda count: st.binary(min_size=784 * count, max_size=784 * count)))
def test_raw_bytes_are_images_in_row_order(body: bytes) -> None:
    parsed = parse_bulk(body, 4)
    assert (parsed.dtype.name, parsed.shape) == ("uint8", (len(body) // 784, 28, 28))
    assert parsed.tobytes() == body


@pytest.mark.parametrize("body", [random_batch(3).tobytes(), idx3(random_batch(3)), npy(random_batch(3))])
def test_the_body_is_not_copied(body: bytes) -> None:
    assert np.shares_memory(parse_bulk(body, 3), np.frombuffer(body, np.uint8))


@pytest.mark.parametrize("body", [random_batch(3).tobytes(), idx3(random_batch(3)), npy(random_batch(3))])
def test_the_limit_on_images_is_exact(body: bytes) -> None:
    assert len(parse_bulk(body, 3)) == 3
    with pytest.raises(PayloadTooLarge, match=r"^the body has 3 images; 2 are allowed$"):
        parse_bulk(body, 2)


@pytest.mark.parametrize("body", [b"", idx3(ONE_BLANK[:0]), npy(ONE_BLANK[:0])])
def test_rejects_0_images(body: bytes) -> None:
    with pytest.raises(BadRequest, match=r"^the body has 0 images$"):
        parse_bulk(body, 3)


def test_raw_bytes_that_start_like_an_idx3_header_are_raw_bytes() -> None:
    """Unless the header states 28x28: an IDX3 file never has a multiple of 784 bytes."""
    batch = random_batch(2)
    batch.reshape(-1)[:8] = [0, 0, 8, 3, 0, 0, 0, 1]
    assert parse_bulk(batch.tobytes(), 2).tobytes() == batch.tobytes()
    batch.reshape(-1)[8:16] = [0, 0, 0, 28, 0, 0, 0, 28]
    with pytest.raises(BadRequest, match=r"^the IDX3 header states 1 images, which take 800 bytes; the file has 1568$"):
        parse_bulk(batch.tobytes(), 2)


def test_an_idx3_header_alone_has_16_bytes() -> None:
    header = idx3(ONE_BLANK)[:16]
    with pytest.raises(BadRequest, match=r"^the IDX3 header states 1 images, which take 800 bytes; the file has 16$"):
        parse_bulk(header, 1)
    with pytest.raises(BadRequest, match=r"^the IDX3 file has 15 bytes; its header alone takes 16$"):
        parse_bulk(header[:15], 1)


@pytest.mark.parametrize(("rows", "columns"), [(27, 28), (28, 29), (784, 1), (0, 0)])
def test_rejects_idx3_images_of_another_size(rows: int, columns: int) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_bulk(idx3(ONE_BLANK, rows=rows, columns=columns), 1)
    assert str(caught.value) == f"the IDX3 header states images of {rows}x{columns} pixels; 28x28 is supported"


@pytest.mark.parametrize("extra", [-1, 1, 784])
def test_rejects_an_array_of_another_length_than_its_header_states(extra: int) -> None:
    body = npy(ONE_BLANK)
    changed = body + bytes(extra) if extra > 0 else body[:extra]
    with pytest.raises(BadRequest) as caught:
        parse_npy(changed, 3)
    assert str(caught.value) == f"the .npy array of shape (1, 28, 28) takes 784 bytes; {784 + extra} follow its header"


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ("(-1, 28, 28)", "the .npy array has a dimension that is negative, or 4294967296 or more"),
        ("(4294967296, 28, 28)", "the .npy array has a dimension that is negative, or 4294967296 or more"),
        (
            "(4294967295, 28, 28)",
            "the .npy array of shape (4294967295, 28, 28) takes 3367254359280 bytes; 784 follow its header",
        ),
        ("(0, 28, 28)", "the .npy array of shape (0, 28, 28) takes 0 bytes; 784 follow its header"),
        ("(1, 28, 27)", "the .npy array has shape (1, 28, 27); (N, 28, 28) or (N, 784) in C order is supported"),
        ("(1, 783)", "the .npy array has shape (1, 783); (N, 28, 28) or (N, 784) in C order is supported"),
        ("(784,)", "the .npy array has shape (784,); (N, 28, 28) or (N, 784) in C order is supported"),
        (
            "(" + "1, " * 40 + ")",
            f"the .npy array has shape {str((1,) * 40)[:50]}; (N, 28, 28) or (N, 784) in C order is supported",
        ),
    ],
)
def test_rejects_another_shape(shape: str, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_npy(npy_with_header("'|u1'", shape), 3)
    assert str(caught.value) == message


def test_rejects_fortran_order() -> None:
    """NumPy reads such an array transposed in memory."""
    with pytest.raises(BadRequest) as caught:
        parse_npy(npy_with_header("'|u1'", "(1, 28, 28)", fortran="True"), 3)
    assert str(caught.value) == (
        "the .npy array has shape (1, 28, 28) in Fortran order; (N, 28, 28) or (N, 784) in C order is supported"
    )


@pytest.mark.parametrize(
    ("descr", "name"),
    [("'|i1'", "int8"), ("'|b1'", "bool"), ("'<u2'", "uint16"), ("'>f8'", ">f8"), ("'|O'", "object")],
)
def test_rejects_another_dtype(descr: str, name: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_npy(npy_with_header(descr, "(1, 28, 28)"), 3)
    assert str(caught.value) == f"the .npy array has dtype {name}; uint8 is supported"


def test_a_long_dtype_is_cut() -> None:
    fields = [(f"field{number}", "|u1") for number in range(20)]
    with pytest.raises(BadRequest) as caught:
        parse_npy(npy_with_header(repr(fields), "(1,)"), 3)
    assert str(caught.value) == f"the .npy array has dtype {str(np.dtype(fields))[:50]}; uint8 is supported"


@pytest.mark.parametrize("version", [(0, 0), (1, 1), (3, 0), (9, 7)])
def test_rejects_another_format_version(version: tuple[int, int]) -> None:
    body = npy(ONE_BLANK)
    with pytest.raises(BadRequest) as caught:
        parse_npy(body[:6] + bytes(version) + body[8:], 1)
    assert str(caught.value) == (
        f"the .npy file has format version {version[0]}.{version[1]}; 1.0 and 2.0 are supported"
    )


def test_format_version_3_of_numpy_is_rejected() -> None:
    with pytest.raises(BadRequest, match=r"format version 3\.0"):
        parse_npy(npy_of_version(ONE_BLANK, (3, 0)), 1)


@pytest.mark.parametrize("body", [b"", b"\x93NUMPY", b"\x93NUMPY\x01", ONE_BLANK.tobytes(), npy(ONE_BLANK)[:40]])
def test_rejects_an_unreadable_header(body: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_npy(body, 1)
    assert str(caught.value) == "the .npy header cannot be read"


@pytest.mark.parametrize("length", [1, 783, 785])
def test_rejects_other_lengths_of_raw_bytes(length: int) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_bulk(bytes(length), 1)
    assert str(caught.value) == (
        f"the body has {length} bytes; expected: a multiple of 784, an IDX3 file or a .npy array"
    )


@pytest.mark.parametrize("version", [1, 2])
def test_the_size_of_an_npy_header_is_limited(version: int) -> None:
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1, 28, 28)}"
    layout = "<H" if version == 1 else "<I"
    for size in (10_000, 10_001):
        body = b"\x93NUMPY" + bytes([version, 0]) + struct.pack(layout, size) + header.ljust(size) + bytes(784)
        if size == 10_000:
            assert parse_npy(body, 1).shape == (1, 28, 28)
            continue
        with pytest.raises(PayloadTooLarge, match=r"^the .npy header has 10001 bytes; 10000 are allowed$"):
            parse_npy(body, 1)
