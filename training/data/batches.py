"""The input pipeline: augmented batches with hard or distilled targets.

One augmented copy of the training split is made per epoch, with new drawn digits (training/data/drawn_digits.py) if the
recipe has a `drawn_share`; a batch is cut from a permutation of that copy. The targets are one-hot labels. With a
teacher, those of the training split are a mixture of the labels and the teacher's softmax on the same augmented images:
the labels correct the teacher's errors. After `augmented_copies` epochs the copies are reused. They stay in memory
(43 MB each for MNIST, more with drawn digits), so that no image is augmented or passed to the teacher twice. Every
batch is a function of the seed and the iteration alone, so a run can resume at any iteration.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from training.data import augment, drawn_digits, outliers
from training.data.mnist import Split
from training.data.outliers import OutlierPool
from training.recipe import Recipe
from training.types import Images, Labels

Targets = npt.NDArray[np.float32]
TeacherFn = Callable[[Images], npt.NDArray[np.floating[Any]]]
"""Images uint8 [N, 28, 28] -> logits [N, 10]."""

DRAWING = 2  # distinguishes the random numbers of the drawings from those of the permutations and of the outliers


class BatchBlock(NamedTuple):
    """K batches: digits, then outliers, with targets and labels for the digits only."""

    images: Images  # uint8 [K, batch_size + outliers_per_batch, 28, 28]
    targets: Targets  # float32 [K, batch_size, 10]
    labels: Labels  # uint8 [K, batch_size]


class _Copy(NamedTuple):
    """One epoch's images uint8 [N, 28, 28], their targets float32 [N, 10] and labels uint8 [N]."""

    images: Images
    targets: Targets
    labels: Labels


class BatchStream:
    """All batches of a run, one block per evaluation.

    Args:
        recipe: the recipe of the run.
        split: the training split.
        teacher: gives logits for distilled targets; None for one-hot labels.
    """

    def __init__(self, recipe: Recipe, split: Split, teacher: TeacherFn | None = None) -> None:
        self._recipe, self._split, self._teacher = recipe, split, teacher
        self._copies: dict[int, _Copy] = {}

    def block_at(self, iteration: int) -> BatchBlock:
        """The batches from `iteration` to the next evaluation: `evaluate_every` of them, or fewer at the end."""
        recipe = self._recipe
        parts = []
        for epoch, indices in index_stream(recipe, copy_size(recipe, len(self._split)), iteration):
            number = epoch % recipe.augmented_copies if recipe.augmented_copies else epoch
            parts.append([array[indices] for array in self._copy(number)])
        block = BatchBlock(*(_batches(np.concatenate(chunks), recipe) for chunks in zip(*parts, strict=True)))
        return self._with_outliers(block, iteration) if recipe.outliers_per_batch else block

    @cached_property
    def _outlier_pool(self) -> OutlierPool:
        return outliers.build_pool(self._split.images, self._recipe.seed)

    def _copy(self, number: int) -> "_Copy":
        if number not in self._copies:
            split = augmented_copy(self._split, self._recipe, (self._recipe.seed, number))
            if not self._recipe.augmented_copies:
                for old in list(self._copies)[:-1]:  # a block may span two epochs, so the previous copy stays
                    del self._copies[old]
            self._copies[number] = _Copy(split.images, self._targets(split), split.labels)
        return self._copies[number]

    def _targets(self, split: Split) -> Targets:
        labels = np.eye(10, dtype=np.float32)[split.labels]
        if self._teacher is None:
            return labels
        mnist = slice(len(self._split))  # the teacher has not seen the hands that the drawn digits add
        soft = tf.nn.softmax(self._teacher(split.images[mnist]) / self._recipe.distillation_temperature).numpy()
        labels[mnist] += np.float32(1 - self._recipe.hard_label_weight) * (soft - labels[mnist])
        return labels

    def _with_outliers(self, block: BatchBlock, iteration: int) -> BatchBlock:
        count = (len(block.images), self._recipe.outliers_per_batch)
        key = (self._recipe.seed, iteration)
        images = outliers.sample(self._outlier_pool, int(np.prod(count)), self._recipe, key).reshape(*count, 28, 28)
        return block._replace(images=np.concatenate([block.images, images], axis=1))


def copy_size(recipe: Recipe, images: int) -> int:
    """The number of images of a copy: those of the training split, and `drawn_share` of the sum as drawn digits."""
    return round(images / (1 - recipe.drawn_share))


def augmented_copy(split: Split, recipe: Recipe, key: tuple[int, int]) -> Split:
    """The split with new drawn digits at its end, all of them augmented; the same key gives the same copy."""
    drawn = copy_size(recipe, len(split)) - len(split)
    if drawn:
        digits = drawn_digits.draw_digits(drawn, np.random.default_rng([*key, DRAWING]))
        images, labels = np.concatenate([split.images, digits.images]), np.concatenate([split.labels, digits.labels])
        split = Split(images, labels)
    return Split(augment.augmented_copy(split.images, recipe, key), split.labels)


def index_stream(recipe: Recipe, images: int, iteration: int) -> list[tuple[int, npt.NDArray[np.int64]]]:
    """The indices of the images in the batches from `iteration` to the next evaluation.

    The stream is one permutation of a copy per epoch; a batch may span two epochs.

    Args:
        recipe: gives seed, batch size, number of iterations and evaluation interval.
        images: size of a copy.
        iteration: of the first batch.

    Returns:
        (epoch, indices int64 [M]) pairs, in order.
    """
    begin = iteration * recipe.batch_size
    end = begin + min(recipe.evaluate_every, recipe.iterations - iteration) * recipe.batch_size
    stream = []
    for epoch in range(begin // images, -(-end // images)):
        permutation = np.random.default_rng([recipe.seed, epoch]).permutation(images)
        offset = epoch * images
        stream.append((epoch, permutation[max(begin - offset, 0) : end - offset]))
    return stream


def _batches(values: npt.NDArray[Any], recipe: Recipe) -> npt.NDArray[Any]:
    return values.reshape(-1, recipe.batch_size, *values.shape[1:])
