"""Bodies of predict requests, as (content type, bytes): an image in each format, pictures, and images in bulk."""

import json
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

Body = tuple[str, bytes]
Picture = tuple[str, bytes, str]
"""As Body, with the query of the request."""

PNG_FILE = (Path(__file__).parent.parent / "tests" / "pictures" / "seven.png").read_bytes()
"""A test image of MNIST, 28x28 pixels."""


def single_picture() -> dict[str, Body]:
    """One picture as a PNG body, as a form with one file part, and as JSON of 28 rows of 28 numbers."""
    pixels = np.asarray(Image.open(BytesIO(PNG_FILE))).tolist()
    return {
        "PNG": ("image/png", PNG_FILE),
        "form": form(PNG_FILE),
        "JSON": ("application/json", json.dumps({"images": [pixels]}).encode()),
    }


def pictures() -> dict[str, Picture]:
    """What people send: drawings on a transparent canvas, photographs of one digit, and one of three lines of digits.

    The canvas of 280x280 pixels is that of the page in the browser; a screen with two pixels a point makes it 560x560.
    """
    lines = [(left, top, 200) for top in (150, 600, 1050) for left in range(150, 1550, 260)]
    return {
        "canvas 280": ("image/png", _draw_on_canvas(280), ""),
        "canvas 560": ("image/png", _draw_on_canvas(560), ""),
        "photograph 1000x750": ("image/jpeg", _photograph(1000, 750, [(350, 200, 300)]), ""),
        "photograph 4000x3000": ("image/jpeg", _photograph(4000, 3000, [(1400, 800, 1200)]), ""),
        "page 2000x1500": ("image/jpeg", _photograph(2000, 1500, lines), "?split=digits"),
    }


def _draw_on_canvas(side: int) -> bytes:
    canvas = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    canvas.paste((0, 0, 0, 255), mask=_read_digit().resize(canvas.size, Image.Resampling.BICUBIC))
    return _encode(canvas, "PNG")


def _photograph(width: int, height: int, digits: Iterable[tuple[int, int, int]]) -> bytes:
    """A JPEG file of digits at (left, top, side) on paper that is darker on one side."""
    light = np.linspace(150, 230, width)[None, :] + np.random.default_rng(0).normal(0, 4, (height, width))
    photograph = Image.fromarray(light.clip(0, 255).astype(np.uint8)).convert("RGB")
    for left, top, side in digits:
        photograph.paste((40, 45, 90), (left, top), _read_digit().resize((side, side), Image.Resampling.BICUBIC))
    return _encode(photograph, "JPEG")


def _read_digit() -> Image.Image:
    return Image.open(BytesIO(PNG_FILE)).convert("L")


def _encode(picture: Image.Image, name: str) -> bytes:
    file = BytesIO()
    picture.save(file, name)
    return file.getvalue()


def bulk(count: int) -> Body:
    """Random images as 784 bytes each."""
    images = np.random.default_rng(0).integers(0, 256, (count, 28, 28), np.uint8)
    return "application/octet-stream", images.tobytes()


def open_inference(count: int) -> tuple[str, bytes, str]:
    """The same images as one binary tensor of the Open Inference Protocol, and the header with the bytes of its JSON.

    All outputs are requested as binary data, which is what Triton's client does by default.
    """
    _, data = bulk(count)
    tensor = {
        "name": "images",
        "shape": [count, 28, 28],
        "datatype": "UINT8",
        "parameters": {"binary_data_size": len(data)},
    }
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    return "application/octet-stream", head + data, f"Inference-Header-Content-Length: {len(head)}"


def tensorflow_serving() -> Body:
    """One image as TensorFlow Serving's REST API takes it, in row form."""
    pixels = np.asarray(Image.open(BytesIO(PNG_FILE))).tolist()
    return "application/json", json.dumps({"instances": [pixels]}).encode()


def form(file: bytes) -> Body:
    """A form with one file part, with the headers that curl sends."""
    head = b'Content-Disposition: form-data; name="file"; filename="seven.png"\r\nContent-Type: image/png'
    return "multipart/form-data; boundary=XX", b"--XX\r\n%b\r\n\r\n%b\r\n--XX--\r\n" % (head, file)
