"""Builders of request bodies and picture files, valid and invalid, for the tests of the service."""

import json
import struct
import zlib
from base64 import b64encode
from io import BytesIO

import numpy as np

from bench.picture_files import FORM, Pixels, encode, form, stroke
from service.prediction.protocol import PredictRequest, RequestHead
from service.protocols import NATIVE, Endpoint

__all__ = ["FORM", "Pixels", "encode", "form", "json_of", "native_request", "png_with_size", "stroke"]


def native_request(content_type: str = "", query: bytes = b"") -> PredictRequest:
    """A request to /predict, without its body."""
    return Endpoint("/predict", NATIVE).parse_request(RequestHead(content_type.encode("latin-1")), query)


def png_with_size(width: int, height: int, *, colour: int = 0, data_size: int = 10_000) -> bytes:
    """A PNG file whose header declares this size, with `data_size` zeros as pixels; colour type 3 lacks its palette."""
    header = struct.pack(">2I5B", width, height, 8, colour, 0, 0, 0)
    chunks = {b"IHDR": header, b"IDAT": zlib.compress(bytes(data_size)), b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, content) for name, content in chunks.items())


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def pad_png(file: bytes, size: int) -> bytes:
    """A PNG file of `size` bytes: a text follows its header."""
    return file[:33] + _chunk(b"tEXt", b"c\0".ljust(size - len(file) - 12, b"x")) + file[33:]


def json_of(*images: object) -> bytes:
    """{"images": [...]}: arrays as lists, bytes in base64; NaN and Infinity as Python writes them."""
    return json.dumps({"images": [_to_json(image) for image in images]}).encode()


def _to_json(image: object) -> object:
    if isinstance(image, bytes):
        return b64encode(image).decode()
    return image.tolist() if isinstance(image, np.ndarray) else image


def idx3(images: Pixels, *, count: int | None = None, rows: int = 28, columns: int = 28) -> bytes:
    """An IDX3 file; its header may state another count and size."""
    head = struct.pack(">4I", 0x803, len(images) if count is None else count, rows, columns)
    return head + images.tobytes()


def npy(array: Pixels, *, pickled: bool = False) -> bytes:
    """A .npy file."""
    file = BytesIO()
    np.save(file, array, allow_pickle=pickled)
    return file.getvalue()


def npy_with_header(descr: str, shape: str, *, fortran: str = "False", data: bytes = bytes(784)) -> bytes:
    """A .npy file whose header has these Python literals."""
    header = f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data
