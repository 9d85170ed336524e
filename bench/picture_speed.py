"""CPU time to read a picture, beside the time to decode it: `python -m bench.picture_speed`.

Each picture of bench/request_bodies.py is read by service.imaging.reader.read_picture in one thread, and decoded by
Pillow alone, to RGB or RGBA at its full size. Reading may decode a JPEG at a smaller size, so its ratio to decoding may
be below 1.

    python -m bench.picture_speed --against PATH

reads the pictures by the service of another checkout as well, in turn.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path

from PIL import Image

from bench import request_bodies
from service.imaging import reader
from service.imaging.reader import NormaliseOptions
from service.settings import Settings

ROUNDS, ROUND_SECONDS = 5, 0.2
"""Rounds of each case, and the minimum CPU time of a round; the fastest one counts, because load only adds time."""
CHILD = "import runpy, sys; runpy.run_path(sys.argv[1])['measure_files'](sys.argv[2:])"
"""Python's path begins with the working directory: `service` is that of the checkout that the child runs in."""

Speeds = dict[str, tuple[float, float]]
"""CPU milliseconds by file name: to decode, and to read."""


def measure_files(paths: list[str]) -> None:
    """Measure picture files, those whose name ends in "digits" with split=digits, and print Speeds as JSON."""
    speeds: Speeds = {}
    for path in map(Path, paths):
        read = partial(reader.read_picture, path.read_bytes(), Settings(), _options(path.name))
        speeds[path.name] = _fastest_ms(partial(_decode, path.read_bytes())), _fastest_ms(read)
    print(json.dumps(speeds))


def _options(name: str) -> NormaliseOptions:
    return NormaliseOptions(split=name.endswith("digits"))


def _decode(data: bytes) -> None:
    with Image.open(BytesIO(data)) as picture:
        picture.convert("RGBA" if picture.has_transparency_data else "RGB")


def _fastest_ms(function: Callable[[], object]) -> float:
    function()
    rounds = []
    for _ in range(ROUNDS):
        start, calls = time.process_time(), 0
        while (elapsed := time.process_time() - start) < ROUND_SECONDS:
            function()
            calls += 1
        rounds.append(1000 * elapsed / calls)
    return min(rounds)


def measure_checkout(checkout: Path, files: list[Path]) -> Speeds:
    """Measure the files with the service of a checkout, in a process of its own."""
    command = [sys.executable, "-c", CHILD, __file__, *map(str, files)]
    output = subprocess.run(command, cwd=checkout, stdout=subprocess.PIPE, text=True, check=True).stdout
    return {name: (decode, read) for name, (decode, read) in json.loads(output).items()}


def format_row(name: str, this: tuple[float, float], other: tuple[float, float] | None = None) -> str:
    """A row of the table: milliseconds, ratio to decoding, and those of another checkout and how many times faster."""
    cells = [name.replace("?", ", "), f"{this[0]:.2f}", f"{this[1]:.2f}", f"{this[1] / this[0]:.1f}"]
    if other:
        cells += [f"{other[1]:.2f}", f"{other[1] / other[0]:.1f}", f"{other[1] / this[1]:.1f}"]
    return f"| {' | '.join(cells)} |"


def print_table(other: Path | None = None) -> None:
    """Measure this checkout and, if there is one, the other, and print the table."""
    with tempfile.TemporaryDirectory() as directory:
        files = []
        for name, (_, body, query) in request_bodies.pictures().items():
            files.append(Path(directory, name + query))
            files[-1].write_bytes(body)
        header = ["picture", "decode ms", "read ms", "ratio", *(("other, read ms", "ratio", "faster") if other else ())]
        print(f"| {' | '.join(header)} |\n|---|{'---:|' * (len(header) - 1)}")
        for file in files:
            this_speed = measure_checkout(Path.cwd(), [file])[file.name]
            other_speed = measure_checkout(other, [file])[file.name] if other else None
            print(format_row(file.name, this_speed, other_speed), flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, metavar="PATH", help="measure the service of this checkout as well")
    print_table(parser.parse_args().against)


if __name__ == "__main__":
    main()
