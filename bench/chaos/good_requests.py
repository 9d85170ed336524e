"""Valid requests with known digits."""

import base64
import itertools
import json
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from bench.chaos.connections import post
from bench.request_bodies import PNG_FILE, form
from service.imaging import reader
from service.imaging.reader import NormaliseOptions
from service.settings import Settings
from service.types import DigitImage

ROW_FILE = (Path(__file__).parents[2] / "tests" / "pictures" / "2024.jpg").read_bytes()
ROW = (2, 0, 2, 4)
"""The digits on the photograph ROW_FILE."""
BULK_IMAGES = 100


class GoodRequest(NamedTuple):
    """A valid request, and the digits of its response."""

    data: bytes
    digits: list[int]


def make_requests() -> dict[str, list[GoodRequest]]:
    """The requests of each kind; neighbours have other digits, so that a response to another request is noticed."""
    options = NormaliseOptions(split=True)
    images = {
        digit: found.image for digit, found in zip(ROW, reader.read_picture(ROW_FILE, Settings(), options), strict=True)
    }
    images[7] = np.asarray(Image.open(BytesIO(PNG_FILE)))
    files = {digit: _png(image) for digit, image in images.items()}
    plain = []
    for digit, image in images.items():
        document = json.dumps({"images": [image.tolist()]}).encode()
        bodies = [("image/png", files[digit]), form(files[digit]), ("application/json", document)]
        plain += [GoodRequest(post("/predict", *body), [digit]) for body in bodies]
    plain = [request for start in range(3) for request in plain[start::3]]
    encoded = json.dumps({"images": [base64.b64encode(ROW_FILE).decode()]}).encode()
    digits = list(itertools.islice(itertools.cycle(images), BULK_IMAGES))
    stacked = np.stack([images[digit] for digit in digits]).tobytes()
    return {
        "plain": plain,
        "photograph": [
            GoodRequest(post("/predict?split=digits", "image/jpeg", ROW_FILE), [*ROW]),
            GoodRequest(post("/predict?split=digits", "application/json", encoded), [*ROW]),
        ],
        "bulk": [GoodRequest(post("/predict?fields=digit", "application/octet-stream", stacked), digits)],
    }


def _png(image: DigitImage) -> bytes:
    file = BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()
