"""Request bodies that /predict rejects: status, message, body and content type, by a description.

A message that ends in ": " is followed by a library's own words.
"""

from typing import NamedTuple

import numpy as np

from tests.service.payloads import FORM, encode, form, idx3, json_of, npy, npy_with_header, png_with_size, stroke

JSON = "application/json"
OCTETS = "application/octet-stream"
NPY = "application/x-npy"
URL_ENCODED = "application/x-www-form-urlencoded"
ONE = stroke()
ZEROS = [0] * 784

_TYPES = "multipart/form-data, image/*, application/json, application/octet-stream, application/x-npy"
_NO_PICTURE = "the picture is none of PNG, JPEG, GIF, BMP, WEBP, TIFF, AVIF"
_DECODE = "the picture cannot be decoded: "
_JSON_SYNTAX = "the JSON cannot be read: "
_EXPECTED = 'expected: {"images": [...]}'
_ONE_KEY = f"{_EXPECTED} with this one key"
_EMPTY = "the body has 0 bytes; send a picture, with curl for example by -F file=@digit.png"
_URL_ENCODED_IMAGE = "send image=... with the base64 of a picture, or the picture alone as a body of type image/png"
_WHITE_IS_1 = "the pixels differ by 1 at most; a stroke needs 32; white is 255, or 1 if there are fractions"
_NOT_PIXELS = "expected: 28x28 or 784 numbers, or base64"
_PIXEL = "expected: numbers from 0 to 255, or from 0 to 1"


class InvalidBody(NamedTuple):
    """A body, and the error that it gets."""

    status: int
    message: str
    body: bytes
    content_type: str | None

    def matches(self, message: str) -> bool:
        """Whether an error message is the expected one."""
        return message.startswith(self.message) if self.message.endswith(": ") else message == self.message


def _json_pixel(pixel: object) -> bytes:
    return json_of([pixel, *ZEROS[1:]])


INVALID_BODIES = {
    name: InvalidBody(*case)
    for name, case in {
        "empty picture": (400, _EMPTY, b"", "image/png"),
        "empty JSON": (400, _EMPTY, b"", JSON),
        "empty form": (400, _EMPTY, b"", FORM),
        "empty without a type": (400, _EMPTY, b"", None),
        "no type": (415, f"the content type is missing; supported: {_TYPES}", ONE.tobytes(), None),
        "another type": (415, f"the content type is 'text/plain'; supported: {_TYPES}", ONE.tobytes(), "text/plain"),
        "URL-encoded form": (
            400,
            f"the URL-encoded form has the fields 'a', 'b'; {_URL_ENCODED_IMAGE}",
            b"a=b&&b",
            URL_ENCODED,
        ),
        "long type": (415, f"the content type is 'text/{'x' * 95}'; supported: {_TYPES}", b"a", "Text/" + "X" * 200),
        "truncated PNG": (400, _DECODE, encode(ONE)[:-30], "image/png"),
        "PNG truncated in its header": (400, _DECODE, encode(ONE)[:20], "image/png"),
        "PNG without its palette": (400, _DECODE, png_with_size(28, 28, colour=3), "image/png"),
        "PNG bomb": (
            413,
            "the picture has 50000x50000 pixels; 25000000 are allowed",
            png_with_size(50_000, 50_000),
            "image/png",
        ),
        "PNG too wide": (
            413,
            "the picture has 20000x9 pixels; a side may have 16384",
            png_with_size(20_000, 9),
            "image/png",
        ),
        "blank PNG": (422, "no digit to read: ", encode(ONE * 0), "image/png"),
        "faint PNG": (422, "no digit to read: ", encode(ONE // 16), "image/png"),
        "blank page": (422, "no digit to read: ", encode(np.full((300, 200), 230, np.uint8)), "image/png"),
        "transparent PNG": (422, "no digit to read: ", encode(np.zeros((50, 50, 4), np.uint8)), "image/png"),
        "truncated JPEG": (400, _DECODE, encode(ONE, kind="JPEG")[:-60], "image/jpeg"),
        "JPEG with arithmetic coding": (
            400,
            _DECODE,
            encode(ONE, kind="JPEG").replace(b"\xff\xc4", b"\xff\xc8"),
            "image/jpeg",
        ),
        "JPEG of zeros": (400, _DECODE, encode(ONE, kind="JPEG")[:200] + bytes(400), "image/jpeg"),
        "form without a boundary": (
            400,
            "the content type multipart/form-data has no boundary parameter in ASCII",
            b"a preamble\r\n" + form(encode(ONE)),
            "multipart/form-data",
        ),
        "form with a boundary that is not ASCII": (
            400,
            "the content type multipart/form-data has no boundary parameter in ASCII",
            b"a preamble\r\n" + form(encode(ONE)),
            "multipart/form-data; boundary=\xe9dge",
        ),
        "form with another boundary": (
            400,
            "the form cannot be read: ",
            form(encode(ONE)),
            FORM.replace("edge", "other"),
        ),
        "form without an end": (400, "the form cannot be read: ", form(encode(ONE))[:-20], FORM),
        "form of 0 files": (
            400,
            "the form has 0 file parts; send each picture as one, with curl by -F file=@digit.png",
            form(),
            FORM,
        ),
        "form of an empty file": (400, "the picture has 0 bytes", form(b""), FORM),
        "form of 10,001 files": (
            413,
            "the form has more than 10000 parts, which is the limit",
            form(*[b""] * 10_001),
            FORM,
        ),
        "truncated JSON": (400, _JSON_SYNTAX, b'{"images": [', JSON),
        "JSON with invalid UTF-8": (400, _JSON_SYNTAX, b'{"images": ["\xff"]}', JSON),
        "JSON in UTF-16": (400, _JSON_SYNTAX, '{"images": []}'.encode("utf-16"), JSON),
        "JSON with NaN": (400, _JSON_SYNTAX, _json_pixel(float("nan")), JSON),
        "JSON with Infinity": (400, _JSON_SYNTAX, _json_pixel(float("inf")), JSON),
        "deeply nested JSON": (400, _JSON_SYNTAX, b"[" * 100_000 + b"]" * 100_000, JSON),
        "JSON array": (400, "the JSON has 0 entries", b"[]", JSON),
        "JSON without images": (400, f"the JSON has the keys none; {_ONE_KEY}", b"{}", JSON),
        "JSON images null": (400, f"images is null; {_EXPECTED}", b'{"images": null}', JSON),
        "JSON with a second key": (
            400,
            f"the JSON has the keys 'images', 'top'; {_ONE_KEY}",
            b'{"images": [[0]], "top": 3}',
            JSON,
        ),
        "JSON with both keys": (
            400,
            f"the JSON has the keys 'images', 'instances'; {_ONE_KEY}",
            b'{"images": [[0]], "instances": [[0]]}',
            JSON,
        ),
        "JSON of 0 images": (400, "images has 0 entries", json_of(), JSON),
        "JSON of 0 instances": (400, "instances has 0 entries", b'{"instances": []}', JSON),
        "JSON of 10,001 images": (413, "images has 10001 entries; 10000 are allowed", json_of(*[0] * 10_001), JSON),
        "JSON null": (400, f"the image is null; {_NOT_PIXELS}", json_of(None), JSON),
        "JSON number": (400, f"the image is 7; {_NOT_PIXELS}", json_of(7), JSON),
        "JSON boolean": (400, f"the image is true or false; {_NOT_PIXELS}", json_of(True), JSON),  # noqa: FBT003
        "JSON object": (400, f"the image is an object; {_NOT_PIXELS}", json_of({"pixels": ZEROS}), JSON),
        "JSON -1": (400, f"a pixel is -1; {_PIXEL}", _json_pixel(-1), JSON),
        "JSON 256": (400, f"a pixel is 256; {_PIXEL}", _json_pixel(256), JSON),
        "JSON 256.0": (400, f"a pixel is 256.0; {_PIXEL}", _json_pixel(256.0), JSON),
        "JSON -0.5": (400, f"a pixel is -0.5; {_PIXEL}", _json_pixel(-0.5), JSON),
        "JSON 255.5": (400, f"a pixel is 255.5; {_PIXEL}", _json_pixel(255.5), JSON),
        "JSON 1e300": (400, f"a pixel is 1e+300; {_PIXEL}", _json_pixel(1e300), JSON),
        "JSON string": (400, f"a pixel is a string; {_PIXEL}", _json_pixel("7"), JSON),
        "JSON null pixel": (400, f"a pixel is null; {_PIXEL}", _json_pixel(None), JSON),
        "JSON object pixel": (400, f"a pixel is an object; {_PIXEL}", _json_pixel({}), JSON),
        "JSON true": (400, f"a pixel is true or false; {_PIXEL}", json_of([True, 255, *ZEROS[2:]]), JSON),
        "JSON false": (400, f"a pixel is true or false; {_PIXEL}", json_of([255, False, *ZEROS[2:]]), JSON),
        "JSON array pixel": (400, f"a pixel is an array; {_PIXEL}", json_of([[[[0]]] * 28] * 28), JSON),
        "JSON of three channels": (
            400,
            "a pixel has 3 channels; 1 is read; send pictures of colours as PNG in base64",
            json_of([[[0, 0, 0]] * 28] * 28),
            JSON,
        ),
        "JSON of channels and none": (
            400,
            f"a pixel is an array; {_PIXEL}",
            json_of([[[0]] * 28, *[[[]] * 28] * 27]),
            JSON,
        ),
        "JSON of zeros and ones": (
            422,
            f"no digit to read: {_WHITE_IS_1}",
            json_of([0, 1.0, *ZEROS[2:]]),
            JSON,
        ),
        "JSON of V2": (
            400,
            "the JSON is a request of the Open Inference Protocol; its path is /v2/models/digits/infer",
            b'{"inputs": [{"name": "images", "shape": [1, 784], "datatype": "UINT8", "data": [0]}], "id": "7"}',
            JSON,
        ),
        "JSON of TensorFlow Serving's columns": (
            400,
            '"inputs" is a key of TensorFlow Serving; its path is /v1/models/digits:predict',
            b'{"inputs": [[0]]}',
            JSON,
        ),
        "JSON that is a number": (400, f"the JSON is 7; {_EXPECTED}", b"7", JSON),
        "JSON of no pixels": (400, "the image has 1 rows of 0 numbers, not 28 of 28 or 784", json_of([]), JSON),
        "JSON of 783": (400, "the image has 1 rows of 783 numbers, not 28 of 28 or 784", json_of(ZEROS[1:]), JSON),
        "JSON of 27x28": (
            400,
            "the image has 27 rows of 28 numbers, not 28 of 28 or 784",
            json_of([[0] * 28] * 27),
            JSON,
        ),
        "ragged JSON": (
            400,
            "the image has 28 rows of 27 or 28 numbers, not 28 of 28 or 784",
            json_of([[0] * 27, *[[0] * 28] * 27]),
            JSON,
        ),
        "JSON of three widths": (
            400,
            "the image has 3 rows of 1 or 2 or 3 numbers, not 28 of 28 or 784",
            json_of([[0] * 3, [0], [0] * 2]),
            JSON,
        ),
        "JSON of four widths": (
            400,
            "the image has 4 rows of 1 or 2 or 3 or more numbers, not 28 of 28 or 784",
            json_of([[0] * 3, [0] * 9, [0], [0] * 2]),
            JSON,
        ),
        "JSON row null": (
            400,
            "the image has 28 rows of 0 or 28 numbers, not 28 of 28 or 784",
            json_of([*[[0] * 28] * 27, None]),
            JSON,
        ),
        "blank JSON": (422, "no digit to read: ", json_of(ZEROS), JSON),
        "bad base64": (400, "the base64 cannot be read: ", json_of("iVBOR!!!"), JSON),
        "base64 that is not ASCII": (400, "the base64 cannot be read: ", json_of("\u00e9moji"), JSON),
        "data URL without base64": (
            400,
            "the data URL has no base64; expected: data:image/png;base64,...",
            json_of("data:image/svg+xml,<svg/>"),
            JSON,
        ),
        "empty base64": (400, "the picture has 0 bytes", json_of(""), JSON),
        "base64 of text": (415, _NO_PICTURE, json_of(b"a text"), JSON),
        "783 octets": (
            400,
            "the body has 783 bytes; expected: a multiple of 784, an IDX3 file or a .npy array",
            bytes(783),
            OCTETS,
        ),
        "10,001 images": (413, "the body has 10001 images; 10000 are allowed", bytes(784 * 10_001), OCTETS),
        "npy of objects": (
            400,
            "the .npy array has dtype object; uint8 is supported",
            npy(np.array([[{}]]), pickled=True),
            NPY,
        ),
        "npy of float64": (
            400,
            "the .npy array has dtype float64; uint8 is supported",
            npy(np.zeros((1, 28, 28))),
            OCTETS,
        ),
        "npy of bool": (
            400,
            "the .npy array has dtype bool; uint8 is supported",
            npy(np.zeros((1, 28, 28), bool)),
            NPY,
        ),
        "npy in Fortran order": (
            400,
            "the .npy array has shape (3, 28, 28) in Fortran order; (N, 28, 28) or (N, 784) in C order is supported",
            npy(np.asfortranarray(np.zeros((3, 28, 28), np.uint8))),
            NPY,
        ),
        "npy of one image": (
            400,
            "the .npy array has shape (28, 28); (N, 28, 28) or (N, 784) in C order is supported",
            npy(ONE),
            NPY,
        ),
        "npy without axes": (
            400,
            "the .npy array has shape (); (N, 28, 28) or (N, 784) in C order is supported",
            npy(np.array(7, np.uint8)),
            NPY,
        ),
        "npy of 0 images": (400, "the body has 0 images", npy(np.zeros((0, 28, 28), np.uint8)), NPY),
        "npy with another count": (
            400,
            "the .npy array of shape (10000, 28, 28) takes 7840000 bytes; 784 follow its header",
            npy_with_header("'|u1'", "(10000, 28, 28)"),
            NPY,
        ),
        "npy of -1 images": (
            400,
            "the .npy array has a dimension that is negative, or 4294967296 or more",
            npy_with_header("'|u1'", "(-1, 28, 28)"),
            NPY,
        ),
        "npy of 16^5000 images": (
            400,
            "the .npy array has a dimension that is negative, or 4294967296 or more",
            npy_with_header("'|u1'", f"(0x{'f' * 5000}, 28, 28)"),
            NPY,
        ),
        "npy without a dtype": (400, "the .npy header cannot be read", npy_with_header("()", "(1, 28, 28)"), NPY),
        "truncated npy": (
            400,
            "the .npy array of shape (1, 28, 28) takes 784 bytes; 783 follow its header",
            npy(ONE[None])[:-1],
            NPY,
        ),
        "npy truncated in its header": (400, "the .npy header cannot be read", npy(ONE[None])[:60], NPY),
        "npy with code": (
            400,
            "the .npy header cannot be read",
            npy_with_header("__import__('os')", "(1, 28, 28)"),
            NPY,
        ),
        "npy of version 9": (
            400,
            "the .npy file has format version 9.0; 1.0 and 2.0 are supported",
            b"\x93NUMPY\x09\x00" + bytes(100),
            NPY,
        ),
        "raw bytes as npy": (400, "the .npy header cannot be read", ONE.tobytes(), NPY),
        "IDX3 with another count": (
            400,
            "the IDX3 header states 60000 images, which take 47040016 bytes; the file has 2368",
            idx3(np.stack([ONE] * 3), count=60_000),
            OCTETS,
        ),
        "IDX3 with another size": (
            400,
            "the IDX3 header states images of 29x28 pixels; 28x28 is supported",
            idx3(ONE[None], rows=29),
            OCTETS,
        ),
        "IDX3 of 2^96 bytes": (
            400,
            "the IDX3 header states images of 4294967295x4294967295 pixels; 28x28 is supported",
            idx3(ONE[None], count=2**32 - 1, rows=2**32 - 1, columns=2**32 - 1),
            OCTETS,
        ),
        "truncated IDX3": (
            400,
            "the IDX3 header states 1 images, which take 800 bytes; the file has 799",
            idx3(ONE[None])[:-1],
            OCTETS,
        ),
        "IDX3 truncated in its header": (
            400,
            "the IDX3 file has 15 bytes; its header alone takes 16",
            idx3(ONE[None])[:15],
            OCTETS,
        ),
        "IDX3 of 0 images": (400, "the body has 0 images", idx3(ONE[:0]), OCTETS),
    }.items()
}
