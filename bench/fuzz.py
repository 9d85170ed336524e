"""Fuzzing of the picture decoder: atheris mutates real files of every format and sends them to POST /predict.

    python -m bench.fuzz --minutes 10

Each input goes to the Flask application as an upload, with one of QUERIES. The run ends, and the input is left in the
current directory, if a response is neither 200 nor a client error that the API documents, if a request takes more than
MAX_SECONDS, or if the process uses more than MAX_MEMORY_MB. atheris's own traces grow by about a gigabyte in five
minutes; to see whether the service itself grows, replay the corpus again and again without atheris.
"""

import argparse
import logging
import resource
import sys
import tempfile
from collections import Counter
from io import BytesIO
from pathlib import Path

import atheris
import numpy as np
import numpy.typing as npt
from flask.testing import FlaskClient
from PIL import ExifTags, Image

with atheris.instrument_imports(include=["service", "PIL"]):
    from service.app import create_app
    from service.settings import Settings

MAX_SECONDS, MAX_MEMORY_MB = 20, 8192
MAX_INPUT_BYTES = 8192
REPORT_EVERY = 20_000  # inputs
ALLOWED_STATUSES = {200, 400, 413, 415, 422}
QUERIES = ("", "?normalise=always", "?normalise=never", "?split=digits", "?show=image&fields=digit")
MODES = {
    "PNG": ("1", "L", "P", "LA", "RGB", "RGBA", "I;16"),
    "JPEG": ("L", "RGB", "CMYK"),
    "GIF": ("L", "P"),
    "BMP": ("1", "L", "P", "RGB"),
    "WEBP": ("RGB", "RGBA"),
    "TIFF": ("1", "L", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"),
}
"""Pillow's modes to start from, by file format."""
HIGH_DEPTH = {"I;16": np.uint16, "I": np.int32, "F": np.float32}


def seed_files() -> list[bytes]:
    """A picture of a stroke, 32x40 pixels, in every supported format and mode."""
    pixels = np.full((40, 32), 230, np.uint8)
    pixels[8:32, 14:18] = 30
    return [_encode(pixels, file_format, mode) for file_format, modes in MODES.items() for mode in modes]


def _encode(pixels: npt.NDArray[np.uint8], file_format: str, mode: str) -> bytes:
    if mode in HIGH_DEPTH:
        picture = Image.fromarray(pixels.astype(HIGH_DEPTH[mode]))
    else:
        picture = Image.fromarray(pixels).convert(mode)
    exif, file = Image.Exif(), BytesIO()
    exif[ExifTags.Base.Orientation] = 6
    picture.save(file, file_format, **({"exif": exif} if file_format in {"PNG", "JPEG", "WEBP", "TIFF"} else {}))
    return file.getvalue()


class Target:
    """The function under test: sends inputs, counts statuses, prints them now and then.

    The counts are printed during the run because libFuzzer ends the process without returning to Python.
    """

    def __init__(self, client: FlaskClient) -> None:
        self._client = client
        self._statuses: Counter[int] = Counter()

    def __call__(self, data: bytes) -> None:
        """Send one input: the first byte chooses the query, the rest is the file.

        Raises:
            AssertionError: the status is not in ALLOWED_STATUSES.
        """
        query = QUERIES[data[0] % len(QUERIES)] if data else ""
        response = self._client.post(f"/predict{query}", data=data[1:], content_type="image/png")
        self._statuses[response.status_code] += 1
        if self._statuses.total() % REPORT_EVERY == 0:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            print(f"responses by status: {dict(self._statuses)}; peak memory {peak} MB", flush=True)
        if response.status_code not in ALLOWED_STATUSES:
            raise AssertionError(f"status {response.status_code}: {response.text}")


def main() -> None:
    """Fuzz for some minutes."""
    parser = argparse.ArgumentParser(description="Fuzz the picture decoder through POST /predict.")
    parser.add_argument("--minutes", type=float, default=10, help="duration in minutes (default: %(default)s)")
    minutes = parser.parse_args().minutes
    logging.disable(logging.CRITICAL)
    app = create_app(Settings(model_poll_seconds=3600))
    app.testing = True
    target = Target(app.test_client())
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seed_files()):
            for query in range(len(QUERIES)):
                Path(corpus, f"{number}-{query}").write_bytes(bytes([query]) + seed)
        limits = [f"-timeout={MAX_SECONDS}", f"-rss_limit_mb={MAX_MEMORY_MB}", f"-max_len={MAX_INPUT_BYTES}"]
        duration = f"-max_total_time={int(60 * minutes)}"
        atheris.Setup([sys.argv[0], duration, *limits, "-print_final_stats=1", corpus], target)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
