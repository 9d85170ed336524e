"""How well pictures of any kind are read: MNIST's test images in scenes, and digits in handwriting fonts.

    python -m bench.picture_accuracy --images 2000
    python -m bench.picture_accuracy --images 2000 --strokes-as-they-are

Every picture goes the way of an upload: bytes -> service.imaging.reader.read -> the newest version's plan. The
first column is the share of digits read right, the second that of the same test images as they are.
"""

import argparse
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from bench import synthetic_photos
from bench.synthetic_photos import Pixels, Random
from service.errors import NoDigitFound
from service.imaging import mnist_format, reader
from service.imaging.reader import DEFAULT_OPTIONS, NormaliseOptions
from service.inference import model_store
from service.inference.model_store import Model
from service.settings import Settings
from training.data import mnist
from training.evaluation import debian_packages
from training.evaluation.debian_packages import DebianPackage
from training.evaluation.ood_sets import HANDWRITING_FONTS

FONTS = (
    *HANDWRITING_FONTS,
    DebianPackage(
        "fonts-comic-neue",
        "2.51-4",
        "6f002dc90d62fde01a2b51f333c09dc6c21ffbfc6ca22d05a84cc049b083c826",
        "usr/share/fonts/opentype/comic-neue",
        "e2d6ca880615994821c7c575d9aa2adeb840114b9ee0033f07a81acf9f5fb6c9",
    ),
    DebianPackage(
        "fonts-dancingscript",
        "1.2-2",
        "987b8182611e1f3d9e7b19a82787614470dd8c4ed894a4dedbebc2308703b216",
        "usr/share/fonts/opentype/dancingscript",
        "76e09214482e03191c03966294277be99e45e63ed3447efce8696663f2a8033d",
    ),
    DebianPackage(
        "fonts-ecolier-court",
        "1.00-6",
        "8ce2aba588adffc3bff453dae91af24b26ba7d0ce458127ad38f68d4fd36415b",
        "usr/share/fonts/truetype/ecolier-court",
        "d3a2c9ad0a7c13bea28f56c672dfbcd2bda9b78f24c0acbb16262fe9fd6edf94",
    ),
    DebianPackage(
        "fonts-humor-sans",
        "1.0-4",
        "84bd0c40b65dc345e05396a4ffb64282c14fbbb6e7079126eeabc92bd9fe7311",
        "usr/share/fonts/truetype/humor-sans",
        "3be889ee93ab6fa36e15b49895b34fc4d0caeefb99bbd63ccf423b3600fdb7e4",
    ),
    DebianPackage(
        "fonts-kaushanscript",
        "1.02-2.1",
        "ead16c3fe1fd47037f5afbb5dec765290fb14bff545051a5507ea60186019414",
        "usr/share/fonts/opentype/kaushanscript",
        "eb5e95db7b85e7af554a4fa64003237c536ad57f47ebf4467f2c9b681911decf",
    ),
    DebianPackage(
        "fonts-klee",
        "1.000-20210121-2",
        "5378d3169728ceb95a2ae653a64762cd8f3b82a968a4ae72bb168a034fbf4c54",
        "usr/share/fonts/truetype/klee",
        "6d3b0ed1e45ae47b392d0e4a65ac0aecb5653e7241cfd9c8439620825ca31193",
    ),
    DebianPackage(
        "fonts-kristi",
        "20101220-1",
        "03cdbe9ca6cb5ea863ad652ea94313666f275de526c3cb01e252da93019001c2",
        "usr/share/fonts/truetype/kristi",
        "162e6e1630f5d1e3db0cebc621f05ce94a87b4aa1c792e5fcd05d32d5e0732d5",
    ),
    DebianPackage(
        "fonts-seto",
        "6.20-8",
        "1ce0b6124d635036d64462d7f0bece68d79608713a51d0664d4aa03da882fe2c",
        "usr/share/fonts/truetype/seto",
        "3a9afd34f5367e9eafab67dc262c2c7a45587c7586ba8351cbf0e62839aa9b11",
    ),
)
"""Debian packages of fonts that look like handwriting."""
COPIES = 10  # pictures of each digit of a font
MODELS, DATA = Path("models/digits"), Path("data/mnist")
LIMITS = Settings()


@dataclass(frozen=True)
class Result:
    """What came of a set of pictures: shares 0 to 1, seconds a picture, mean difference in grey levels."""

    right: float
    certain: float
    unread: float
    seconds: float
    difference: float


def ask(files: Sequence[bytes], labels: Pixels, images: Pixels | None, reading: NormaliseOptions) -> Result:
    """Read the files as an upload is read, and answer them."""
    began, unread = time.perf_counter(), 0
    seen = np.zeros((len(files), 28, 28), np.uint8)
    for index, file in enumerate(files):
        try:
            seen[index] = reader.read_picture(file, LIMITS, reading)[0].image
        except NoDigitFound:
            unread += 1
    seconds = (time.perf_counter() - began) / len(files)
    model = _model()
    answers = model.runtime(seen)
    certain = answers.max(axis=1) >= model.confidence_threshold
    difference = np.abs(seen.astype(int) - images).mean() if images is not None else np.nan
    right = np.mean(answers.argmax(axis=1) == labels)
    return Result(float(right), float(certain.mean()), unread / len(files), seconds, float(difference))


def scene(name: str, images: Pixels, labels: Pixels) -> Result:
    """Put the images into a scene, and ask; all that is random follows from the scene's name."""
    random = np.random.default_rng(list(name.encode()))
    files = [synthetic_photos.scenes()[name](image, random) for image in images]
    return ask(files, labels, images, NormaliseOptions("always") if "normalised" in name else DEFAULT_OPTIONS)


def printed(package: DebianPackage) -> Result:
    """Print the digits of a package's fonts on paper of all kinds, and ask."""
    random = np.random.default_rng(list(package.name.encode()))
    directory = debian_packages.locate_package(package, DATA / "ood_sets")
    found = sorted([*directory.rglob("*.ttf"), *directory.rglob("*.otf")])
    fonts = [font for font in found if set(map(ord, "0123456789")) <= FT2Font(str(font)).get_charmap().keys()]
    labels = np.tile(np.arange(10, dtype=np.uint8), COPIES * len(fonts))
    return ask(
        [_print(font, int(label), random) for font, label in _each(fonts, labels)], labels, None, DEFAULT_OPTIONS
    )


def _each(fonts: Sequence[Path], labels: Pixels) -> Iterable[tuple[Path, int]]:
    return zip(np.repeat(np.array(fonts), len(labels) // len(fonts)), labels, strict=True)


def _print(font: Path, digit: int, random: Random) -> bytes:
    """One digit: of a size, at a place, askew; on plain or ruled paper, under a lamp or a shadow, photographed."""
    size = int(random.integers(60, 240))
    sheet = Image.new("L", (3 * size, 3 * size), 255)
    face = ImageFont.truetype(font, size)
    at = (random.uniform(1.2, 1.8) * size, random.uniform(1.2, 1.8) * size)
    ImageDraw.Draw(sheet).text(at, str(digit), int(random.integers(0, 90)), font=face, anchor="mm")
    sheet = sheet.rotate(random.uniform(-8, 8), Image.Resampling.BICUBIC, fillcolor=255)
    if random.random() < 0.5:
        sheet = synthetic_photos.ruled(sheet, random, int(random.integers(90, 200)))
    if random.random() < 0.5:
        sheet = synthetic_photos.shaded(sheet, random)
    return synthetic_photos.photographed(sheet, random)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="How well pictures of any kind are read.")
    parser.add_argument("--images", type=int, default=2000, help="test images a scene, evenly taken (%(default)s)")
    parser.add_argument("--strokes-as-they-are", action="store_true", help="bring no stroke to a pen's width")
    options = parser.parse_args()
    test = mnist.load(DATA).test
    chosen = np.linspace(0, len(test) - 1, options.images).astype(int)
    images, labels = test.images[chosen], test.labels[chosen]
    plain = np.mean(_model().runtime(images).argmax(axis=1) == labels)
    names = list(synthetic_photos.scenes())
    with ProcessPoolExecutor(initializer=_keep_strokes if options.strokes_as_they_are else None) as pool:
        print(f"| {len(images)} test images | right | as they are | certain | no digit | difference | ms |")
        print("|---|---:|---:|---:|---:|---:|---:|")
        waiting = [pool.submit(scene, name, images, labels) for name in names]
        for name, done in zip(names, tqdm(waiting, leave=False, disable=None), strict=True):
            print(_row(name, done.result(), f"{plain:.2%}"))
        print("\n| digits in the fonts of | right | | certain | no digit | | ms |\n|---|---:|---|---:|---:|---|---:|")
        for package, result in zip(FONTS, pool.map(printed, FONTS), strict=True):
            print(_row(f"`{package.name}`", result, ""))


def _keep_strokes() -> None:
    mnist_format.MIN_STROKE_WIDTH, mnist_format.MAX_STROKE_WIDTH = 0, float("inf")


def _row(name: str, result: Result, plain: str) -> str:
    difference = "" if np.isnan(result.difference) else f"{result.difference:.2f}"
    shares = f"{result.right:.2%} | {plain} | {result.certain:.1%} | {result.unread:.1%}"
    return f"| {name} | {shares} | {difference} | {1000 * result.seconds:.1f} |"


@cache
def _model() -> Model:
    newest = model_store.list_versions(MODELS)[0].path
    return model_store.load(newest, "litert")


if __name__ == "__main__":
    main()
