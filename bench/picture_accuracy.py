"""Accuracy on pictures: MNIST's test images in synthetic scenes, and digits printed in handwriting fonts.

    python -m bench.picture_accuracy --images 2000
    python -m bench.picture_accuracy --images 2000 --keep-stroke-widths

Every picture takes the way of an upload: file -> service.imaging.reader.read_picture -> the newest version's TFLite
model. Columns of the tables:

- right: share of pictures whose digit is predicted right
- as they are: the same share for the same test images, unchanged
- certain: share of predictions with at least the version's confidence threshold
- no digit: share of pictures in which no digit was found; they count as wrong, and are predicted as blank images
- difference: mean absolute difference of the image that the model received from the test image, in grey levels
- ms: milliseconds per picture to decode and normalise it, on one core
"""

import argparse
import time
from collections.abc import Sequence
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
from service.inference.model import Model, load
from service.inference.version_list import list_versions
from service.settings import Settings
from training.data import mnist
from training.evaluation import debian_packages
from training.evaluation.debian_packages import DebianPackage
from training.evaluation.ood_sets import HANDWRITING_FONTS

FONT_PACKAGES = (
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
PICTURES_PER_DIGIT = 10  # of each font
MODELS, DATA = Path("models/digits"), Path("data/mnist")
SETTINGS = Settings()


@dataclass(frozen=True)
class Result:
    """Accuracy on a set of pictures; the module's docstring explains the fields.

    Attributes:
        right: from 0 to 1.
        certain: from 0 to 1.
        no_digit: from 0 to 1.
        seconds: per picture.
        difference: in grey levels from 0 to 255; NaN if the pictures are not made from test images.
    """

    right: float
    certain: float
    no_digit: float
    seconds: float
    difference: float


def evaluate_files(files: Sequence[bytes], labels: Pixels, images: Pixels | None, options: NormaliseOptions) -> Result:
    """Read picture files as uploads are read, and predict their digits.

    Args:
        files: the picture files.
        labels: their digits, uint8 [N].
        images: the test images that they were made from, uint8 [N, 28, 28], if there are any.
        options: when to normalise.
    """
    start, no_digit = time.perf_counter(), 0
    found = np.zeros((len(files), 28, 28), np.uint8)
    for index, file in enumerate(files):
        try:
            found[index] = reader.read_picture(file, SETTINGS, options)[0].image
        except NoDigitFound:
            no_digit += 1
    seconds = (time.perf_counter() - start) / len(files)
    model = newest_model()
    probabilities = model.runtime(found)
    certain = probabilities.max(axis=1) >= model.confidence_threshold
    difference = np.abs(found.astype(int) - images).mean() if images is not None else np.nan
    right = np.mean(probabilities.argmax(axis=1) == labels)
    return Result(float(right), float(certain.mean()), no_digit / len(files), seconds, float(difference))


def scene_accuracy(name: str, images: Pixels, labels: Pixels) -> Result:
    """Put test images into a scene and evaluate the pictures; the scene's name seeds the random generator."""
    random = np.random.default_rng(list(name.encode()))
    scene = synthetic_photos.scenes()[name]
    options = NormaliseOptions("always") if "normalised" in name else DEFAULT_OPTIONS
    return evaluate_files([scene(image, random) for image in images], labels, images, options)


def font_digits(package: DebianPackage) -> Result:
    """Photograph digits in every font of a Debian package and evaluate the pictures; the package's name is the seed.

    Raises:
        OodSetUnavailable: the package is not available in its pinned version.
    """
    random = np.random.default_rng(list(package.name.encode()))
    directory = debian_packages.locate_package(package, DATA / "ood_sets")
    files = sorted([*directory.rglob("*.ttf"), *directory.rglob("*.otf")])
    fonts = [file for file in files if set(map(ord, "0123456789")) <= FT2Font(str(file)).get_charmap().keys()]
    digits = np.tile(np.arange(10, dtype=np.uint8), PICTURES_PER_DIGIT)
    pictures = [_photograph_digit(font, int(digit), random) for font in fonts for digit in digits]
    return evaluate_files(pictures, np.tile(digits, len(fonts)), None, DEFAULT_OPTIONS)


def _photograph_digit(font: Path, digit: int, random: Random) -> bytes:
    """A JPEG of one digit: random size, position and slant; half of them on ruled paper, half of them in a shadow."""
    size = int(random.integers(60, 240))
    page = Image.new("L", (3 * size, 3 * size), 255)
    face = ImageFont.truetype(font, size)
    position = (random.uniform(1.2, 1.8) * size, random.uniform(1.2, 1.8) * size)
    ImageDraw.Draw(page).text(position, str(digit), int(random.integers(0, 90)), font=face, anchor="mm")
    page = page.rotate(random.uniform(-8, 8), Image.Resampling.BICUBIC, fillcolor=255)
    if random.random() < 0.5:
        page = synthetic_photos.add_ruled_lines(page, random, int(random.integers(90, 200)))
    if random.random() < 0.5:
        page = synthetic_photos.add_shadow(page, random)
    return synthetic_photos.photograph(page, random)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--images", type=int, default=2000, help="test images per scene, evenly spaced (default: %(default)s)"
    )
    parser.add_argument("--keep-stroke-widths", action="store_true", help="do not normalise the width of strokes")
    options = parser.parse_args()
    test = mnist.load(DATA).test
    chosen = np.linspace(0, len(test) - 1, options.images).astype(int)
    images, labels = test.images[chosen], test.labels[chosen]
    unchanged = np.mean(newest_model().runtime(images).argmax(axis=1) == labels)
    names = list(synthetic_photos.scenes())
    with ProcessPoolExecutor(initializer=_keep_stroke_widths if options.keep_stroke_widths else None) as pool:
        print(
            f"| {len(images)} test images | right | as they are | certain | no digit | difference, grey levels | ms |"
        )
        print("|---|---:|---:|---:|---:|---:|---:|")
        results = [pool.submit(scene_accuracy, name, images, labels) for name in names]
        for name, result in zip(names, tqdm(results, leave=False, disable=None), strict=True):
            print(_format_row(name, result.result(), f"{unchanged:.2%}"))
        print("\n| digits in the fonts of | right | | certain | no digit | | ms |\n|---|---:|---|---:|---:|---|---:|")
        packages = sorted(FONT_PACKAGES, key=lambda package: package.name)
        for package, font_result in zip(packages, pool.map(font_digits, packages), strict=True):
            print(_format_row(f"`{package.name}`", font_result, ""))


def _keep_stroke_widths() -> None:
    mnist_format.MIN_STROKE_WIDTH, mnist_format.MAX_STROKE_WIDTH = 0, float("inf")


def _format_row(name: str, result: Result, unchanged: str) -> str:
    difference = "" if np.isnan(result.difference) else f"{result.difference:.2f}"
    shares = f"{result.right:.2%} | {unchanged} | {result.certain:.1%} | {result.no_digit:.1%}"
    return f"| {name} | {shares} | {difference} | {1000 * result.seconds:.1f} |"


@cache
def newest_model() -> Model:
    """The newest version, run by LiteRT."""
    newest = list_versions(MODELS)[0]
    return load(newest, "litert")


if __name__ == "__main__":
    main()
