"""What every step learns from: batches of images, distorted anew each epoch, and the answers to aim at.

The training part is distorted as a whole, one copy an epoch; a batch is cut from a permutation of that
copy. With a teacher the answers are the teacher's on the very same distorted images, or lie between those
and the labels, which know what the teacher gets wrong. After `copies` epochs the copies come round again:
they stay in memory, 43 MB for each of MNIST's, so that nothing is distorted or answered twice. Everything
is a function of the seed and the iteration, nothing of what ran before: a run can resume anywhere.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from training.data import augment, outliers
from training.data.mnist import Split
from training.data.outliers import OutlierPool
from training.recipe import Recipe

Images = npt.NDArray[np.uint8]
Targets = npt.NDArray[np.float32]
TeacherFn = Callable[[Images], npt.NDArray[np.floating[Any]]]
"""uint8 [N, 28, 28] -> logits [N, 10]."""


class BatchBlock(NamedTuple):
    """K batches: the digits, with the answers to aim at and their labels, and after them the strangers."""

    images: Images  # [K, batch_size + strangers, 28, 28]
    targets: Targets  # [K, batch_size, 10]
    labels: npt.NDArray[np.uint8]  # [K, batch_size]


class BatchStream:
    """The lessons of a run."""

    def __init__(self, recipe: Recipe, part: Split, teacher: TeacherFn | None = None) -> None:
        self._recipe, self._part, self._teacher = recipe, part, teacher
        self._copies: dict[int, tuple[Images, Targets]] = {}

    def block_at(self, iteration: int) -> BatchBlock:
        """The batches from an iteration to the next evaluation: `evaluate_every`, or what is left."""
        recipe = self._recipe
        images, targets, labels = [], [], []
        for epoch, order in index_stream(recipe, len(self._part), iteration):
            copy, answers = self._augmented_copy(epoch % recipe.augmented_copies if recipe.augmented_copies else epoch)
            images.append(copy[order])
            targets.append(answers[order])
            labels.append(self._part.labels[order])
        lesson = BatchBlock(*(_batches(np.concatenate(pieces), recipe) for pieces in (images, targets, labels)))
        return self._with_outliers(lesson, iteration) if recipe.outliers_per_batch else lesson

    @cached_property
    def _outlier_pool(self) -> OutlierPool:
        return outliers.build_pool(self._part.images, self._recipe.seed)

    def _augmented_copy(self, number: int) -> tuple[Images, Targets]:
        if number not in self._copies:
            images = augment.augmented_copy(self._part.images, self._recipe, (self._recipe.seed, number))
            if not self._recipe.augmented_copies:
                for old in list(self._copies)[:-1]:  # never seen again, but for the last: a lesson may run over a seam
                    del self._copies[old]
            self._copies[number] = images, self._targets(images)
        return self._copies[number]

    def _targets(self, images: Images) -> Targets:
        labels = np.eye(10, dtype=np.float32)[self._part.labels]
        if self._teacher is None:
            return labels
        answers = tf.nn.softmax(self._teacher(images) / self._recipe.distillation_temperature).numpy()
        return labels + np.float32(1 - self._recipe.hard_label_weight) * (answers - labels)  # type: ignore[no-any-return]

    def _with_outliers(self, lesson: BatchBlock, iteration: int) -> BatchBlock:
        count = (len(lesson.images), self._recipe.outliers_per_batch)
        key = (self._recipe.seed, iteration)
        images = outliers.sample(self._outlier_pool, int(np.prod(count)), self._recipe, key).reshape(*count, 28, 28)
        return lesson._replace(images=np.concatenate([lesson.images, images], axis=1))


def index_stream(recipe: Recipe, images: int, iteration: int) -> list[tuple[int, npt.NDArray[np.int64]]]:
    """Which images the batches up to the next evaluation take: (epoch, indices) pairs, in order.

    The stream is one permutation of the training part after another; batches run across their seams.
    """
    begin = iteration * recipe.batch_size
    end = begin + min(recipe.evaluate_every, recipe.iterations - iteration) * recipe.batch_size
    pieces = []
    for epoch in range(begin // images, -(-end // images)):
        order = np.random.default_rng([recipe.seed, epoch]).permutation(images)
        first = epoch * images
        pieces.append((epoch, order[max(begin - first, 0) : end - first]))
    return pieces


def _batches(values: npt.NDArray[Any], recipe: Recipe) -> npt.NDArray[Any]:
    return values.reshape(-1, recipe.batch_size, *values.shape[1:])
