"""Accuracy on synthetic pages: numbers of one to four lines, and single digits with the same disturbances.

    python -m bench.page_accuracy                                # images of the validation split: to choose by
    python -m bench.page_accuracy --split test --pages 200       # the published table
    python -m bench.page_accuracy --kinds squared --save DIR     # kinds with this word; files that are read wrong

Every picture takes the way of an upload: file -> service.imaging.reader.read_picture -> the newest version's TFLite
model. A number read is right if it is the number written in a line, with lines matched from top to bottom as in a
comparison of two texts. A number is uncertain if one of its digits is, or if its line may have lost a digit. Columns of
the tables:

- right: share of the numbers written that are read exactly
- digits: share of the digits written that are read, matched as in a comparison of two texts
- uncertain: share of the numbers read that are uncertain
- wrong and certain: numbers read that are wrong and not uncertain, per number written: the worst kind of error
- no digit: share of pictures in which no digit was found
- ms: CPU milliseconds per picture to decode and normalise it
"""

import argparse
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, dataclass
from difflib import SequenceMatcher
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
from tqdm import tqdm

from bench import picture_accuracy, synthetic_pages
from bench.picture_accuracy import DATA, SETTINGS
from bench.synthetic_photos import Random
from bench.synthetic_writing import Lines
from service.errors import NoDigitFound
from service.imaging import reader
from service.imaging.reader import NormaliseOptions
from training.data import mnist
from training.data.mnist import Split

MAX_LINES, DIGITS = 4, (2, 10)
"""Lines of a page, and the digits of a line."""
HEADER = "| {} | right | digits | uncertain | wrong and certain | no digit | ms |\n|---|---:|---:|---:|---:|---:|---:|"


@dataclass(frozen=True)
class ReadNumber:
    """The digits of one line as they are read, and whether one is uncertain or may be missing."""

    digits: str
    is_uncertain: bool


@dataclass(frozen=True)
class PageCounts:
    """Counts of one picture or, added, of several; the module's docstring explains them."""

    numbers: int = 0
    right: int = 0
    digits: int = 0
    digits_right: int = 0
    read: int = 0
    uncertain: int = 0
    wrong_and_certain: int = 0
    no_digit: int = 0
    pictures: int = 0
    seconds: float = 0

    def __add__(self, other: "PageCounts") -> "PageCounts":
        return PageCounts(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))

    def format_row(self, name: str) -> str:
        """A row of the table."""
        shares = (
            self.right / self.numbers,
            self.digits_right / self.digits,
            self.uncertain / max(1, self.read),
            self.wrong_and_certain / self.numbers,
            self.no_digit / self.pictures,
        )
        cells = [name, *(f"{share:.1%}" for share in shares), f"{1000 * self.seconds / self.pictures:.1f}"]
        return f"| {' | '.join(cells)} |"


def read_numbers(file: bytes, *, split: bool) -> list[ReadNumber]:
    """Read a picture file as an upload: one number a line from top to bottom; none if there is no digit."""
    try:
        extracted = reader.read_picture(file, SETTINGS, NormaliseOptions(split=split))
    except NoDigitFound:
        return []
    model = picture_accuracy.newest_model()
    probabilities = model.runtime(np.stack([digit.image for digit in extracted]))
    is_uncertain = probabilities.max(axis=1) < model.confidence_threshold
    digits = zip(extracted, probabilities.argmax(axis=1), is_uncertain, strict=True)
    numbers = []
    for _, members in groupby(digits, key=lambda each: each[0].line):
        line = list(members)
        is_doubtful = any(uncertain or digit.is_incomplete for digit, _, uncertain in line)
        numbers.append(ReadNumber("".join(str(label) for _, label, _ in line), is_doubtful))
    return numbers


def compare(written: Sequence[str], found: Sequence[ReadNumber], seconds: float = 0) -> PageCounts:
    """Count the right numbers and digits of one picture."""
    texts = [number.digits for number in found]
    right = [each for start, count in _matches(written, texts) for each in range(start, start + count)]
    both = "\n".join(written), "\n".join(texts)
    digits = sum(len(both[1][start : start + count].replace("\n", "")) for start, count in _matches(*both))
    wrong = [number for index, number in enumerate(found) if index not in right]
    return PageCounts(
        numbers=len(written),
        right=len(right),
        digits=sum(map(len, written)),
        digits_right=digits,
        read=len(found),
        uncertain=sum(number.is_uncertain for number in found),
        wrong_and_certain=sum(not number.is_uncertain for number in wrong),
        no_digit=not found,
        pictures=1,
        seconds=seconds,
    )


def _matches(written: Sequence[str], found: Sequence[str]) -> list[tuple[int, int]]:
    """Start in `found` and length of the parts that both have, in order."""
    blocks = SequenceMatcher(None, written, found, autojunk=False).get_matching_blocks()
    return [(block.b, block.size) for block in blocks if block.size]


def draw_numbers(split: Split, random: Random) -> tuple[Lines, list[str]]:
    """Images of the digits of one to four lines, and their numbers."""
    chosen = [
        random.integers(0, len(split), random.integers(DIGITS[0], DIGITS[1] + 1))
        for _ in range(random.integers(1, MAX_LINES + 1))
    ]
    numbers = ["".join(map(str, split.labels[line].tolist())) for line in chosen]
    return [[split.images[index] for index in line] for line in chosen], numbers


def scene_counts(name: str, split: Split, pages: int, save: Path | None = None) -> PageCounts:
    """Make the pictures of a scene and read them; the scene's name seeds the generator.

    Args:
        name: of the scene.
        split: where the digits are from.
        pages: number of pictures.
        save: directory for the files with a number that is read wrong; they are named after what was written and read.
    """
    random, counts = np.random.default_rng(list(name.encode())), PageCounts()
    pages_of_lines, single = synthetic_pages.scenes(), synthetic_pages.single_digit_scenes()
    for index in range(pages):
        if name in single:
            chosen = random.integers(len(split))
            written, file = [str(split.labels[chosen])], single[name](split.images[chosen], random)
        else:
            lines, written = draw_numbers(split, random)
            file = pages_of_lines[name](lines, random)
        start = time.process_time()
        found = read_numbers(file, split=name not in single)
        result = compare(written, found, time.process_time() - start)
        counts += result
        if save and (result.right < result.numbers or result.wrong_and_certain):
            _save_failure(save / name.replace(" ", "_"), index, file, written, found)
    return counts


def _save_failure(
    directory: Path, index: int, file: bytes, written: Sequence[str], found: Sequence[ReadNumber]
) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    answer = "_".join(number.digits + "u" * number.is_uncertain for number in found) or "none"
    suffix = "png" if file.startswith(b"\x89PNG") else "jpg"
    (directory / f"{index:03}_{'_'.join(written)}_read_{answer}"[:200]).with_suffix(f".{suffix}").write_bytes(file)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", choices=("validation", "test"), default="validation", help="(default: %(default)s)")
    parser.add_argument("--pages", type=int, default=60, help="pictures of each kind (default: %(default)s)")
    parser.add_argument("--kinds", default="", metavar="WORD", help="only kinds whose name contains this")
    parser.add_argument("--save", type=Path, metavar="DIR", help="where to write the files that are read wrong")
    parser.add_argument("--processes", type=int, help="(default: one a core)")
    options = parser.parse_args()
    split = getattr(mnist.load(DATA), options.split)
    count = partial(scene_counts, split=split, pages=options.pages, save=options.save)
    with ProcessPoolExecutor(options.processes) as pool:
        for title, scenes in (("page", synthetic_pages.scenes()), ("digit", synthetic_pages.single_digit_scenes())):
            names, total = [name for name in scenes if options.kinds in name], PageCounts()
            print(f"\n{HEADER.format(f'{title}, {options.pages} of {options.split} images a kind')}")
            for name, counts in zip(names, tqdm(pool.map(count, names), total=len(names), disable=None), strict=True):
                print(counts.format_row(name), flush=True)
                total += counts
            if total.pictures:
                print(total.format_row("all"))


if __name__ == "__main__":
    main()
