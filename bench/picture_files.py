"""Picture files and forms for hostile bodies, and for the tests of the service."""

from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[Any]

FORM = "multipart/form-data; boundary=edge"


def encode(pixels: Pixels, *, kind: str = "PNG", mode: str | None = None, **options: Any) -> bytes:
    """Encode pixels as a picture file of format `kind`; `mode`: convert to this mode of Pillow first."""
    picture = Image.fromarray(pixels)
    file = BytesIO()
    (picture.convert(mode) if mode else picture).save(file, kind, **options)
    return file.getvalue()


def stroke() -> Pixels:
    """A digit one in MNIST's form: uint8 [28, 28]."""
    image = np.zeros((28, 28), np.uint8)
    image[5:24, 13:15] = np.linspace(200, 255, 38, dtype=np.uint8).reshape(19, 2)
    return image


def form(*files: bytes) -> bytes:
    """A multipart body with these file parts; its content type is FORM."""
    head = b'--edge\r\nContent-Disposition: form-data; name="file"; filename="digit.png"\r\n\r\n'
    return b"".join(head + file + b"\r\n" for file in files) + b"--edge--\r\n"
