"""The teachers: an ensemble of small convolutional networks, distilled into the fully connected student.

Only the student is published. Each teacher has four convolutions, the first and the third of stride 2: half the
resolution suffices for 28x28 images and is four times as fast.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras import layers
from tqdm import tqdm

from training.data import batches
from training.data.mnist import Dataset, Split
from training.fit import checkpoint
from training.fit.checkpoint import CheckpointError
from training.recipe import Recipe
from training.types import Images, Tensor

BATCH = 256
LEARNING_RATE, WEIGHT_DECAY, WARMUP_STEPS = 3e-3, 0.02, 200
DROPOUT = 0.3
BN_MOMENTUM = 0.95  # of the running statistics of batch normalisation
INFERENCE_BATCH = 500  # images per call

Logits = npt.NDArray[np.float32]


class Ensemble:
    """Trained networks; maps images uint8 [N, 28, 28] to the mean of their logits, float32 [N, 10]."""

    def __init__(self, networks: Sequence[keras.Model]) -> None:
        self._networks = networks

    def __call__(self, images: Images) -> Logits:
        """The mean logits of images, computed in chunks."""
        chunks = [images[start : start + INFERENCE_BATCH] for start in range(0, len(images), INFERENCE_BATCH)]
        return np.concatenate([self._mean_logits(tf.constant(chunk)).numpy() for chunk in chunks])

    @tf.function(reduce_retracing=True)
    def _mean_logits(self, images: Tensor) -> Tensor:
        pixels = _as_pixels(images)
        return tf.add_n([network(pixels, training=False) for network in self._networks]) / len(self._networks)


def train_teachers(recipe: Recipe, data: Dataset, directory: Path) -> Ensemble | None:
    """Train the teachers of a recipe, one after the other, and print their validation accuracy.

    Args:
        recipe: gives their widths, number of epochs and augmentation.
        data: its training split trains them, its validation split evaluates them.
        directory: each teacher saves its state there after every epoch and resumes from a state found there.

    Returns:
        None for a recipe without teachers.

    Raises:
        CheckpointError: a state is unreadable, belongs to another recipe, or cannot be written.
    """
    networks = [_train(recipe, data.training, number, directory) for number in range(len(recipe.teacher_widths))]
    for number, network in enumerate(networks):
        _print_accuracy(
            f"teacher {number}, width {recipe.teacher_widths[number]}", Ensemble([network]), data.validation
        )
    if len(networks) > 1:
        _print_accuracy("ensemble of teachers", Ensemble(networks), data.validation)
    return Ensemble(networks) if networks else None


def build_cnn(width: int, seed: int) -> keras.Model:
    """An untrained network: images float32 [N, 28, 28, 1], 0 to 1 -> logits float32 [N, 10]."""
    blocks: list[layers.Layer] = []
    for index, (channels, side, stride) in enumerate(
        ((width, 5, 2), (width, 3, 1), (2 * width, 3, 2), (2 * width, 3, 1))
    ):
        initialiser = keras.initializers.GlorotUniform(seed=seed + index)
        blocks += [
            layers.Conv2D(
                channels, side, strides=stride, padding="same", use_bias=False, kernel_initializer=initialiser
            ),
            layers.BatchNormalization(momentum=BN_MOMENTUM),
            layers.ReLU(),
        ]
    last = layers.Dense(10, kernel_initializer=keras.initializers.GlorotUniform(seed=seed + 9))
    return keras.Sequential(
        [layers.Input((28, 28, 1)), *blocks, layers.Flatten(), layers.Dropout(DROPOUT, seed=seed), last]
    )


def _train(recipe: Recipe, split: Split, number: int, directory: Path) -> keras.Model:
    seed = 1000 * (recipe.seed + 1) + 100 * number
    network = build_cnn(recipe.teacher_widths[number], seed)
    images_per_epoch = batches.copy_size(recipe, len(split))
    steps = images_per_epoch // BATCH
    total = recipe.teacher_epochs * steps
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, max(total - WARMUP_STEPS, 1), warmup_target=LEARNING_RATE, warmup_steps=WARMUP_STEPS
    )
    optimiser = keras.optimizers.AdamW(schedule, weight_decay=WEIGHT_DECAY)
    optimiser.build(network.trainable_variables)
    variables = [*network.variables, *optimiser.variables]
    checkpoint_path = directory / f"teacher-{number}.npz"
    epoch = _restore(variables, checkpoint_path) if checkpoint_path.exists() else 0
    if not 0 <= epoch <= recipe.teacher_epochs:
        raise CheckpointError(
            f"{checkpoint_path} is a checkpoint of epoch {epoch}; the recipe has {recipe.teacher_epochs}"
        )

    @tf.function
    def step(images: Tensor, labels: Tensor) -> None:
        with tf.GradientTape() as tape:
            logits = network(_as_pixels(images), training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        gradients = tape.gradient(loss, network.trainable_variables)
        optimiser.apply_gradients(zip(gradients, network.trainable_variables, strict=True))

    with tqdm(total=total, initial=epoch * steps, desc=f"teacher {number}", leave=False, disable=None) as bar:
        while epoch < recipe.teacher_epochs:
            permutation = np.random.default_rng([seed, epoch]).permutation(images_per_epoch)[: steps * BATCH]
            copy = batches.augmented_copy(split, recipe, (seed, epoch))
            for batch in permutation.reshape(steps, BATCH):
                step(tf.constant(copy.images[batch]), tf.constant(copy.labels[batch], tf.int32))
                bar.update()
            epoch += 1
            checkpoint.save(checkpoint_path, [epoch, *(variable.numpy() for variable in variables)])
    return network


def _restore(variables: Sequence[Any], checkpoint_path: Path) -> int:
    """Assign the saved values to the variables; returns the number of completed epochs."""
    epoch, *values = checkpoint.load(checkpoint_path, [0, *(variable.numpy() for variable in variables)])
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    return int(epoch)


def _as_pixels(images: Tensor) -> Tensor:
    return tf.cast(images, tf.float32)[..., None] / 255.0


def _print_accuracy(name: str, teacher: Ensemble, split: Split) -> None:
    print(f"{name}: validation accuracy {np.mean(teacher(split.images).argmax(axis=1) == split.labels):.2%}")
