"""Bulk bodies -> a batch uint8 [N, 28, 28], without a copy: IDX3 files, .npy arrays, raw bytes.

They are images by contract and are not normalised: their content is not checked.
"""

import struct
import tokenize
from io import BytesIO
from typing import IO, Any

import numpy as np

from service.errors import BadRequest, PayloadTooLarge
from service.types import IMAGE_PIXELS, IMAGE_SIDE, Batch

IDX3_MAGIC = b"\x00\x00\x08\x03"
NPY_MAGIC = b"\x93NUMPY"

MAX_NPY_HEADER_BYTES = 10_000
"""NumPy writes 118. It evaluates a header as a Python literal, which takes up to 40 ms for this size."""

_DIMENSION_LIMIT = 1 << 32
_NPY_VERSIONS = {b"\x01\x00", b"\x02\x00"}
_SIDES = struct.pack(">2I", IMAGE_SIDE, IMAGE_SIDE)


def parse_bulk(body: bytes, max_images: int) -> Batch:
    """Parse an IDX3 file, a .npy array, or N x 784 raw bytes: uint8 [N, 28, 28], N from 1 to `max_images`.

    The format is detected by the first bytes. A body of N x 784 bytes that starts like an IDX3 file is one only if
    its header states 28x28.

    Raises:
        BadRequest: the body is none of them, or its header and its length do not agree.
        PayloadTooLarge: it has more than `max_images` images.
    """
    if body.startswith(NPY_MAGIC):
        return parse_npy(body, max_images)
    if body.startswith(IDX3_MAGIC) and (body[8:16] == _SIDES or len(body) % IMAGE_PIXELS):
        return _parse_idx3(body, max_images)
    if len(body) % IMAGE_PIXELS:
        raise BadRequest(
            f"the body has {len(body)} bytes; expected: a multiple of {IMAGE_PIXELS}, an IDX3 file or a .npy array"
        )
    return _as_batch(np.frombuffer(body, np.uint8), max_images)


def _parse_idx3(body: bytes, max_images: int) -> Batch:
    head = struct.calcsize(">4I")
    if len(body) < head:
        raise BadRequest(f"the IDX3 file has {len(body)} bytes; its header alone takes {head}")
    _, count, rows, columns = struct.unpack_from(">4I", body)
    if (rows, columns) != (IMAGE_SIDE, IMAGE_SIDE):
        raise BadRequest(f"the IDX3 header states images of {rows}x{columns} pixels; 28x28 is supported")
    size = head + count * IMAGE_PIXELS
    if len(body) != size:
        raise BadRequest(f"the IDX3 header states {count} images, which take {size} bytes; the file has {len(body)}")
    return _as_batch(np.frombuffer(body, np.uint8, offset=head), max_images)


def parse_npy(body: bytes, max_images: int) -> Batch:
    """Parse a .npy array uint8 (N, 28, 28) or (N, 784) in C order: uint8 [N, 28, 28], N from 1 to `max_images`.

    The format is specified at https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html ; NumPy parses
    the header, and nothing is unpickled.

    Raises:
        BadRequest: another dtype, shape or order, or the header and the length do not agree.
        PayloadTooLarge: it has more than `max_images` images, or a longer header than MAX_NPY_HEADER_BYTES.
    """
    _check_npy_header_size(body)
    file = BytesIO(body)
    shape, fortran, dtype = _parse_npy_header(file)
    if dtype != np.uint8:
        raise BadRequest(f"the .npy array has dtype {str(dtype)[:50]}; uint8 is supported")
    if shape[1:] not in ((IMAGE_SIDE, IMAGE_SIDE), (IMAGE_PIXELS,)) or fortran:
        found = f"{str(shape)[:50]}{' in Fortran order' if fortran else ''}"
        raise BadRequest(f"the .npy array has shape {found}; (N, 28, 28) or (N, 784) in C order is supported")
    size, actual = shape[0] * IMAGE_PIXELS, len(body) - file.tell()
    if actual != size:
        raise BadRequest(f"the .npy array of shape {shape} takes {size} bytes; {actual} follow its header")
    return _as_batch(np.frombuffer(body, np.uint8, offset=file.tell()), max_images)


def _check_npy_header_size(body: bytes) -> None:
    size = int.from_bytes(body[8:10] if body[6:7] == b"\x01" else body[8:12], "little")
    if body.startswith(NPY_MAGIC) and body[6:8] in _NPY_VERSIONS and size > MAX_NPY_HEADER_BYTES:
        raise PayloadTooLarge(f"the .npy header has {size} bytes; {MAX_NPY_HEADER_BYTES} are allowed")


def _parse_npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        version = np.lib.format.read_magic(file)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, fortran, dtype = read_header(file)
    except KeyError:
        raise BadRequest(
            f"the .npy file has format version {version[0]}.{version[1]}; 1.0 and 2.0 are supported"
        ) from None
    except (ValueError, TypeError, IndexError, SyntaxError, tokenize.TokenError, RecursionError, MemoryError):
        # Python's parser raises MemoryError for deeply nested brackets
        raise BadRequest("the .npy header cannot be read") from None
    if not all(0 <= dimension < _DIMENSION_LIMIT for dimension in shape):
        raise BadRequest(f"the .npy array has a dimension that is negative, or {_DIMENSION_LIMIT} or more")
    return shape, fortran, dtype


def _as_batch(flat: Batch, max_images: int) -> Batch:
    count = len(flat) // IMAGE_PIXELS
    if count == 0:
        raise BadRequest("the body has 0 images")
    if count > max_images:
        raise PayloadTooLarge(f"the body has {count} images; {max_images} are allowed")
    return flat.reshape(count, IMAGE_SIDE, IMAGE_SIDE)
