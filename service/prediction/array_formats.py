"""Bulk bodies -> a batch uint8 [N, 28, 28], without a copy: IDX3 files, .npy arrays, plain bytes.

They are images by contract and pass as they are: nobody looks whether there is a digit in them.
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

_MAX_SIDE = 1 << 32
_SIDES = struct.pack(">2I", IMAGE_SIDE, IMAGE_SIDE)


def parse_bulk(body: bytes, max_images: int) -> Batch:
    """An IDX3 file, a .npy array, or N x 784 bytes as they are: uint8 [N, 28, 28], N from 1 to `most`.

    Raises:
        Malformed: the body is none of them, or its header and its length do not agree.
        TooLarge: it has more than `most` images.
    """
    if body.startswith(NPY_MAGIC):
        return parse_npy(body, max_images)
    if body.startswith(IDX3_MAGIC) and (body[8:16] == _SIDES or len(body) % IMAGE_PIXELS):
        return _parse_idx3(body, max_images)
    if len(body) % IMAGE_PIXELS:
        raise BadRequest(
            f"the body has {len(body)} bytes; a multiple of {IMAGE_PIXELS}, an IDX3 file or a .npy array is read"
        )
    return _as_batch(np.frombuffer(body, np.uint8), max_images)


def _parse_idx3(body: bytes, max_images: int) -> Batch:
    head = struct.calcsize(">4I")
    if len(body) < head:
        raise BadRequest(f"the IDX3 file has {len(body)} bytes, fewer than its header's {head}")
    _, count, rows, columns = struct.unpack_from(">4I", body)
    if (rows, columns) != (IMAGE_SIDE, IMAGE_SIDE):
        raise BadRequest(f"the IDX3 file says that its images are {rows}x{columns}; 28x28 is read")
    if len(body) != head + count * IMAGE_PIXELS:
        size = head + count * IMAGE_PIXELS
        raise BadRequest(f"the IDX3 file says that it has {count} images, which take {size} bytes; it has {len(body)}")
    return _as_batch(np.frombuffer(body, np.uint8, offset=head), max_images)


def parse_npy(body: bytes, max_images: int) -> Batch:
    """A .npy array uint8 (N, 28, 28) or (N, 784) as uint8 [N, 28, 28], N from 1 to `most`.

    The format is that of https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html ; the header is read by
    NumPy, and nothing is unpickled.

    Raises:
        Malformed: another dtype, shape or order, or as many bytes as the header does not say.
        TooLarge: it has more than `most` images.
    """
    file = BytesIO(body)
    shape, fortran, dtype = _npy_header(file)
    if dtype != np.uint8:
        raise BadRequest(f"the .npy array is of {str(dtype)[:50]}; uint8 is read")
    if shape[1:] not in ((IMAGE_SIDE, IMAGE_SIDE), (IMAGE_PIXELS,)) or fortran:
        order = " in Fortran order" if fortran else ""
        raise BadRequest(f"the .npy array is {str(shape)[:50]}{order}; (N, 28, 28) or (N, 784) in C order is read")
    left = len(body) - file.tell()
    if left != shape[0] * IMAGE_PIXELS:
        raise BadRequest(f"the .npy array {shape} takes {shape[0] * IMAGE_PIXELS} bytes; {left} follow its header")
    return _as_batch(np.frombuffer(body, np.uint8, offset=file.tell()), max_images)


def _npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        version = np.lib.format.read_magic(file)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, fortran, dtype = read_header(file)
    except KeyError:
        raise BadRequest(f"the .npy array is of format {version[0]}.{version[1]}; 1.0 and 2.0 are read") from None
    except (ValueError, TypeError, IndexError, SyntaxError, tokenize.TokenError, RecursionError, MemoryError):
        raise BadRequest("the .npy header cannot be read") from None
    if not all(0 <= side < _MAX_SIDE for side in shape):
        raise BadRequest(f"the .npy array has a side that is negative, or {_MAX_SIDE} or more")
    return shape, fortran, dtype


def _as_batch(flat: Batch, max_images: int) -> Batch:
    count = len(flat) // IMAGE_PIXELS
    if count == 0:
        raise BadRequest("the body has 0 images")
    if count > max_images:
        raise PayloadTooLarge(f"the body has {count} images; {max_images} are allowed")
    return flat.reshape(count, IMAGE_SIDE, IMAGE_SIDE)
