"""bench/page_accuracy.py: what it counts as right, uncertain, and wrong and certain."""

from pathlib import Path

import numpy as np
import pytest

from bench import page_accuracy, synthetic_pages
from bench.page_accuracy import PageCounts, ReadNumber, compare, draw_numbers, read_numbers, scene_counts
from training.data.mnist import Dataset


def certain(*numbers: str) -> list[ReadNumber]:
    return [ReadNumber(number, is_uncertain=False) for number in numbers]


def test_number_is_right_only_in_its_line() -> None:
    assert compare(["12", "345"], certain("12", "345")).right == 2
    assert compare(["12", "345"], certain("12345")).right == 0
    assert compare(["12", "345"], certain("345", "12")).right == 1


def test_line_too_many_does_not_make_the_others_wrong() -> None:
    counts = compare(["12", "345"], certain("1", "12", "345"))
    assert (counts.right, counts.wrong_and_certain) == (2, 1)


@pytest.mark.parametrize(
    ("read", "digits_right"), [("1234", 4), ("134", 3), ("12934", 4), ("1284", 3), ("", 0), ("4321", 1)]
)
def test_digits_are_matched_in_order(read: str, digits_right: int) -> None:
    assert compare(["1234"], certain(read)).digits_right == digits_right


def test_uncertain_number_is_not_wrong_and_certain() -> None:
    found = [ReadNumber("13", is_uncertain=True), ReadNumber("99", is_uncertain=False)]
    counts = compare(["12", "345"], found)
    assert (counts.read, counts.uncertain, counts.wrong_and_certain) == (2, 1, 1)


def test_picture_without_a_digit_is_counted_as_such() -> None:
    counts = compare(["12"], [])
    assert (counts.no_digit, counts.right, counts.wrong_and_certain, counts.digits) == (1, 0, 0, 2)


def test_row_has_a_cell_for_each_column() -> None:
    counts = PageCounts(
        numbers=8, right=4, digits=20, digits_right=15, read=10, uncertain=2, wrong_and_certain=1, pictures=4, seconds=1
    )
    assert counts.format_row("x") == "| x | 50.0% | 75.0% | 20.0% | 12.5% | 0.0% | 250.0 |"
    assert page_accuracy.HEADER.splitlines()[0].count("|") == counts.format_row("x").count("|")


def test_numbers_have_the_labels_of_their_images(mnist: Dataset) -> None:
    lines, numbers = draw_numbers(mnist.validation, np.random.default_rng(0))
    assert [len(line) for line in lines] == [len(number) for number in numbers]
    first = next(i for i, image in enumerate(mnist.validation.images) if (image == lines[0][0]).all())
    assert numbers[0][0] == str(mnist.validation.labels[first])


def test_plain_digit_is_read(mnist: Dataset) -> None:
    random, right = np.random.default_rng(1), 0
    scene = synthetic_pages.single_digit_scenes()["one digit, plain, scanned"]
    for image, label in zip(mnist.validation.images[:20], mnist.validation.labels[:20], strict=True):
        numbers = read_numbers(scene(image, random), split=False)
        right += [number.digits for number in numbers] == [str(label)]
    assert right >= 18


def test_files_that_are_read_wrong_are_saved(mnist: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_accuracy, "read_numbers", lambda *_, **__: certain("11", "x"))
    counts = scene_counts("plain, scanned", mnist.validation, 2, tmp_path)
    names = sorted(file.name for file in (tmp_path / "plain,_scanned").iterdir())
    assert (counts.pictures, len(names)) == (2, 2)
    assert all("_read_11_x" in name for name in names)
