"""Out-of-distribution sets: images that are no digits, to measure how well the confidence separates them from digits.

Letters and symbols in fonts of Debian packages, kanji drawn from stroke data, letters that a pen draws, of scripts that
are no outliers in training, Fashion-MNIST, noise, blank and full images, and images made of test digits: two side by
side, and halves. A set whose Debian package is not available in its pinned version is reported without images, with the
reason.
"""

import gzip
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from training.data import glyphs, letter_strokes
from training.errors import OodSetUnavailable
from training.evaluation import debian_packages
from training.evaluation.debian_packages import DebianPackage
from training.types import Images

TEXT_FONTS = (
    DebianPackage(
        "fonts-liberation",
        "1:1.07.4-11",
        "efd381517f958b01969343634ffcbdd60056be7779af84c6f53a005090430204",
        "usr/share/fonts/truetype/liberation",
        "93a263310eb8e536a98a8cfafb0676dfbb10c3e2c6712fae9ab130ff4d7e0437",
    ),
    DebianPackage(
        "fonts-freefont-ttf",
        "20120503-10",
        "4ca1c21ebc479198a3a5879d236c8317d6f7b2f1c403f7890e24c02eead05615",
        "usr/share/fonts/truetype/freefont",
        "91dc8ee8952a41ee53665c81a54fd84778017108e73a20d19ae87fc1f4acc4c6",
    ),
)
HANDWRITING_FONTS = (
    DebianPackage(
        "fonts-dkg-handwriting",
        "0.17-1",
        "82ee9beae0313e11761af7bb81f4c3fdc91ddd6122ab78490e1b103b9f502709",
        "usr/share/fonts/truetype/fifthhorseman",
        "c4f540a217587192c793d89ae07f17dfae3e8b8de2b3596222603da95fd60cc2",
    ),
    DebianPackage(
        "fonts-breip",
        "1:0.5.1-3",
        "1f0ea903300b89cb55d107ee4a12be82118ada0384d8bd9db0aad8e1f8c1aa49",
        "usr/share/fonts/truetype/breip",
        "87bb898d4d727a4d368687f2559bc0df87589b7ab63ebcf85568026de0597260",
    ),
    DebianPackage(
        "fonts-femkeklaver",
        "1.0-4",
        "93b34dc4752ac43634fffb93c985366a34dea16886287ae405d5b3e87cd9a7b4",
        "usr/share/fonts/truetype/femkeklaver",
        "0e219ac3ff9cd64af7eda66ff8434206171a3c29270ddea7050f1b75bb1fa605",
    ),
    DebianPackage(
        "fonts-rufscript",
        "010-6",
        "72a7300913e52795b7915ac5873eda633a80dcb49bb590711cde83b270b0f606",
        "usr/share/fonts/truetype/rufscript",
        "5253b1063e442ade647575a725c55b28fb5d94a1e440915ad58c17804d32808e",
    ),
    DebianPackage(
        "fonts-sjfonts",
        "2.1-2",
        "f6fdb38cb13a7772ebbb03db21ca118125b136caa170e2a77b17d1f9f4c504f0",
        "usr/share/fonts/truetype/sjfonts",
        "6a1c1dcd4b8bcf2a1259cd760b0be7ff029825da9139bb97066466a2defcf739",
    ),
    DebianPackage(
        "fonts-bwht",
        "0.1-3",
        "5dd1d688f690fcafac659761c20cade5ef49ffc20fd7ba6b953d7d38d5165839",
        "usr/share/fonts/opentype/bwht",
        "e3dddc9c4a6a9dde247cf95a3e98286e7f3400b83f2549230cc1f660057ad7eb",
    ),
)
FASHION_MNIST = DebianPackage(
    "dataset-fashion-mnist",
    "0.0~git20200523.55506a9-1",
    "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
    "usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz",
    "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
)
KANJI_STROKES = DebianPackage(
    "python3-kanjidraw",
    "0.2.3-2",
    "2fd448cebc44151162ff59d862c0151e8e840013f3e9f42e8dc29934e041da1e",
    "usr/lib/python3/dist-packages/kanjidraw/data.json",
    "990f5ced54cf4ed2b3dbd404d854bf718ac5bfc67ba2e005061a345e602f8e71",
)

LETTERS = ((0x41, 0x5A), (0x61, 0x7A))
SYMBOLS = ((0x21, 0x40), (0x5B, 0x60), (0x7B, 0x7E), (0xA1, 0xBF), (0xD7, 0xD7), (0xF7, 0xF7))
DRAWN_SCRIPTS = ("armenian", "kana")
"""Scripts of training/data/letters that training does not see."""
DRAWINGS = 20  # of each form of their letters
MIN_STROKES = 4  # a kanji with fewer strokes may look like a 1, 2 or 7
PEN_WIDTH = 16  # of a kanji 256 wide
NOISE_IMAGES = 5000


@dataclass(frozen=True)
class OodSet:
    """Images uint8 [N, 28, 28] that are no digits; if N is 0, `missing` is the reason."""

    name: str
    images: Images
    missing: str = ""


def load_ood_sets(digits: Images, cache: Path) -> Iterator[OodSet]:
    """Generate all OOD sets; the same digits give the same images.

    Args:
        digits: test images uint8 [N, 28, 28] for the pairs and halves.
        cache: the directory of downloaded packages.
    """
    random = np.random.default_rng(0)
    makers: dict[str, Callable[[], Images]] = {
        "letters, text fonts": lambda: _glyphs(TEXT_FONTS, LETTERS, cache),
        "letters, handwriting fonts": lambda: _glyphs(HANDWRITING_FONTS, LETTERS, cache),
        "letters of other scripts, drawn by a pen": _drawn_letters,
        "kanji, drawn by strokes": lambda: _kanji(cache),
        "symbols": lambda: _glyphs(TEXT_FONTS + HANDWRITING_FONTS, SYMBOLS, cache),
        "Fashion-MNIST": lambda: _fashion_mnist(cache),
        "uniform noise": lambda: random.integers(0, 256, (NOISE_IMAGES, 28, 28), np.uint8),
        "Gaussian noise": lambda: np.clip(random.normal(128, 64, (NOISE_IMAGES, 28, 28)), 0, 255).astype(np.uint8),
        "blank": lambda: np.zeros((1, 28, 28), np.uint8),
        "full": lambda: np.full((1, 28, 28), 255, np.uint8),
        "two digits side by side": lambda: _pairs(digits, random),
        "a digit cut in half": lambda: _halves(digits),
    }
    for name, make in makers.items():
        try:
            yield OodSet(name, make())
        except OodSetUnavailable as error:
            yield OodSet(name, np.zeros((0, 28, 28), np.uint8), str(error))


def _glyphs(packages: Sequence[DebianPackage], ranges: tuple[tuple[int, int], ...], cache: Path) -> Images:
    images = []
    for package in packages:
        directory = debian_packages.locate_package(package, cache)
        for font in sorted([*directory.glob("*.ttf"), *directory.glob("*.otf")]):
            text = glyphs.non_digit_characters(font, ranges)
            images += glyphs.render_glyphs(font, text, [0] * len(text))
    return np.array(images)


def _drawn_letters() -> Images:
    return letter_strokes.draw_letters(DRAWN_SCRIPTS, DRAWINGS, np.random.default_rng(0))


def _kanji(cache: Path) -> Images:
    """The characters of python3-kanjidraw, each a list of straight strokes [x, y, x, y] from 0 to 255."""
    by_count = json.loads(debian_packages.locate_package(KANJI_STROKES, cache).read_text())
    characters = [strokes for n in by_count if int(n) >= MIN_STROKES for strokes in by_count[n].values()]
    return np.array([_draw_strokes(strokes) for strokes in characters])


def _draw_strokes(strokes: list[list[int]]) -> Images:
    canvas, margin = Image.new("L", (288, 288)), PEN_WIDTH
    for left, top, right, bottom in strokes:
        line = [left + margin, top + margin, right + margin, bottom + margin]
        ImageDraw.Draw(canvas).line(line, fill=255, width=PEN_WIDTH)
    return glyphs.to_mnist_form(np.asarray(canvas))


def _fashion_mnist(cache: Path) -> Images:
    raw = gzip.decompress(debian_packages.locate_package(FASHION_MNIST, cache).read_bytes())
    return np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 28, 28)


def _pairs(digits: Images, random: np.random.Generator) -> Images:
    left, right = np.array_split(random.permutation(len(digits)), 2)
    return glyphs.side_by_side(digits[left[: len(right)]], digits[right])


def _halves(digits: Images) -> Images:
    """Each digit with its upper, lower, left or right half erased, in rotation."""
    halves = digits.copy()
    for quarter_turns in range(4):
        np.rot90(halves[quarter_turns::4], quarter_turns, axes=(1, 2))[:, :14] = 0
    return halves
