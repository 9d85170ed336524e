"""Speed of `digits predict` beside the service's own limit: `python -m bench.client_speed`, about a minute.

Writes the 10,000 MNIST test images as PNG files. In each round the command reads all of them and writes a CSV file,
once with up to 16 pictures a request and once with one, and a load generator sends forms of one and of 16 pictures on
the same number of connections. The service, the command and the load generator share the cores.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from bench.load_generator import closed_loop
from bench.request_bodies import PNG_FILE
from bench.server_process import ServerProcess, start_server
from digits.pictures import Picture, encode_form
from training.data import mnist

ROUNDS = 5
CONNECTIONS = 4
SECONDS = 3.0
COMMAND = (
    "import sys, digits.pictures, digits.cli.main as cli; digits.pictures.MAX_BATCH_PICTURES = {}; sys.exit(cli.main())"
)


def write_pictures(directory: Path) -> int:
    """Write the test images as PNG files; return their number."""
    images = mnist.load(Path(os.environ.get("DIGITS_DATA", "data/mnist"))).test.images
    for number, image in enumerate(np.asarray(images)):
        Image.fromarray(image).save(directory / f"{number:05}.png")
    return len(images)


def measure_command(server: ServerProcess, directory: Path, count: int, pictures_per_request: int) -> float:
    """Run `digits predict` on a directory; return pictures/s, from the start of the process to its end."""
    output = directory / "out.csv"
    command = [sys.executable, "-c", COMMAND.format(pictures_per_request), "predict", str(directory), "-o", str(output)]
    options = ["--overwrite", "--connections", str(CONNECTIONS), "--url", f"http://127.0.0.1:{server.port}"]
    started = time.perf_counter()
    subprocess.run([*command, *options], check=True, stderr=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    if len(output.read_text().splitlines()) != count + 1:
        raise AssertionError("the command has not written a row for each picture")
    return count / seconds


def measure_service(server: ServerProcess, pictures_per_request: int) -> float:
    """Return the pictures/s of the service with a load generator."""
    body, content_type = encode_form([Picture(PNG_FILE, "image/png")] * pictures_per_request)
    request = server.predict_request(content_type, body)
    return closed_loop(request, CONNECTIONS, SECONDS).rate * pictures_per_request


def main() -> None:
    """Measure in turns, and print the medians as a table."""
    with tempfile.TemporaryDirectory() as temporary, start_server() as server:
        directory = Path(temporary)
        count = write_pictures(directory)
        measurements: dict[str, Callable[[], float]] = {
            "`digits predict`, up to 16 pictures a request": lambda: measure_command(server, directory, count, 16),
            "`digits predict`, one picture a request": lambda: measure_command(server, directory, count, 1),
            "service, load generator, 16 pictures a request": lambda: measure_service(server, 16),
            "service, load generator, one picture a request": lambda: measure_service(server, 1),
        }
        rates: dict[str, list[float]] = {name: [] for name in measurements}
        for _ in range(ROUNDS):
            for name, measure in measurements.items():
                rates[name].append(measure())
    print(f"| {count:,} pictures, {CONNECTIONS} connections | images/s, median of {ROUNDS} | lowest-highest |")
    print("|---|---:|---:|")
    for name, found in rates.items():
        print(f"| {name} | {statistics.median(found):,.0f} | {min(found):,.0f}-{max(found):,.0f} |")


if __name__ == "__main__":
    main()
