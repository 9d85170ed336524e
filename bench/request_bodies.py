"""Bodies of predict requests, as (content type, bytes): an image in each format, pictures, and images in bulk."""

import json
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

Body = tuple[str, bytes]

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


def pictures() -> dict[str, Body]:
    """What people send: a drawing on a transparent canvas of 280x280 pixels, and a photograph of 1000x750."""
    digit = Image.open(BytesIO(PNG_FILE)).convert("L")
    canvas = Image.new("RGBA", (280, 280), (0, 0, 0, 0))
    canvas.paste((0, 0, 0, 255), mask=digit.resize(canvas.size, Image.Resampling.BICUBIC))
    light = np.linspace(150, 230, 1000)[None, :] + np.random.default_rng(0).normal(0, 4, (750, 1000))
    photograph = Image.fromarray(light.clip(0, 255).astype(np.uint8)).convert("RGB")
    photograph.paste((40, 45, 90), (350, 200), digit.resize((300, 300), Image.Resampling.BICUBIC))
    return {
        "canvas": ("image/png", _encode(canvas, "PNG")),
        "photograph": ("image/jpeg", _encode(photograph, "JPEG")),
    }


def _encode(picture: Image.Image, name: str) -> bytes:
    file = BytesIO()
    picture.save(file, name)
    return file.getvalue()


def bulk(count: int) -> Body:
    """Random images as 784 bytes each."""
    images = np.random.default_rng(0).integers(0, 256, (count, 28, 28), np.uint8)
    return "application/octet-stream", images.tobytes()


def form(file: bytes) -> Body:
    """A form with one file part, with the headers that curl sends."""
    head = b'Content-Disposition: form-data; name="file"; filename="seven.png"\r\nContent-Type: image/png'
    return "multipart/form-data; boundary=XX", b"--XX\r\n%b\r\n\r\n%b\r\n--XX--\r\n" % (head, file)
