"""Tensors of the Open Inference Protocol: the header of a request, and its input tensor as images.

    UINT8, INT*, UINT*      [N, 28, 28], [N, 784] or [N, 28, 28, 1]: pixels from 0 to 255
    FP16, FP32, FP64        the same; fractions are rounded. Values from 0 to 1 that are not all 0 or 1 are multiplied
                            by 255, as the parameter `scale: 255` of the input demands for all values
    BYTES                   [N] or [N, 1]: files of pictures, in JSON as base64; they are normalised

Binary data is little-endian and row-major; an element of BYTES follows its length, uint32. Specification:
https://github.com/kserve/open-inference-protocol and, for the extensions,
https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/protocol/extension_binary_data.html
"""

import struct
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from service.errors import BadRequest, PayloadTooLarge
from service.types import IMAGE_PIXELS, IMAGE_SIDE, Batch

INPUT_NAME = "images"
BYTES = "BYTES"
DATATYPES: dict[str, npt.DTypeLike] = {
    "UINT8": "<u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "<i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
"""The numeric types of the protocol, and NumPy's names of them."""
IMAGE_SHAPES = ((IMAGE_SIDE, IMAGE_SIDE), (IMAGE_PIXELS,), (IMAGE_SIDE, IMAGE_SIDE, 1))
MAX_SCALE = 255.0


class InputTensor(NamedTuple):
    """The description of an input. `binary_size`: bytes of its binary data; None: its values are in the JSON."""

    datatype: str
    shape: tuple[int, ...]
    scale: float
    binary_size: int | None

    @property
    def images(self) -> int:
        """The number of images."""
        return self.shape[0]


def describe_value(value: object) -> str:
    """A JSON value in 50 characters at most; how deep it is nested does not matter."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        value = value[:50]
        if any(isinstance(entry, list | dict) for entry in value):
            return "a nested array"
    return str(value)[:50]


def parse_input(document: Mapping[str, Any]) -> InputTensor:
    """Parse the one entry of `inputs`, without its data.

    Raises:
        BadRequest: there are several inputs, or one has another name, shape or datatype than the model has.
    """
    inputs = document.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        count = f"{len(inputs)} entries" if isinstance(inputs, list) else "no list"
        raise BadRequest(f"inputs has {count}; the model has one input, an object with the name {INPUT_NAME!r}")
    (entry,) = inputs
    if entry.get("name") != INPUT_NAME:
        raise BadRequest(f"the input is {describe_value(entry.get('name'))!r}; the model's is {INPUT_NAME!r}")
    datatype = entry.get("datatype")
    if not isinstance(datatype, str) or (datatype not in DATATYPES and datatype != BYTES):
        supported = ", ".join([*DATATYPES, BYTES])
        raise BadRequest(f"the datatype of {INPUT_NAME!r} is {describe_value(datatype)!r}; supported: {supported}")
    shape = _parse_shape(entry.get("shape"), datatype)
    parameters = parse_parameters(entry)
    return InputTensor(datatype, shape, _parse_scale(parameters), _parse_binary_size(entry, parameters))


def describe_raw_input(size: int) -> InputTensor:
    """The input of `size` bytes without JSON before them: pixels, uint8 [N, 28, 28].

    Raises:
        BadRequest: they are not a whole number of images.
    """
    count, rest = divmod(size, IMAGE_PIXELS)
    if rest or not count:
        raise BadRequest(f"the body without JSON has {size} bytes; expected: a multiple of {IMAGE_PIXELS}, as UINT8")
    return InputTensor("UINT8", (count, IMAGE_SIDE, IMAGE_SIDE), 1.0, size)


def check_image_count(tensor: InputTensor, max_images: int) -> None:
    """Check the number of images, before any data is decoded.

    Raises:
        PayloadTooLarge: there are more than `max_images`.
    """
    if tensor.images > max_images:
        raise PayloadTooLarge(f"{INPUT_NAME!r} has {tensor.images} images; {max_images} are allowed")


def parse_parameters(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """The parameters of a request, an input or an output; empty without any.

    Raises:
        BadRequest: they are no object.
    """
    parameters = entry.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise BadRequest(f"parameters is {describe_value(parameters)}; expected: an object")
    return parameters


def decode_binary(tensor: InputTensor, data: memoryview) -> Batch:
    """Numeric binary data as a batch uint8 [N, 28, 28].

    Raises:
        BadRequest: its length does not fit the shape, or a value is not a pixel.
    """
    dtype = np.dtype(DATATYPES[tensor.datatype])
    size = tensor.images * IMAGE_PIXELS * dtype.itemsize
    if len(data) != size:
        shape = list(tensor.shape)
        raise BadRequest(
            f"{INPUT_NAME!r} of shape {shape} and {tensor.datatype} takes {size} bytes; {len(data)} follow"
        )
    return to_batch(np.frombuffer(data, dtype), tensor)


def decode_binary_strings(tensor: InputTensor, data: memoryview) -> list[bytes]:
    """The elements of binary data of BYTES.

    Raises:
        BadRequest: the lengths and the data do not agree.
    """
    files, place = [], 0
    for number in range(1, tensor.images + 1):
        if place + 4 > len(data):
            raise BadRequest(f"the BYTES data of {INPUT_NAME!r} ends before element {number} of {tensor.images}")
        (length,) = struct.unpack_from("<I", data, place)
        place += 4
        if length > len(data) - place:
            raise BadRequest(f"element {number} of {INPUT_NAME!r} has {length} bytes; {len(data) - place} follow")
        files.append(bytes(data[place : place + length]))
        place += length
    if place != len(data):
        raise BadRequest(f"{len(data) - place} bytes follow the last element of {INPUT_NAME!r}")
    return files


def decode_values(tensor: InputTensor, values: object) -> Batch:
    """Numbers of a JSON document, nested as the shape is or flat, as a batch uint8 [N, 28, 28].

    Raises:
        BadRequest: their number or nesting does not fit the shape, or a value is not a pixel.
    """
    flat = _flatten(tensor, values)
    if not {*map(type, flat)} <= {int, float}:  # before NumPy sees them: it makes all texts as long as the longest
        raise BadRequest(f"the data of {INPUT_NAME!r} has other values than numbers")
    try:
        pixels = np.frombuffer(bytes(flat), np.uint8)
    except (TypeError, ValueError):  # a fraction, or an integer that is not from 0 to 255
        return to_batch(np.array(flat, np.float64), tensor)
    return to_batch(pixels, tensor)


def _flatten(tensor: InputTensor, values: object) -> list[Any]:
    """The N * 784 values of an array that is nested as the shape is, or flat."""
    if not isinstance(values, list):
        raise BadRequest(f"the data of {INPUT_NAME!r} is {describe_value(values)}; expected: an array")
    flat, size = values, tensor.images * IMAGE_PIXELS
    if len(values) == tensor.images and isinstance(values[0], list):
        for side in tensor.shape[1:]:
            if not all(isinstance(row, list) and len(row) == side for row in flat):
                expected = f"rows as in {list(tensor.shape)}, or all values in one array"
                raise BadRequest(f"the data of {INPUT_NAME!r} has other rows than its shape; expected: {expected}")
            flat = list(chain.from_iterable(flat))
    if len(flat) != size:
        found = f"the data of {INPUT_NAME!r} has {len(flat)} values"
        raise BadRequest(f"{found}; the shape {list(tensor.shape)} has {size}, nested as it is or in one array")
    return flat


def to_batch(values: npt.NDArray[Any], tensor: InputTensor) -> Batch:
    """Numbers [N * 784] as a batch uint8 [N, 28, 28].

    Raises:
        BadRequest: a value is not from 0 to 255, or not a number.
    """
    if values.dtype != np.uint8 or tensor.scale != 1:
        values = _to_pixels(values, tensor.scale)
    return values.reshape(tensor.images, IMAGE_SIDE, IMAGE_SIDE)


def _to_pixels(values: npt.NDArray[Any], scale: float) -> npt.NDArray[np.uint8]:
    low, high = float(values.min()) * scale, float(values.max()) * scale  # of Python: NumPy warns of an overflow
    if not (low >= 0 and high <= 255):  # true for NaN
        wrong = low if not low >= 0 else high
        raise BadRequest(f"a value of {INPUT_NAME!r} is {wrong:g}; expected: from 0 to 255, or to 1 with scale 255")
    is_fractional = values.dtype.kind == "f" or scale != 1
    if is_fractional:
        scaled = values.astype(np.float32) * np.float32(scale)
        if scale == 1 and high <= 1 and np.any(scaled != np.rint(scaled)):
            scaled = scaled * np.float32(255)
        values = np.rint(scaled)
    return values.astype(np.uint8)


def _parse_shape(shape: object, datatype: str) -> tuple[int, ...]:
    sides: Sequence[tuple[int, ...]] = ((), (1,)) if datatype == BYTES else IMAGE_SHAPES
    is_shape = isinstance(shape, list) and bool(shape) and all(type(side) is int for side in shape)
    if not isinstance(shape, list) or not is_shape or shape[0] < 1 or tuple(shape[1:]) not in sides:
        expected = "[N] or [N, 1]" if datatype == BYTES else "[N, 28, 28], [N, 784] or [N, 28, 28, 1], N from 1"
        raise BadRequest(f"the shape of {INPUT_NAME!r} is {describe_value(shape)}; expected: {expected}")
    return tuple(shape)


def _parse_scale(parameters: Mapping[str, Any]) -> float:
    scale = parameters.get("scale", 1)
    if type(scale) not in (int, float) or not 0 < scale <= MAX_SCALE:
        raise BadRequest(f"scale is {describe_value(scale)}; expected: a factor, 255 for values from 0 to 1")
    return float(scale)


def _parse_binary_size(entry: Mapping[str, Any], parameters: Mapping[str, Any]) -> int | None:
    size = parameters.get("binary_data_size")
    if size is None:
        return None
    if "data" in entry:
        raise BadRequest(f"{INPUT_NAME!r} has both data and binary_data_size; send one of them")
    if type(size) is not int or size < 0:
        raise BadRequest(f"binary_data_size is {describe_value(size)}; expected: a number of bytes")
    return size
