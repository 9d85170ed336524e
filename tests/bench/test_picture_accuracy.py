"""bench/picture_accuracy.py: what it counts, and its packages of fonts."""

import numpy as np

from bench import picture_accuracy
from bench.picture_accuracy import FONT_PACKAGES, evaluate_files
from service.imaging.reader import DEFAULT_OPTIONS
from tests.service.payloads import encode
from training.data.mnist import Dataset
from training.evaluation.ood_sets import HANDWRITING_FONTS


def test_counts_right_and_missing_digits_separately(mnist: Dataset) -> None:
    images, labels = mnist.test.images[:4], mnist.test.labels[:4].copy()
    blank = np.zeros((28, 28), np.uint8)
    labels[0] = (labels[0] + 1) % 10
    labels[3] = (picture_accuracy.newest_model().runtime(blank[None]).argmax() + 1) % 10
    files = [encode(image) for image in [*images[:3], blank]]
    result = evaluate_files(files, labels, images, DEFAULT_OPTIONS)
    assert (result.right, result.no_digit) == (0.5, 0.25)
    assert result.difference == np.abs(images[3].astype(int)).mean() / 4  # the others pass unchanged


def test_row_of_fonts_has_no_difference() -> None:
    result = picture_accuracy.Result(0.875, 0.5, 0.25, 0.0123, float("nan"))
    assert (
        picture_accuracy._format_row("`fonts-x`", result, "") == "| `fonts-x` | 87.50% |  | 50.0% | 25.0% |  | 12.3 |"
    )


def test_packages_include_the_handwriting_fonts_of_the_evaluation() -> None:
    assert set(HANDWRITING_FONTS) <= set(FONT_PACKAGES)
    assert len({package.name for package in FONT_PACKAGES}) == len(FONT_PACKAGES) == 14
