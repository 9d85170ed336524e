"""Images that are no digits, to measure by: does the network know that it does not know?

Letters and symbols in fonts of Debian packages, kanji by their strokes, Fashion-MNIST, noise, blank and
full images, and what is made of the test digits: two side by side, and halves. A Debian package is taken
from the system if it is installed, else fetched once with `apt-get download` into the data directory;
where there is no apt-get, the probes that need it are left out, with the reason.
"""

import gzip
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from training.data import glyphs
from training.data.glyphs import Images
from training.errors import DataError

TEXT_FONTS = {"fonts-liberation": "truetype/liberation", "fonts-freefont-ttf": "truetype/freefont"}
HANDWRITING_FONTS = {
    "fonts-dkg-handwriting": "truetype/fifthhorseman",
    "fonts-breip": "truetype/breip",
    "fonts-femkeklaver": "truetype/femkeklaver",
    "fonts-rufscript": "truetype/rufscript",
    "fonts-sjfonts": "truetype/sjfonts",
    "fonts-bwht": "opentype/bwht",
}
"""Debian packages and where in /usr/share/fonts their fonts are."""
LETTERS = ((0x41, 0x5A), (0x61, 0x7A))
SYMBOLS = ((0x21, 0x40), (0x5B, 0x60), (0x7B, 0x7E), (0xA1, 0xBF), (0xD7, 0xD7), (0xF7, 0xF7))
FASHION = ("dataset-fashion-mnist", "usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz")
STROKES = ("python3-kanjidraw", "usr/lib/python3/dist-packages/kanjidraw/data.json")
MIN_STROKES, PEN = 4, 16  # a kanji of fewer may be a 1, a 2 or a 7; the pen's width is of 256
APT_OPTIONS = ("APT::Sandbox::User=root", "Acquire::Retries=0", "Acquire::http::Timeout=20")
NOISE = 5000


class OodSetUnavailable(DataError):
    """A probe's images cannot be had on this machine."""


@dataclass(frozen=True)
class OodSet:
    """A set of images uint8 [N, 28, 28] that are no digits; `missing` says why there are none."""

    name: str
    images: Images
    missing: str = ""


def load_ood_sets(digits: Images, cache: Path) -> Iterator[OodSet]:
    """All probes, made anew; the same digits and packages give the same images.

    Args:
        digits: test images [N, 28, 28] to make pairs and halves of.
        cache: where fetched packages are unpacked.
    """
    random = np.random.default_rng(0)
    makers: dict[str, Callable[[], Images]] = {
        "letters, text fonts": lambda: _glyphs(TEXT_FONTS, LETTERS, cache),
        "letters, handwriting fonts": lambda: _glyphs(HANDWRITING_FONTS, LETTERS, cache),
        "kanji, drawn by strokes": lambda: _kanji(cache),
        "symbols": lambda: _glyphs(TEXT_FONTS | HANDWRITING_FONTS, SYMBOLS, cache),
        "Fashion-MNIST": lambda: _fashion(cache),
        "uniform noise": lambda: random.integers(0, 256, (NOISE, 28, 28), np.uint8),
        "Gaussian noise": lambda: np.clip(random.normal(128, 64, (NOISE, 28, 28)), 0, 255).astype(np.uint8),
        "blank": lambda: np.zeros((1, 28, 28), np.uint8),
        "full": lambda: np.full((1, 28, 28), 255, np.uint8),
        "two digits side by side": lambda: _pairs(digits, random),
        "a digit cut in half": lambda: _halves(digits),
    }
    for name, make in makers.items():
        try:
            yield OodSet(name, _not_empty(make()))
        except OodSetUnavailable as error:
            yield OodSet(name, np.zeros((0, 28, 28), np.uint8), str(error))


def _not_empty(images: Images) -> Images:
    if not len(images):
        raise OodSetUnavailable("the package holds no such images")
    return images


def _glyphs(packages: dict[str, str], ranges: tuple[tuple[int, int], ...], cache: Path) -> Images:
    images = []
    for package, place in packages.items():
        directory = debian_package_path(package, f"usr/share/fonts/{place}", cache)
        for font in sorted([*directory.glob("*.ttf"), *directory.glob("*.otf")]):
            text = glyphs.non_digit_characters(font, ranges)
            images += glyphs.render_glyphs(font, text, [0] * len(text))
    return np.array(images)


def _kanji(cache: Path) -> Images:
    """The characters that python3-kanjidraw knows handwriting by: straight strokes [x, y, x, y] of 0 to 255."""
    file = debian_package_path(*STROKES, cache)
    try:
        known = json.loads(file.read_text())
        drawings = [strokes for count in known if int(count) >= MIN_STROKES for strokes in known[count].values()]
        return np.array([_drawn(strokes) for strokes in drawings])
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise OodSetUnavailable(f"{file} cannot be read: {error}") from error


def _drawn(strokes: list[list[int]]) -> Images:
    canvas = Image.new("L", (288, 288))
    for left, top, right, bottom in strokes:
        ImageDraw.Draw(canvas).line([left + PEN, top + PEN, right + PEN, bottom + PEN], fill=255, width=PEN)
    return glyphs.to_mnist_form(np.asarray(canvas))


def _fashion(cache: Path) -> Images:
    package, place = FASHION
    packed = debian_package_path(package, place, cache)
    try:
        return np.frombuffer(gzip.decompress(packed.read_bytes()), np.uint8, offset=16).reshape(-1, 28, 28)
    except (OSError, EOFError, ValueError) as error:
        raise OodSetUnavailable(f"{packed} cannot be read: {error}") from error


def _pairs(digits: Images, random: np.random.Generator) -> Images:
    left, right = np.array_split(random.permutation(len(digits)), 2)
    return glyphs.side_by_side(digits[left[: len(right)]], digits[right])


def _halves(digits: Images) -> Images:
    """Each digit without its upper, lower, left or right half, by turns."""
    halves = digits.copy()
    for turns in range(4):
        np.rot90(halves[turns::4], turns, axes=(1, 2))[:, :14] = 0
    return halves


def debian_package_path(package: str, place: str, cache: Path) -> Path:
    """A file or directory of a Debian package: the system's own, or one that is fetched into `cache`.

    Raises:
        ProbeMissing: it is not installed and cannot be fetched.
    """
    found = _present(package, place, cache)
    if found is None:
        _fetch(package, cache)
        found = _present(package, place, cache)
    if found is None:
        raise OodSetUnavailable(f"the Debian package {package} has no {place}")
    return found


def _present(package: str, place: str, cache: Path) -> Path | None:
    return next((root / place for root in (Path("/"), cache / package) if (root / place).exists()), None)


def _fetch(package: str, cache: Path) -> None:
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise OodSetUnavailable(f"needs the Debian package {package}, and there is no apt-get")
    get = ["apt-get", "-qq", *(word for option in APT_OPTIONS for word in ("-o", option)), "download", package]
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=cache) as staging:
            _run(get, staging, package)
            (archive,) = Path(staging).glob("*.deb")
            _run(["dpkg-deb", "-x", archive.name, package], staging, package)
            Path(staging, package).rename(cache / package)
    except (OSError, ValueError) as error:
        raise OodSetUnavailable(f"the Debian package {package} cannot be unpacked: {error}") from error


def _run(words: list[str], directory: str, package: str) -> None:
    try:
        done = subprocess.run(words, cwd=directory, capture_output=True, text=True, timeout=300, check=False)
    except subprocess.TimeoutExpired:
        raise OodSetUnavailable(f"{words[0]} did not bring the Debian package {package} within 300 s") from None
    if done.returncode:
        raise OodSetUnavailable(
            f"{words[0]} cannot bring the Debian package {package}: {' '.join(done.stderr.split())[-200:]}"
        )
