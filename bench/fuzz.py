"""Rubbish for the decoder: atheris changes real files of every format, and nothing but an answer may come of it.

    python -m bench.fuzz --minutes 10

Each input goes the way of an upload to the Flask application's `POST /predict`, with every way of reading it. What
is not 200 or a client's mistake, takes more than `SECONDS`, or lets the process grow over `MEGABYTES` ends the run
with the input in the current directory. What atheris keeps of its traces grows by a gigabyte in five minutes; whether
the service itself grows is seen by sending what is in the corpus again and again without it.
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
from flask.testing import FlaskClient
from PIL import Image

with atheris.instrument_imports(include=["service", "PIL"]):
    from service.app import create_app
    from service.settings import Settings

SECONDS, MEGABYTES = 20, 8192
EVERY = 20_000  # inputs
QUERIES = ("", "?normalise=always", "?normalise=never", "?split=digits", "?show=image&fields=digit")
MODES = {
    "PNG": ("1", "L", "P", "LA", "RGB", "RGBA", "I;16"),
    "JPEG": ("L", "RGB", "CMYK"),
    "GIF": ("L", "P"),
    "BMP": ("1", "L", "P", "RGB"),
    "WEBP": ("RGB", "RGBA"),
    "TIFF": ("1", "L", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"),
}


def seeds() -> list[bytes]:
    """A small picture of a stroke in every format and mode that is read."""
    pixels = np.full((40, 32), 230, np.uint8)
    pixels[8:32, 14:18] = 30
    return [_file(pixels, kind, mode) for kind, modes in MODES.items() for mode in modes]


def _file(pixels: np.ndarray[tuple[int, int], np.dtype[np.uint8]], kind: str, mode: str) -> bytes:
    deep = {"I;16": np.uint16, "I": np.int32, "F": np.float32}
    picture = Image.fromarray(pixels.astype(deep[mode])) if mode in deep else Image.fromarray(pixels).convert(mode)
    exif, file = Image.Exif(), BytesIO()
    exif[0x0112] = 6
    picture.save(file, kind, **({"exif": exif} if kind in {"PNG", "JPEG", "WEBP", "TIFF"} else {}))
    return file.getvalue()


class Target:
    """Sends inputs, counts what comes back, and says so now and then: libFuzzer ends the process without a word."""

    def __init__(self, client: FlaskClient) -> None:
        self._client = client
        self._answers: Counter[int] = Counter()

    def __call__(self, data: bytes) -> None:
        """Send one input: its first byte chooses the query, the others are the file."""
        query = QUERIES[data[0] % len(QUERIES)] if data else ""
        answer = self._client.post(f"/predict{query}", data=data[1:], content_type="image/png")
        self._answers[answer.status_code] += 1
        if self._answers.total() % EVERY == 0:
            largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            print(f"answers by status: {dict(self._answers)}; at most {largest} MB", flush=True)
        if answer.status_code not in {200, 400, 413, 415, 422}:
            raise AssertionError(f"{answer.status_code}: {answer.text}")


def main() -> None:
    """Fuzz for some minutes."""
    parser = argparse.ArgumentParser(description="Rubbish for the decoder.")
    parser.add_argument("--minutes", type=float, default=10, help="how long (%(default)s)")
    minutes = parser.parse_args().minutes
    logging.disable(logging.CRITICAL)
    app = create_app(Settings(model_poll_seconds=3600))
    app.testing = True
    target = Target(app.test_client())
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds()):
            for query in range(len(QUERIES)):
                Path(corpus, f"{number}-{query}").write_bytes(bytes([query]) + seed)
        limits = [f"-max_total_time={int(60 * minutes)}", f"-timeout={SECONDS}", f"-rss_limit_mb={MEGABYTES}"]
        atheris.Setup([sys.argv[0], *limits, "-max_len=8192", "-print_final_stats=1", corpus], target)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
